//! A host made of memory: sockets whose other ends the tests hold in their hands.

use super::fake_sockets::{Conn, Datagram, Fate, Owner, Reported, Sent, Stage, errno};
use std::cell::{Ref, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use wirebay_engine::{DatagramKind, Host, HostError, Peer, Readiness, Report, Sending, Token};

/// What becomes of the next connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Connect {
    /// They have ended well when they are asked about.
    #[default]
    AtOnce,
    /// The test decides.
    Later,
    /// The call itself fails.
    Fails(i32),
}

/// An event that the host's loop would deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Flow(Token, Readiness),
    Forward(usize),
}

#[derive(Clone, Copy)]
enum Wake {
    Tcp(usize),
    Datagram(usize),
}

/// Everything the host has.
#[derive(Default)]
pub struct Kernel {
    pub conns: Vec<Conn>,
    pub datagrams: Vec<Datagram>,
    pub connect: Connect,
    /// The send queue of new connections.
    pub send_limit: Option<usize>,
    /// Opening a datagram socket fails like this.
    pub open_fails: Option<i32>,
    /// Sending a datagram fails like this.
    pub send_fails: Option<i32>,
    /// Datagrams with more payload that must not be fragmented are too big, for a way that takes so many bytes.
    pub path: Option<(usize, u32)>,
    wakes: VecDeque<Wake>,
}

impl Kernel {
    fn wake_tcp(&mut self, id: usize) {
        if !std::mem::replace(&mut self.conns[id].notified, true) {
            self.wakes.push_back(Wake::Tcp(id));
        }
    }

    fn wake_datagram(&mut self, id: usize) {
        if !std::mem::replace(&mut self.datagrams[id].notified, true) {
            self.wakes.push_back(Wake::Datagram(id));
        }
    }

    fn connection(&mut self, token: Token, to: SocketAddr, stage: Stage) -> usize {
        self.conns.push(Conn::new(token, to, stage, self.send_limit));
        let id = self.conns.len() - 1;
        if stage == Stage::Connected {
            self.wake_tcp(id);
        }
        id
    }
}

fn failure(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// The host; clones are the same host.
#[derive(Clone, Default)]
pub struct FakeHost(Rc<RefCell<Kernel>>);

impl FakeHost {
    pub fn kernel(&self) -> RefMut<'_, Kernel> {
        self.0.borrow_mut()
    }

    /// The next event that the network has not seen. Events of sockets that are gone come all the same, as they do
    /// when one read of the event queue brings both the end of a flow and something after it.
    pub fn next_event(&self) -> Option<Event> {
        let mut kernel = self.kernel();
        match kernel.wakes.pop_front()? {
            Wake::Tcp(id) => {
                let conn = &mut kernel.conns[id];
                conn.notified = false;
                Some(Event::Flow(conn.token, conn.readiness()))
            }
            Wake::Datagram(id) => {
                let socket = &mut kernel.datagrams[id];
                socket.notified = false;
                let ready = socket.readiness();
                Some(match socket.owner {
                    Owner::Flow(token) => Event::Flow(token, ready),
                    Owner::Forward(slot) => Event::Forward(slot),
                })
            }
        }
    }

    /// Is there one?
    pub fn has_events(&self) -> bool {
        !self.kernel().wakes.is_empty()
    }

    /// The peer of the connection that was made `number`th.
    pub fn peer(&self, number: usize) -> TcpPeer {
        assert!(number < self.kernel().conns.len(), "no such connection has been made");
        TcpPeer { host: self.clone(), id: number }
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.kernel().conns.len()
    }

    /// A connection that somebody has made to a listening socket of the host.
    pub fn adopt(&self, token: Token) -> TcpSocket {
        let id = self.kernel().connection(token, SocketAddr::from(([0; 4], 0)), Stage::Connected);
        TcpSocket { id, host: self.clone() }
    }

    /// The bound socket of a UDP forward, and the world behind it.
    pub fn bind(&self, slot: usize) -> DatagramSocket {
        self.datagram(Owner::Forward(slot), DatagramKind::Udp4)
    }

    fn datagram(&self, owner: Owner, kind: DatagramKind) -> DatagramSocket {
        let mut kernel = self.kernel();
        kernel.datagrams.push(Datagram::new(owner, kind));
        DatagramSocket { id: kernel.datagrams.len() - 1, host: self.clone() }
    }

    /// A datagram arrives at socket `id`.
    pub fn arrives(&self, id: usize, from: &str, data: &[u8]) {
        self.arrives_from(id, Peer { addr: from.parse().unwrap(), local: None }, data);
    }

    /// A datagram arrives at socket `id`.
    pub fn arrives_from(&self, id: usize, from: Peer, data: &[u8]) {
        let mut kernel = self.kernel();
        kernel.datagrams[id].arrives(from, data);
        kernel.wake_datagram(id);
    }

    /// The network reports something about what socket `id` has sent.
    pub fn reports(&self, id: usize, report: Report, offender: &str, to: &str, payload: &[u8]) {
        let (offender, to) = (Some(offender.parse().unwrap()), to.parse().unwrap());
        let mut kernel = self.kernel();
        kernel.datagrams[id].fails(Reported { report, offender, to, payload: payload.to_vec() });
        kernel.wake_datagram(id);
    }

    /// What socket `id` has sent since the last question.
    pub fn sent(&self, id: usize) -> Vec<Sent> {
        std::mem::take(&mut self.kernel().datagrams[id].sent)
    }

    /// How many datagram sockets are open.
    pub fn open_datagrams(&self) -> usize {
        self.kernel().datagrams.iter().filter(|socket| socket.open).count()
    }
}

