//! ARP packets for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::bytes::{get, get16, header, put};
use crate::{DropReason, Mac};

/// Length of a packet in bytes.
pub const LEN: usize = 28;

/// The operation of a request.
pub const REQUEST: u16 = 1;

/// The operation of a reply.
pub const REPLY: u16 = 2;

/// Ethernet, IPv4, and the lengths of their addresses: the first six bytes of every packet that is
/// understood.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// A packet; it is small enough to be view and representation at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// [`REQUEST`], [`REPLY`] or another.
    pub operation: u16,
    /// The hardware address of the sender.
    pub sender_mac: Mac,
    /// The address of the sender; unspecified in a probe (RFC 5227 section 2.1).
    pub sender_ip: Ipv4Addr,
    /// The hardware address of the target; without meaning in a request.
    pub target_mac: Mac,
    /// The address of the target.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Reads a packet, padding behind it allowed; [`DropReason::ArpMalformed`] when it is cut off or not
    /// about IPv4 over Ethernet.
    pub fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        let packet = packet.first_chunk::<LEN>().ok_or(DropReason::ArpMalformed)?;
        if !packet.starts_with(&PREFIX) {
            return Err(DropReason::ArpMalformed);
        }
        Ok(Self {
            operation: get16(packet, 6),
            sender_mac: Mac(get(packet, 8)),
            sender_ip: Ipv4Addr::from(get::<4>(packet, 14)),
            target_mac: Mac(get(packet, 18)),
            target_ip: Ipv4Addr::from(get::<4>(packet, 24)),
        })
    }

    /// Writes the packet into the first [`LEN`] bytes of `buf`, which must be that long.
    pub fn emit(&self, buf: &mut [u8]) {
        let packet = header::<LEN>(buf);
        put(packet, 0, PREFIX);
        put(packet, 6, self.operation.to_be_bytes());
        put(packet, 8, self.sender_mac.0);
        put(packet, 14, self.sender_ip.octets());
        put(packet, 18, self.target_mac.0);
        put(packet, 24, self.target_ip.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_over_ethernet_is_understood() {
        let mut packet = [0; LEN];
        packet[..6].copy_from_slice(&PREFIX);
        assert!(Arp::parse(&packet).is_ok());
        assert_eq!(Arp::parse(&packet[..27]), Err(DropReason::ArpMalformed));
        for at in 0..6 {
            let mut other = packet;
            other[at] ^= 2;
            assert_eq!(Arp::parse(&other), Err(DropReason::ArpMalformed), "byte {at}");
        }
    }
}
