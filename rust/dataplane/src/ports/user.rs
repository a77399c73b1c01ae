//! The user network's port: the translation machine with its real sockets, service channel and forwards.

use crate::control::Outcome;
use crate::datagram::DatagramSocket;
use crate::host::RealHost;
use crate::poll::{self, Registrar, Source};
use crate::protocol::{Addresses, Proto, Refusal, UserAdd};
use crate::service_channel;
use crate::sys;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use rustix::process::Resource;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use wirebay_engine::user::{Ping, Plan, Secret};
use wirebay_engine::{Config, Outbox, Readiness, Time, UserNet};
use wirebay_wire::DropReason;
use wirebay_wire::ipv4::protocol;

/// Most flows of one user network, where the host allows so many descriptors.
const MAX_FLOWS: usize = 1 << 17;
/// Descriptors for all else.
const OTHERS: u64 = 64;
/// Connections accepted for one wake-up.
const ACCEPTS: usize = 64;
/// Clients of unix sockets seem to have ports from here on.
const FIRST_CLIENT: u16 = 1024;
struct Listener {
    slot: usize,
    socket: Option<OwnedFd>,
}

/// The port.
pub struct UserPort {
    /// The machine.
    pub net: UserNet<RealHost>,
    /// Its frames.
    pub outbox: Outbox,
    /// It has more to send.
    pub busy: bool,
    port: usize,
    service: OwnedFd,
    registrar: Registrar,
    forwards: HashMap<String, Listener>,
    /// Slots of services by name.
    services: HashMap<String, usize>,
    /// The next port that a client without one, of a unix socket, seems to have.
    next_client: u16,
    /// Given up for a moment when descriptors run out, to refuse a connection that nobody can take.
    reserve: Option<OwnedFd>,
}

impl UserPort {
    /// The user network on port number `port`.
    pub fn new(
        port: usize,
        options: &UserAdd,
        service: OwnedFd,
        registrar: &Registrar,
    ) -> Result<Self, Refusal> {
        if options.mtu < 68 {
            return Err(Refusal::option("the MTU is below 68"));
        }
        let config = Config {
            v4: options.ipv4.as_ref().map(|addresses| plan(addresses, 32)).transpose()?,
            v6: options.ipv6.as_ref().map(|addresses| plan(addresses, 128)).transpose()?,
            mtu: options.mtu,
            restrict: options.restrict,
            host_loopback: options.host_loopback,
            max_flows: max_flows(),
            services: Vec::new(),
            search: options.search()?,
        };
        rustix::io::ioctl_fionbio(&service, true).map_err(io::Error::from)?;
        registrar.add(&service, Source::Service(port), poll::READ)?;
        let host = RealHost::new(port, registrar.try_clone()?);
        Ok(UserPort {
            net: UserNet::new(config, host, Secret(sys::random_key()?)),
            outbox: Outbox::default(),
            busy: false,
            port,
            reserve: service.try_clone().ok(),
            service,
            registrar: registrar.try_clone()?,
            forwards: HashMap::new(),
            services: HashMap::new(),
            next_client: FIRST_CLIENT,
        })
    }

    /// A new forward, with its listening or bound socket.
    pub fn add_forward(&mut self, name: String, proto: Proto, guest: SocketAddr, fd: OwnedFd) -> Outcome {
        if self.forwards.contains_key(&name) {
            return Err(Refusal::option(format!("there is a forward '{name}' already")));
        }
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        let slot = self.net.forward_vacancy();
        self.registrar.add(&fd, Source::Forward(self.port, slot), poll::READ)?;
        let socket = match proto {
            Proto::Tcp => {
                self.net.add_forward(guest, None);
                Some(fd)
            }
            Proto::Udp => {
                // Without, answers leave from the address the kernel picks.
                let _ = sys::want_packet_info(fd.as_fd());
                self.net.add_forward(guest, Some(DatagramSocket::adopt(fd)?));
                None
            }
        };
        self.forwards.insert(name, Listener { slot, socket });
        Ok(json!({}))
    }

    /// Close a forward.
    pub fn remove_forward(&mut self, name: &str) -> Outcome {
        let listener = self.forwards.remove(name);
        let listener = listener.ok_or_else(|| Refusal::option(format!("there is no forward '{name}'")))?;
        self.net.remove_forward(listener.slot);
        Ok(json!({}))
    }

    /// Bring a connection that Python has accepted; `ends` are the guest's and the client's.
    pub fn bring(&mut self, now: Time, ends: (SocketAddr, SocketAddr), fd: OwnedFd) -> Outcome {
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        let adopt = |host: &mut RealHost, token| host.adopt(token, fd);
        self.net.bring(now, ends.0, unmapped(ends.1), adopt, &mut self.outbox);
        Ok(json!({}))
    }

    /// A new service at an address of ours.
    pub fn add_service(&mut self, name: String, proto: Proto, at: SocketAddr) -> Outcome {
        if self.services.contains_key(&name) {
            return Err(Refusal::option(format!("there is a service '{name}' already")));
        }
        let protocol = if proto == Proto::Tcp { protocol::TCP } else { protocol::UDP };
        self.services.insert(name, self.net.add_service(protocol, at));
        Ok(json!({}))
    }

