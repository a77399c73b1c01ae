//! One TCP connection between a guest and the host, translated without a second TCP stack.
//!
//! # Theory of operation
//!
//! The host kernel's socket is the connection. Our side towards the guest keeps sequence numbers and windows, nothing
//! else: there are no buffers. What the host sends stays in the host socket's receive queue until the guest has
//! acknowledged it; what the guest sends is acknowledged when the host socket has taken it.
//!
//! ```text
//!            host socket's receive queue                      towards the guest
//!   consumed | peeked, in flight       | not yet peeked       una <= nxt <= max
//!            una                       nxt                    (offset 0 of the queue is sequence number `una`)
//!
//!            from the guest                                   host socket's send queue
//!   acknowledged | taken | waiting in the backlog | window    acked <= taken <= rcv_nxt <= edge
//! ```
//!
//! **Opening.** A guest's SYN starts a connect on the host (`Connecting`); only when that has worked does the guest get
//! its SYN-ACK (`SynReceived`), so that refused means refused. A connection that comes in by a forward sends a SYN to
//! the guest (`SynSent`), after finding the guest by ARP if need be. Then the flow is `Open` until it is gone;
//! what has happened on the way there is a set of bits ([`flags`]), not a chain of states, because the two directions
//! close independently.
//!
//! **Host to guest** (`send.rs`). `pump` peeks at offset `nxt - una` and sends super-segments as far as the guest's
//! window goes. A lost segment is a second peek (`recovery.rs`): of the holes that the guest's selective
//! acknowledgements show, or of the first segment after three duplicate ones; a timeout goes back to `una` and starts
//! slowly. End of the host's stream becomes FIN.
//!
//! **Guest to host** (`receive.rs`, `payload.rs`). In-order payload is handed to the socket from the frame it came in.
//! What the socket does not take waits in the backlog (see `policy.rs` for why that is small). What comes behind a hole
//! is answered with a duplicate acknowledgement and waits (`early.rs`) until the hole is filled. FIN becomes a shutdown
//! of the socket after the last byte.
//!
//! **Options** (`open.rs`). Segment size, window scale, selective acknowledgements and timestamps (`stamps.rs`), each if
//! both sides have it. Blocks of selective acknowledgements go into segments without payload only: those answer every
//! segment behind a hole, and the header of a super-segment stays the same for all of it. The urgent pointer is not
//! looked at: urgent data is data, in its place in the stream (what RFC 6093 advises), and we never send any.
//!
//! **Timers** (`timeout.rs`). One deadline a flow: handshake, retransmission, window probe, delayed acknowledgement or
//! keepalive, whichever applies.
//!
//! **End.** Both FINs acknowledged, a reset from either side, or too many retries. Resets are passed on as resets. What
//! has ended well is remembered for a moment (`parted.rs`), for a guest that has not heard of it.
//!
//! What must not happen: data acknowledged that the host socket has not taken; a window edge moved back (`policy.rs`);
//! more in a flow than its backlog, which all flows together share a budget for.

mod board;
mod early;
mod open;
pub(super) mod parted;
mod payload;
pub mod policy;
pub(super) use wirebay_wire::tcp::flags as wire_flags;
mod receive;
mod recovery;
mod rtt;
pub(super) mod send;
mod stamps;
mod timeout;

use super::Config;
use super::emit::{self, Ends};
use super::listing::Tally;
use crate::counters::Drops;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::time::Time;
use crate::timers::Deadline;
use rtt::Rtt;
use std::collections::VecDeque;
use wirebay_wire::tcp::flags::{ACK, FIN, RST, SYN};
use wirebay_wire::tcp::{Tcp, TcpRepr};

/// What RFC 9293 assumes when a peer does not tell its segment size.
const DEFAULT_MSS: u16 = 536;
/// A segment size below this would only be a way to make us work.
const LEAST_MSS: u16 = 48;

