//! A smoltcp guest, a bad cable and a network, in one virtual time.

use super::fake_host::TcpPeer;
use super::link::{Link, Quality};
use super::rng::Stream;
use super::smol::Smol;
use super::world::World;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use std::time::Duration;
use wirebay_engine::{Config, Time};

/// All three.
pub struct Sim {
    pub world: World,
    pub guest: Smol,
    pub up: Link,
    pub down: Link,
    /// Bytes the cable to the guest holds; the network must not send more.
    pub cable: usize,
    wake: Option<Time>,
    /// The most there ever was on it.
    pub most_load: usize,
}

impl Sim {
    pub fn new(config: Config, quality: Quality, seed: u64) -> Self {
        let mtu = config.mtu;
        let world = World::new(config);
        let guest = Smol::new(world.now, mtu, seed);
        let (up, down) = (Link::new(quality, seed ^ 1), Link::new(quality, seed ^ 2));
        Sim { world, guest, up, down, cable: 1 << 20, wake: None, most_load: 0 }
    }

    /// Goes on until `app` says that it is done. `app` is called whenever something may have happened; it panics if
    /// more virtual time passes than `patience`.
    pub fn run(&mut self, patience: Duration, mut app: impl FnMut(&mut Sim) -> bool) {
        let end = self.world.now + patience;
        loop {
            self.exchange();
            if app(self) {
                return;
            }
            self.exchange();
            let next = self.next();
            assert!(next <= end, "not done after {patience:?} of virtual time");
            self.world.now = next.max(Time(self.world.now.0 + 1));
        }
    }

    /// The application wants to be called again after this.
    pub fn wake_in(&mut self, span: Duration) {
        self.wake = Some(self.world.now + span);
    }

    fn next(&mut self) -> Time {
        let now = self.world.now;
        let guest = self.guest.next(now);
        let all = [guest, self.up.next(), self.down.next(), self.world.net.next_deadline(), self.wake.take()];
        all.into_iter().flatten().min().unwrap_or(Time::NEVER)
    }

    /// What has arrived by now is worked off on both sides.
    fn exchange(&mut self) {
        let now = self.world.now;
        while let Some(frame) = self.up.receive(now) {
            self.world.give(&frame);
        }
        while let Some(frame) = self.down.receive(now) {
            self.guest.card.rx.push_back(frame);
        }
        self.world.room = self.cable.saturating_sub(self.down.load);
        self.world.net.unstall();
        self.world.jump(now);
        for frame in self.world.take_frames() {
            self.down.send(now, frame);
        }
        self.most_load = self.most_load.max(self.down.load);
        self.guest.poll(now);
        for frame in self.guest.card.tx.drain(..) {
            self.up.send(now, frame);
        }
    }
}

/// What one side sends and what it has had from the other.
pub struct End {
    sends: Stream,
    expects: Stream,
    total: usize,
    pub sent: usize,
    pub received: usize,
    pub closed: bool,
}

impl End {
    pub fn new(sends: Stream, expects: Stream, total: usize) -> Self {
        End { sends, expects, total, sent: 0, received: 0, closed: false }
    }

    fn next(&self, room: usize) -> Vec<u8> {
        self.sends.bytes(self.sent, room.min(self.total - self.sent).min(65_536))
    }

    fn got(&mut self, data: &[u8]) {
        self.expects.check(self.received, data);
        self.received += data.len();
    }
}

/// Bytes a peer of the host keeps ready in the host's receive queue.
const READY: usize = 256 << 10;

/// The application on the host.
pub fn host_app(end: &mut End, peer: &TcpPeer) {
    let new = peer.conn().received[end.received..].to_vec();
    end.got(&new);
    let queued = peer.conn().queued();
    if queued <= READY / 2 && end.sent < end.total {
        let data = end.next(READY - queued);
        peer.sends(&data);
        end.sent += data.len();
    }
    if end.sent == end.total && !std::mem::replace(&mut end.closed, true) {
        peer.ends();
    }
}

/// The application in the guest.
pub fn guest_app(end: &mut End, sim: &mut Sim, handle: SocketHandle) {
    let socket = sim.guest.tcp(handle);
    while socket.can_recv() {
        let data = socket.recv(|data| (data.len(), data.to_vec())).unwrap();
        end.got(&data);
    }
    if !socket.may_send() {
        return;
    }
    while socket.can_send() && end.sent < end.total {
        let data = end.next(socket.send_capacity() - socket.send_queue());
        end.sent += socket.send_slice(&data).unwrap();
    }
    if end.sent == end.total && !std::mem::replace(&mut end.closed, true) {
        socket.close();
    }
}

/// Has the guest's connection ended in good order?
pub fn guest_is_closed(sim: &mut Sim, handle: SocketHandle) -> bool {
    matches!(sim.guest.tcp(handle).state(), tcp::State::Closed | tcp::State::TimeWait)
}
