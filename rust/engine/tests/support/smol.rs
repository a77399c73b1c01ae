//! smoltcp as the guest: an independent TCP/IP stack that knows nothing of us.

use super::frames::{GUEST, GUEST_MAC, GUEST6, HOST, HOST6};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use wirebay_engine::Time;

/// A card with queues for wires.
#[derive(Default)]
pub struct Card {
    mtu: usize,
    pub rx: VecDeque<Vec<u8>>,
    pub tx: VecDeque<Vec<u8>>,
}

pub struct Received(Vec<u8>);

pub struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.rx.pop_front()?;
        Some((Received(frame), Sending(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        capabilities
    }
}

/// The guest.
pub struct Smol {
    pub card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// New sockets send timestamps.
    pub stamps: bool,
}

thread_local! {
    /// The clock of the guest's timestamps: smoltcp takes a function without a state.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

fn instant(now: Time) -> Instant {
    Instant::from_micros(now.0 as i64)
}

impl Smol {
    pub fn new(now: Time, mtu: u16, seed: u64) -> Self {
        let mut card = Card { mtu: mtu.into(), ..Card::default() };
        let mut config = Config::new(EthernetAddress(GUEST_MAC.0).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut card, instant(now));
        interface.update_ip_addrs(|addrs| {
            addrs.push(IpCidr::new(GUEST.into(), 24)).unwrap();
            addrs.push(IpCidr::new(GUEST6.into(), 64)).unwrap();
        });
        interface.routes_mut().add_default_ipv4_route(HOST).unwrap();
        interface.routes_mut().add_default_ipv6_route(HOST6).unwrap();
        Smol { card, interface, sockets: SocketSet::new(Vec::new()), stamps: false }
    }

    fn socket(&mut self, buffers: usize) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; buffers]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_tsval_generator(self.stamps.then_some(|| CLOCK.get()));
        self.sockets.add(socket)
    }

    pub fn connect(&mut self, to: SocketAddr, port: u16, buffers: usize) -> SocketHandle {
        let handle = self.socket(buffers);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), (to.ip(), to.port()), port).unwrap();
        handle
    }

    pub fn listen(&mut self, port: u16, buffers: usize) -> SocketHandle {
        let handle = self.socket(buffers);
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Work off what has arrived and send what there is to send.
    pub fn poll(&mut self, now: Time) {
        CLOCK.set((now.0 / 1000) as u32);
        self.interface.poll(instant(now), &mut self.card, &mut self.sockets);
    }

    /// When it wants to be polled again.
    pub fn next(&mut self, now: Time) -> Option<Time> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Time(at.total_micros().max(0) as u64))
    }
}