/// Things that have happened to a flow, or that it wants.
pub mod flags {
    /// The host's stream has ended after the bytes now in the queue; FIN goes out after them.
    pub const HOST_FIN: u16 = 1;
    /// The guest has acknowledged our FIN.
    pub const FIN_ACKED: u16 = 1 << 1;
    /// The guest's FIN has come, in order.
    pub const GUEST_FIN: u16 = 1 << 2;
    /// ... and the host socket has been shut down after the last byte.
    pub const GUEST_FIN_DONE: u16 = 1 << 3;
    /// There may be something to peek.
    pub const READABLE: u16 = 1 << 4;
    /// The host peer has shut down: a short peek does not mean an empty queue.
    pub const READ_CLOSED: u16 = 1 << 5;
    /// The guest must hear from us at the end of the batch.
    pub const ACK_WANTED: u16 = 1 << 6;
    /// A small piece waits for an answer to carry its acknowledgement.
    pub const ACK_SOON: u16 = 1 << 7;
    /// The flow is in the owner's list of flows to acknowledge.
    pub const ACK_QUEUED: u16 = 1 << 8;
    /// The flow wants to be pumped.
    pub const PUMP_WANTED: u16 = 1 << 9;
    /// The flow is in the owner's list of flows to pump.
    pub const PUMP_QUEUED: u16 = 1 << 10;
    /// Fast retransmission is under way, until `recover` is acknowledged.
    pub const RECOVERING: u16 = 1 << 11;
    /// Peeked and found something, but the guest's window is shut.
    pub const BLOCKED: u16 = 1 << 12;
    /// Both sides acknowledge selectively.
    pub const SACK: u16 = 1 << 13;
    /// Both sides send timestamps.
    pub const TIMESTAMPS: u16 = 1 << 14;
}

/// Where a flow is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The guest's SYN is here, the host socket is connecting. Nothing has been sent to the guest.
    Connecting,
    /// SYN-ACK sent. The host socket is connected; nothing is peeked yet.
    SynReceived,
    /// A forwarded connection: SYN sent, or ARP when the guest's address is not known yet.
    SynSent,
    /// Data flows. Which directions are closed is told by the flags.
    Open,
}

/// What becomes of a flow after it has been called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// It lives.
    Keep,
    /// It has ended well: close the socket.
    Close,
    /// It has ended badly: reset the host's end too.
    Abort,
}

/// What a flow is called with.
pub struct Cx<'a, H: Host> {
    /// Now.
    pub now: Time,
    /// The host's sockets.
    pub host: &'a mut H,
    /// Frames to the guest.
    pub out: &'a mut Outbox,
    /// The network's settings.
    pub config: &'a Config,
    /// Why something was dropped.
    pub drops: &'a mut Drops,
    /// Bytes that all backlogs of the network may still grow by.
    pub budget: &'a mut usize,
}

/// Loss recovery towards the guest.
#[derive(Clone, Copy, Debug, Default)]
struct Loss {
    duplicates: u8,
    retries: u8,
    recover: u32,
    /// Slow start after a timeout; 0 means unlimited.
    cwnd: u32,
}

/// Where the numbers of a connection begin; nobody can guess them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The initial sequence number.
    pub iss: u32,
    /// Added to the clock of the timestamps.
    pub clock: u32,
}

/// One connection.
pub struct TcpFlow<S> {
    /// The host's end.
    pub socket: S,
    /// The guest's end, and ours as the guest sees it.
    pub ends: Ends,
    /// When to call [`TcpFlow::timeout`].
    pub deadline: Deadline,
    /// See [`flags`].
    pub bits: u16,
    /// Age and bytes, for listings.
    pub tally: Tally,
    state: State,
    guest_scale: u8,
    our_scale: u8,
    mss: u16,
    una: u32,
    nxt: u32,
    max: u32,
    guest_window: u32,
    window_seq: u32,
    rcv_nxt: u32,
    edge: u32,
    acked: u32,
    one_way: u8,
    probes: u8,
    loss: Loss,
    rtt: Rtt,
    backlog: VecDeque<u8>,
    /// Payload behind a hole.
    early: Option<Box<early::Early>>,
    /// What the guest has beyond `una`.
    board: Option<Box<board::Board>>,
    stamps: stamps::Stamps,
    /// Since when the running timer of the handshake, the oldest segment in flight or the shut window counts.
    since: Time,
    heard: Time,
}