    /// The service goes away.
    pub fn remove_service(&mut self, name: &str) -> Outcome {
        let slot = self.services.remove(name);
        let slot = slot.ok_or_else(|| Refusal::option(format!("there is no service '{name}'")))?;
        self.net.remove_service(slot);
        Ok(json!({}))
    }

    /// The name of the service in a slot.
    pub fn service_name(&self, slot: usize) -> Option<&str> {
        self.services.iter().find(|&(_, &taken)| taken == slot).map(|(name, _)| name.as_str())
    }

    /// Python has brought the far end of a connection to a service.
    pub fn attach(&mut self, now: Time, connection: u64, fd: OwnedFd) -> Outcome {
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        let adopt = |host: &mut RealHost, token| host.adopt(token, fd);
        let waited = self.net.service_attach(now, connection, adopt, &mut self.outbox);
        Ok(json!({"waited": waited}))
    }

    /// Nobody serves the connection.
    pub fn refuse(&mut self, connection: u64) -> Value {
        let waited = self.net.service_refuse(connection, &mut self.outbox);
        json!({"waited": waited})
    }

    /// Ask a guest for an echo.
    pub fn ping(&mut self, ping: Ping) -> Outcome {
        match self.net.ping(ping, &mut self.outbox) {
            Ok(()) => Ok(json!({})),
            Err(_) => Err(Refusal::option(format!("{} is no guest's address", ping.addr))),
        }
    }

    /// Something has arrived at a forward's socket, or was reported about what it has sent.
    pub fn forward_ready(&mut self, now: Time, slot: usize, ready: Readiness) {
        let listening = self.forwards.values().find(|l| l.slot == slot).is_some_and(|l| l.socket.is_some());
        if !listening {
            return self.datagrams_ready(now, slot, ready);
        }
        for _ in 0..ACCEPTS {
            if !self.accept(now, slot) {
                break;
            }
        }
    }

    fn datagrams_ready(&mut self, now: Time, slot: usize, ready: Readiness) {
        // First, because the oldest of them also fails the next read.
        if ready.error {
            self.net.forward_errors(slot, &mut self.outbox);
        }
        let received = self.net.receive_forward(now, slot, &mut self.outbox);
        if received.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.net.drops.count(DropReason::HostRefused);
        }
    }

    /// Accept one connection; false when there is none left.
    fn accept(&mut self, now: Time, slot: usize) -> bool {
        let Some(socket) = self.forwards.values().find(|l| l.slot == slot).and_then(|l| l.socket.as_ref())
        else {
            return false;
        };
        match rustix::net::acceptfrom_with(socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((fd, from)) => {
                let client = from.and_then(|a| SocketAddr::try_from(a).ok());
                let client = client.unwrap_or_else(|| self.nameless_client());
                self.net.accept(
                    now,
                    slot,
                    unmapped(client),
                    |host, token| host.adopt(token, fd),
                    &mut self.outbox,
                );
                true
            }
            Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => self.turn_away(slot),
            Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// A client of a unix socket is on this host, and must not look like the one before it.
    fn nameless_client(&mut self) -> SocketAddr {
        let port = self.next_client;
        self.next_client = port.checked_add(1).unwrap_or(FIRST_CLIENT);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Out of descriptors: take the connection with the reserve and close it, or the loop would be woken for ever.
    fn turn_away(&mut self, slot: usize) -> bool {
        self.net.drops.count(DropReason::DescriptorsExhausted);
        self.reserve = None;
        let socket = self.forwards.values().find(|l| l.slot == slot).and_then(|l| l.socket.as_ref());
        let accepted = socket.is_some_and(|s| rustix::net::accept_with(s, SocketFlags::CLOEXEC).is_ok());
        self.reserve = self.service.try_clone().ok();
        accepted
    }

    /// Answers of the service for guests.
    pub fn service_ready(&mut self) {
        let mut buf = vec![0; 1 << 16];
        for _ in 0..ACCEPTS {
            let Ok((len, _)) = rustix::net::recv(&self.service, &mut buf[..], RecvFlags::DONTWAIT) else {
                break;
            };
            if len == 0 {
                break;
            }
            match service_channel::decode(&buf[..len]) {
                Some(message) => self.net.service_reply(&message, &mut self.outbox),
                None => self.net.drops.count(DropReason::UdpBadLength),
            }
        }
    }

    /// Bring what guests have sent to the service.
    pub fn flush_services(&mut self) {
        while let Some(message) = self.net.pop_service() {
            let bytes = service_channel::encode(&message);
            if rustix::net::send(&self.service, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
                self.net.drops.count(DropReason::ServiceBusy);
            }
        }
    }
}

/// Each flow has a descriptor, and the shares of the table that floods can have must leave some.
fn max_flows() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(OTHERS)).map_or(MAX_FLOWS, |flows| flows.clamp(1, MAX_FLOWS))
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn unmapped(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn plan<A: Copy + Into<IpAddr>>(addresses: &Addresses<A>, longest: u8) -> Result<Plan, Refusal> {
    if addresses.prefix > longest {
        return Err(Refusal::option("the prefix length is out of range"));
    }
    let Addresses { net, prefix, host, dns } = *addresses;
    Ok(Plan { net: net.into(), prefix, host: host.into(), dns: dns.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_keeps_its_address() {
        assert_eq!(unmapped("[::ffff:192.0.2.7]:5".parse().unwrap()), "192.0.2.7:5".parse().unwrap());
    }
}
