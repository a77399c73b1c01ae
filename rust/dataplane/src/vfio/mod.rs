//! A simulated card behind vfio-user: the server's side of the protocol by which a VMM uses a device in another process.
//!
//! # Theory of operation
//!
//! One [`Session`] is one card. It accepts one client after the other; a thread of the card's process runs it:
//!
//! 1. a message is read whole ([`message`]) and carried out (`requests`); accesses to BARs go to the [`Device`], which
//!    answers from its registers and touches no memory; the reply goes out;
//! 2. what the device then wants is looked at ([`Status`]): frames go to the packet worker ([`frames`]), the pin's level to
//!    the client ([`interrupts`]); and if it is busy, its engine runs: only now it may reach the guest's memory ([`memory`]);
//! 3. with no message left, frames of the network are given to it, one by one, each followed by step 2; while it cannot take
//!    one they wait, and a card for which one waits too long is told, because its driver may have missed that there is work;
//! 4. then everything sleeps in one `ppoll`.
//!
//! Memory without a descriptor is reached by messages to the client. The client's processor may at that moment wait for an
//! answer of ours, holding what our message needs: so while we wait for the reply, requests are carried out as in step 1,
//! within the engine's run. The device therefore sees register accesses between two of its accesses to memory, as hardware
//! does, and nowhere else. Its engine never runs within itself.
//!
//! The peer is not trusted. What cannot be understood ends the connection; what can, but is wrong, is answered by an error;
//! neither touches the card's process or the next client.

mod access;
mod config;
mod frames;
mod interrupts;
mod memory;
mod message;
mod requests;
mod session;

pub use memory::Step;
pub use message::Ended;
pub use session::{Layout, Session};

/// What a card wants after it was given something.
#[derive(Default, Debug)]
pub struct Status {
    /// Frames it has sent.
    pub frames: Vec<Vec<u8>>,
    /// The level of its pin.
    pub interrupt: bool,
    /// MSI-X vectors to signal.
    pub vectors: Vec<u16>,
    /// Whether it can take a frame now.
    pub receives: bool,
    /// Whether its engine has work.
    pub busy: bool,
    /// When its engine must run next, in microseconds.
    pub deadline: Option<u64>,
}

/// A card: a register model. `now` is in microseconds. An error means that the model itself is broken, and ends the
/// connection.
pub trait Device: Send + Sync {
    /// Read `size` bytes (1, 2 or 4) of a BAR.
    fn read(&self, bar: u32, offset: u64, size: usize, now: u64) -> Result<u32, Ended>;
    /// Write `size` bytes of a BAR.
    fn write(&self, bar: u32, offset: u64, size: usize, value: u32, now: u64) -> Result<(), Ended>;
    /// As after power-on.
    fn reset(&self, now: u64) -> Result<(), Ended>;
    /// Take a frame; may reach memory.
    fn receive(&self, frame: &[u8], now: u64) -> Result<(), Ended>;
    /// A frame waits, and has for long: say what a card says whose buffers are full.
    fn overflow(&self, now: u64) -> Result<(), Ended>;
    /// Go on with what is to be done; may reach memory.
    fn run(&self, now: u64) -> Result<(), Ended>;
    /// What it wants now; frames and vectors only once.
    fn status(&self) -> Result<Status, Ended>;
}