/// Is sequence number `a` before `b`?
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl<S> TcpFlow<S> {
    fn new(socket: S, ends: Ends, state: State, start: Start, now: Time) -> Self {
        let Start { iss, clock } = start;
        TcpFlow {
            socket,
            ends,
            deadline: Deadline::default(),
            bits: 0,
            tally: Tally::begin(now),
            state,
            guest_scale: 0,
            our_scale: 0,
            mss: DEFAULT_MSS,
            una: iss,
            nxt: iss,
            max: iss,
            guest_window: 0,
            window_seq: 0,
            rcv_nxt: 0,
            edge: 0,
            acked: 0,
            one_way: 0,
            probes: 0,
            loss: Loss::default(),
            rtt: Rtt::default(),
            backlog: VecDeque::new(),
            early: None,
            board: None,
            stamps: stamps::Stamps::new(clock, now),
            since: now,
            heard: now,
        }
    }

    /// The state, for listings and tests.
    pub fn state(&self) -> State {
        self.state
    }

    /// Has a guest begun to open it, and has it not been opened yet?
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::Connecting | State::SynReceived)
    }

    /// Is this bit set?
    pub fn is(&self, bit: u16) -> bool {
        self.bits & bit != 0
    }

    /// Set a bit.
    pub fn set(&mut self, bit: u16) {
        self.bits |= bit;
    }

    /// Clear a bit.
    pub fn clear(&mut self, bit: u16) {
        self.bits &= !bit;
    }

    /// Bytes received from the guest that wait for the host socket.
    pub fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// Bytes of the shared budget that are in use; they are given back when the flow ends.
    pub fn held(&self) -> usize {
        self.backlog_len() + self.early.as_ref().map_or(0, |early| early.held())
    }

    /// What an answer to the guest's SYN acknowledges.
    pub fn syn_ack_number(&self) -> u32 {
        self.rcv_nxt
    }

    /// Is the guest's Ethernet address still unknown?
    pub fn unresolved(&self) -> bool {
        self.ends.mac.0 == [0; 6]
    }

    fn in_flight(&self) -> u32 {
        self.nxt.wrapping_sub(self.una)
    }

    /// What the guest may be told has arrived: all that the host socket took, and the FIN after it.
    fn ack_value(&self) -> u32 {
        let fin_waits = u32::from(self.is(flags::GUEST_FIN) && !self.is(flags::GUEST_FIN_DONE));
        self.rcv_nxt.wrapping_sub(self.backlog_len() as u32).wrapping_sub(fin_waits)
    }

    fn repr(&self, now: Time, seq: u32, control: u8, window: u16) -> TcpRepr {
        TcpRepr {
            src_port: self.ends.our.port(),
            dst_port: self.ends.guest.port(),
            seq,
            ack: if control & ACK == 0 { 0 } else { self.ack_value() },
            flags: control,
            window,
            timestamps: self.is(flags::TIMESTAMPS).then(|| self.stamps.stamp(now)),
            ..TcpRepr::default()
        }
    }

    /// Settle the window to advertise now; it stands as promised from here on.
    fn promise<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> u16 {
        let room = self.room(cx);
        self.promise_room(room)
    }

    fn room<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> u32 {
        cx.host.tcp_room(&mut self.socket).min(u32::MAX as usize) as u32
    }

    fn promise_room(&mut self, room: u32) -> u16 {
        let ack = self.ack_value();
        let window = policy::window(room, self.backlog_len() as u32);
        let (field, edge) = policy::advertise(ack, self.edge, window, self.our_scale);
        (self.edge, self.acked) = (edge, ack);
        self.clear(flags::ACK_WANTED | flags::ACK_SOON);
        field
    }

    /// Send a bare acknowledgement at once.
    fn acknowledge<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        let room = self.room(cx);
        self.acknowledge_room(cx, room);
    }

    fn acknowledge_room<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>, room: u32) {
        let window = self.promise_room(room);
        let mut repr = self.repr(cx.now, self.nxt, ACK, window);
        if let Some(early) = self.early.as_ref().filter(|_| self.is(flags::SACK)) {
            repr.sack = early.blocks();
        }
        emit::tcp_bare(cx.out, cx.config, &self.ends, &repr);
    }

    /// The end of a batch of frames from the guest: decide about the acknowledgement.
    pub fn end_batch<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) {
        if self.state != State::Open {
            return;
        }
        let room = self.room(cx);
        if self.is(flags::ACK_WANTED) {
            return self.acknowledge_room(cx, room);
        }
        match policy::when(&self.intake(room)) {
            policy::Ack::Now => self.acknowledge_room(cx, room),
            policy::Ack::Soon => {
                if !self.is(flags::ACK_SOON) {
                    self.set(flags::ACK_SOON);
                    self.deadline.at = self.deadline.at.min(cx.now + policy::DELAY);
                }
            }
            policy::Ack::No => {}
        }
    }

    fn intake(&self, room: u32) -> policy::Intake {
        let ack = self.ack_value();
        policy::Intake {
            unacknowledged: ack.wrapping_sub(self.acked),
            room,
            waiting: self.backlog_len() as u32,
            window_left: self.edge.wrapping_sub(self.rcv_nxt),
            mss: u32::from(self.mss),
            interactive: self.one_way <= 1,
        }
    }

    /// Tell the guest that the connection is dead.
    pub fn reset_guest<H: Host<Tcp = S>>(&mut self, cx: &mut Cx<'_, H>) -> Verdict {
        if self.state == State::Connecting {
            refuse(cx.out, cx.config, &self.ends, self.rcv_nxt);
        } else if !self.unresolved() {
            emit::tcp_bare(cx.out, cx.config, &self.ends, &self.repr(cx.now, self.nxt, RST | ACK, 0));
        }
        Verdict::Abort
    }

    /// Both directions are closed and acknowledged.
    fn verdict(&self) -> Verdict {
        let done = flags::FIN_ACKED | flags::GUEST_FIN_DONE;
        if self.bits & done == done { Verdict::Close } else { Verdict::Keep }
    }
}