/// The other end of a TCP connection of the host.
#[derive(Clone)]
pub struct TcpPeer {
    host: FakeHost,
    id: usize,
}

impl TcpPeer {
    pub fn conn(&self) -> Ref<'_, Conn> {
        Ref::map(self.host.0.borrow(), |kernel| &kernel.conns[self.id])
    }

    fn change<T>(&self, change: impl FnOnce(&mut Conn) -> T) -> T {
        change(&mut self.host.kernel().conns[self.id])
    }

    fn wake(&self) {
        self.host.kernel().wake_tcp(self.id);
    }

    /// The connect ends well.
    pub fn connects(&self) {
        self.change(|conn| conn.stage = Stage::Connected);
        self.wake();
    }

    /// The connect, or the connection, fails.
    pub fn fails(&self, errno: i32) {
        self.change(|conn| conn.stage = Stage::Failed(errno));
        self.wake();
    }

    pub fn sends(&self, data: &[u8]) {
        self.change(|conn| conn.peer_sends(data));
        self.wake();
    }

    /// The peer has sent all it will.
    pub fn ends(&self) {
        self.change(Conn::peer_ends);
        self.wake();
    }

    /// The peer reads up to so many bytes. Whether there is more.
    pub fn reads(&self, most: usize) -> bool {
        if self.change(|conn| conn.peer_reads(most)) {
            self.wake();
        }
        self.conn().received.len() < self.conn().taken()
    }

    /// From now on the send queue holds so many bytes.
    pub fn limit(&self, bytes: usize) {
        self.change(|conn| conn.send_limit = Some(bytes));
    }

    pub fn received(&self) -> Vec<u8> {
        self.conn().received.clone()
    }

    pub fn fate(&self) -> Fate {
        self.conn().fate
    }
}

/// What the network holds of a connection.
pub struct TcpSocket {
    id: usize,
    host: FakeHost,
}

impl TcpSocket {
    fn conn(&self) -> RefMut<'_, Conn> {
        RefMut::map(self.host.kernel(), |kernel| &mut kernel.conns[self.id])
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        let mut conn = self.conn();
        if conn.fate == Fate::Held {
            conn.fate = Fate::Closed;
        }
    }
}

