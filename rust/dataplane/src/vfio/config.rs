//! A card's PCI configuration space: 256 bytes, and which of their bits a write changes. What they mean is Python's
//! business (`python/wirebay/cards/pci.py`) but for the command register, which rules what the card may do.

use rustix::io::Errno;

/// Bytes of it.
pub const LEN: usize = 256;
/// The command register and its bits (PCI 3.0 section 6.2.2).
const COMMAND: usize = 4;
const BUS_MASTER: u16 = 1 << 2;
const INTX_DISABLE: u16 = 1 << 10;

/// The space.
pub struct Config {
    bytes: [u8; LEN],
    initial: [u8; LEN],
    writable: [u8; LEN],
}

impl Config {
    /// As it is after a reset, and the bits that can be written.
    pub fn new(initial: [u8; LEN], writable: [u8; LEN]) -> Self {
        Config { bytes: initial, initial, writable }
    }

    /// Back to the beginning.
    pub fn reset(&mut self) {
        self.bytes = self.initial;
    }

    /// Read `len` bytes.
    pub fn read(&self, offset: u64, len: usize) -> Result<&[u8], Errno> {
        let start = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let end = start.checked_add(len).ok_or(Errno::INVAL)?;
        self.bytes.get(start..end).ok_or(Errno::INVAL)
    }

    /// Write the bits that can be written.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.read(offset, data.len())?;
        for (at, &byte) in (offset as usize..).zip(data) {
            let mask = self.writable[at];
            self.bytes[at] = self.bytes[at] & !mask | byte & mask;
        }
        Ok(())
    }

    /// May the card reach the guest's memory?
    pub fn is_master(&self) -> bool {
        self.command() & BUS_MASTER != 0
    }

    /// May the card assert its pin?
    pub fn may_interrupt(&self) -> bool {
        self.command() & INTX_DISABLE == 0
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_bits_change_and_a_reset_takes_them_back() {
        let (initial, mut writable) = ([0x80; LEN], [0; LEN]);
        writable[COMMAND] = 0x04;
        writable[COMMAND + 1] = 0x04;
        let mut config = Config::new(initial, writable);
        assert!(!config.is_master() && config.may_interrupt());
        config.write(COMMAND as u64, &[0xff, 0xff, 0xff]).unwrap();
        assert_eq!(config.read(COMMAND as u64, 3).unwrap(), [0x84, 0x84, 0x80]);
        assert!(config.is_master() && !config.may_interrupt());
        config.reset();
        assert_eq!(config.read(0, LEN).unwrap(), [0x80; LEN]);
    }

    #[test]
    fn an_access_beyond_the_end_is_refused_whole() {
        let mut config = Config::new([0; LEN], [0xff; LEN]);
        for (offset, len) in [(255, 2), (256, 1), (u64::MAX, 1), (0, 257)] {
            assert_eq!(config.read(offset, len), Err(Errno::INVAL));
            assert_eq!(config.write(offset, &vec![1; len]), Err(Errno::INVAL));
        }
        assert_eq!(config.read(0, LEN).unwrap(), [0; LEN]);
    }
}