/// Answer a SYN with RST: nobody there, or not allowed. `ack` is the sequence number after the SYN.
pub fn refuse(out: &mut Outbox, config: &Config, ends: &Ends, ack: u32) {
    let repr = TcpRepr {
        src_port: ends.our.port(),
        dst_port: ends.guest.port(),
        seq: 0,
        ack,
        flags: RST | ACK,
        ..TcpRepr::default()
    };
    emit::tcp_bare(out, config, ends, &repr);
}

/// Answer a segment that belongs to no connection (RFC 9293, section 3.10.7.1). Nobody answers for a group (RFC 1122,
/// section 4.2.3.10).
pub fn reset_stray(out: &mut Outbox, config: &Config, ends: &Ends, segment: &Tcp<'_>) {
    if segment.has(RST) || ends.our.ip().is_multicast() {
        return;
    }
    if segment.has(ACK) {
        let repr = TcpRepr {
            src_port: ends.our.port(),
            dst_port: ends.guest.port(),
            seq: segment.ack,
            ack: 0,
            flags: RST,
            ..TcpRepr::default()
        };
        emit::tcp_bare(out, config, ends, &repr);
    } else {
        let len = segment.payload.len() as u32 + u32::from(segment.has(SYN)) + u32::from(segment.has(FIN));
        refuse(out, config, ends, segment.seq.wrapping_add(len));
    }
}