/// What the network holds of a datagram socket.
pub struct DatagramSocket {
    pub id: usize,
    host: FakeHost,
}

impl Drop for DatagramSocket {
    fn drop(&mut self) {
        self.host.kernel().datagrams[self.id].open = false;
    }
}

impl Host for FakeHost {
    type Tcp = TcpSocket;
    type Datagram = DatagramSocket;

    fn tcp_connect(&mut self, token: Token, to: SocketAddr, hops: Option<u8>) -> io::Result<TcpSocket> {
        let mut kernel = self.kernel();
        let stage = match kernel.connect {
            Connect::AtOnce => Stage::Connected,
            Connect::Later => Stage::Connecting,
            Connect::Fails(errno) => return Err(failure(errno)),
        };
        let id = kernel.connection(token, to, stage);
        kernel.conns[id].hops = hops;
        Ok(TcpSocket { id, host: self.clone() })
    }

    fn tcp_report(&mut self, socket: &mut TcpSocket) -> Option<(Report, Option<IpAddr>)> {
        socket.conn().reported.take()
    }

    fn tcp_connected(&mut self, socket: &mut TcpSocket) -> io::Result<bool> {
        socket.conn().asked += 1;
        socket.conn().connected()
    }

    fn tcp_peek(&mut self, socket: &mut TcpSocket, offset: usize, buf: &mut [u8]) -> io::Result<usize> {
        socket.conn().peek(offset, buf)
    }

    fn tcp_consume(&mut self, socket: &mut TcpSocket, len: usize) -> io::Result<()> {
        socket.conn().consume(len)
    }

    fn tcp_send(&mut self, socket: &mut TcpSocket, data: &[u8]) -> io::Result<usize> {
        socket.conn().send(data)
    }

    fn tcp_room(&mut self, socket: &mut TcpSocket) -> usize {
        socket.conn().room()
    }

    fn tcp_shutdown(&mut self, socket: &mut TcpSocket) {
        let already = std::mem::replace(&mut socket.conn().shut, true);
        assert!(!already, "a stream ends once");
    }

    fn tcp_abort(&mut self, socket: TcpSocket) {
        socket.conn().fate = Fate::Aborted;
    }

    fn datagram_open(&mut self, token: Token, kind: DatagramKind) -> io::Result<DatagramSocket> {
        let fails = self.kernel().open_fails;
        fails.map_or_else(|| Ok(self.datagram(Owner::Flow(token), kind)), |errno| Err(failure(errno)))
    }

    fn datagram_send(
        &mut self,
        socket: &mut DatagramSocket,
        to: &Peer,
        data: &[u8],
        how: Sending,
    ) -> io::Result<()> {
        let mut kernel = self.kernel();
        if let Some(errno) = kernel.send_fails {
            return Err(failure(errno));
        }
        let too_big = kernel.path.filter(|&(most, _)| how.dont_fragment && data.len() > most);
        let socket = &mut kernel.datagrams[socket.id];
        if let Some((_, mtu)) = too_big {
            // As Linux has it: the port is forgotten, and nothing is quoted.
            let (report, to) = (Report::TooBig(mtu), SocketAddr::new(to.addr.ip(), 0));
            socket.fails(Reported { report, offender: None, to, payload: Vec::new() });
            return Err(failure(errno::EMSGSIZE));
        }
        socket.sent.push(Sent { to: *to, data: data.to_vec(), how });
        Ok(())
    }

    fn datagram_errors(
        &mut self,
        socket: &mut DatagramSocket,
        sink: &mut dyn FnMut(&HostError<'_>),
    ) -> io::Result<bool> {
        Ok(self.kernel().datagrams[socket.id].take_errors(sink))
    }

    fn datagram_recv(
        &mut self,
        socket: &mut DatagramSocket,
        sink: &mut dyn FnMut(&Peer, &[u8]),
    ) -> io::Result<bool> {
        self.kernel().datagrams[socket.id].receive(sink)
    }
}
