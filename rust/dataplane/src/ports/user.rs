//! The user network's port: the translation machine with its real sockets, service channel and forwards.

use crate::host::RealHost;
use crate::poll::{self, Registrar, Source};
use crate::protocol::{Proto, Refusal, UserAdd};
use crate::sys;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use wirebay_engine::user::{Secret, ServiceMessage};
use wirebay_engine::{Config, Outbox, Time, UserNet};
use wirebay_wire::{DropReason, Mac};

/// Most flows of one user network.
const MAX_FLOWS: usize = 1 << 17;
/// Connections accepted for one wake-up.
const ACCEPTS: usize = 64;
/// Bytes of the header of the service channel (`docs/protocol.md`).
const SERVICE_HEADER: usize = 18;

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
        if options.prefix > 32 || options.mtu < 68 {
            return Err(Refusal::option("the prefix length or the MTU is out of range"));
        }
        let config = Config {
            net: options.net,
            prefix: options.prefix,
            host: options.host,
            dns: options.dns,
            mtu: options.mtu,
            restrict: options.restrict,
            host_loopback: options.host_loopback,
            max_flows: MAX_FLOWS,
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
        })
    }

    /// A new forward, with its listening or bound socket.
    pub fn add_forward(
        &mut self,
        name: String,
        proto: Proto,
        guest: SocketAddrV4,
        fd: OwnedFd,
    ) -> Result<(), Refusal> {
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
                // Fails for an IPv6 socket, which then answers from the address the kernel picks.
                let _ = sys::want_packet_info(fd.as_fd());
                self.net.add_forward(guest, Some(fd));
                None
            }
        };
        self.forwards.insert(name, Listener { slot, socket });
        Ok(())
    }

    /// Close a forward.
    pub fn remove_forward(&mut self, name: &str) -> Result<(), Refusal> {
        let listener = self.forwards.remove(name);
        let listener = listener.ok_or_else(|| Refusal::option(format!("there is no forward '{name}'")))?;
        self.net.remove_forward(listener.slot);
        Ok(())
    }

    /// Something has arrived at a forward's socket.
    pub fn forward_ready(&mut self, now: Time, slot: usize) {
        let listening = self.forwards.values().find(|l| l.slot == slot).is_some_and(|l| l.socket.is_some());
        if listening {
            for _ in 0..ACCEPTS {
                if !self.accept(now, slot) {
                    break;
                }
            }
        } else if self
            .net
            .receive_forward(now, slot, &mut self.outbox)
            .is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock)
        {
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
                let client = client.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
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
            match decode(&buf[..len]) {
                Some(message) => self.net.service_reply(&message, &mut self.outbox),
                None => self.net.drops.count(DropReason::UdpBadLength),
            }
        }
    }

    /// Bring what guests have sent to the service.
    pub fn flush_services(&mut self) {
        while let Some(message) = self.net.pop_service() {
            let bytes = encode(&message);
            if rustix::net::send(&self.service, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
                self.net.drops.count(DropReason::ServiceBusy);
            }
        }
    }
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn unmapped(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn encode(message: &ServiceMessage) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SERVICE_HEADER + message.payload.len());
    bytes.extend(message.mac.0);
    bytes.extend(message.src.ip().octets());
    bytes.extend(message.dst.ip().octets());
    bytes.extend(message.src.port().to_be_bytes());
    bytes.extend(message.dst.port().to_be_bytes());
    bytes.extend(&message.payload);
    bytes
}

fn decode(bytes: &[u8]) -> Option<ServiceMessage> {
    let (header, payload) = bytes.split_first_chunk::<SERVICE_HEADER>()?;
    let ip = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let mut mac = [0; 6];
    mac.copy_from_slice(&header[..6]);
    Some(ServiceMessage {
        mac: Mac(mac),
        src: SocketAddrV4::new(ip(6), port(14)),
        dst: SocketAddrV4::new(ip(10), port(16)),
        payload: payload.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_message_survives_the_channel() {
        let message = ServiceMessage {
            mac: Mac([2, 0, 0, 0, 0, 9]),
            src: "0.0.0.0:68".parse().unwrap(),
            dst: "255.255.255.255:67".parse().unwrap(),
            payload: b"discover".to_vec(),
        };
        assert_eq!(decode(&encode(&message)), Some(message));
        assert_eq!(decode(&[0; 17]), None);
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_keeps_its_address() {
        assert_eq!(unmapped("[::ffff:192.0.2.7]:5".parse().unwrap()), "192.0.2.7:5".parse().unwrap());
    }
}
