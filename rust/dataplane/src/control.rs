//! The control socket: commands and their descriptors in, replies and events out.

use crate::plane::{Incident, Plane};
use crate::poll::{self, Source};
use crate::ports::stream::StreamPort;
use crate::ports::tap::TapPort;
use crate::ports::user::UserPort;
use crate::ports::vhost_user::VhostPort;
use crate::ports::{Kind, Port};
use crate::protocol::{self, Command, Fault, MAX_MESSAGE, Refusal};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use wirebay_engine::Lan;
use wirebay_engine::user::Ping;

mod dgram;
mod filters;
mod flows;
mod segments;

/// Commands taken for one wake-up.
const COMMANDS: usize = 64;
/// Descriptors that may come with one message.
const MAX_FDS: usize = 8;
/// Messages that wait while Python does not read; then Python counts as dead.
const MAX_WAITING: usize = 4096;

/// What the loop is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Go on.
    Run,
    /// Stop: asked to, or nobody is there any more.
    Stop,
}

/// The control socket.
pub struct Control {
    socket: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
}

/// What comes of a command.
pub type Outcome = Result<Value, Refusal>;

impl Control {
    /// Over a connected `SOCK_SEQPACKET` socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Control { socket, waiting: VecDeque::new() })
    }

    /// The socket.
    pub fn fd(&self) -> &OwnedFd {
        &self.socket
    }

    /// Tell Python something.
    pub fn send(&mut self, message: &Value) {
        self.waiting.push_back(message.to_string().into_bytes());
    }

    /// Send what waits. Whether Python still takes it.
    pub fn flush(&mut self) -> Next {
        while let Some(message) = self.waiting.front() {
            match rustix::net::send(&self.socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => drop(self.waiting.pop_front()),
                Err(rustix::io::Errno::AGAIN) if self.waiting.len() < MAX_WAITING => break,
                Err(_) => return Next::Stop,
            }
        }
        Next::Run
    }

    /// Does anything wait for room in the socket?
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Python has sent something, or is gone.
    pub fn ready(&mut self, plane: &mut Plane) -> Next {
        for _ in 0..COMMANDS {
            match self.receive() {
                Ok(Some((message, fds))) => {
                    if self.serve(plane, &message, fds) == Next::Stop {
                        return Next::Stop;
                    }
                }
                Ok(None) => break,
                Err(_) => return Next::Stop,
            }
        }
        Next::Run
    }

    fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = match recvmsg(&self.socket, &mut pieces, &mut ancillary, flags) {
            Ok(got) => got,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fds = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds = fds.flatten().collect();
        // A message that was cut off is no JSON any more, and is answered as such.
        bytes.truncate(if got.flags.contains(ReturnFlags::TRUNC) { 0 } else { got.bytes });
        Ok(Some((bytes, fds)))
    }

    fn serve(&mut self, plane: &mut Plane, message: &[u8], fds: Vec<OwnedFd>) -> Next {
        let (id, command) = protocol::parse(message);
        let stop = matches!(command, Ok(Command::Stop {}));
        let outcome = command.and_then(|command| plane.execute(command, fds));
        self.send(&protocol::bounded_reply(id, outcome));
        if stop {
            self.flush();
            return Next::Stop;
        }
        Next::Run
    }

    /// Tell Python what ports have done by themselves.
    pub fn report(&mut self, incidents: &mut Vec<Incident>) {
        for incident in incidents.drain(..) {
            self.send(&match incident {
                Incident::StreamClosed(port, reason) => {
                    json!({"event": "stream_closed", "port": port, "reason": reason})
                }
                Incident::PortFailed(port, reason) => {
                    json!({"event": "port_failed", "port": port, "reason": reason})
                }
                Incident::ServiceConnect { port, service, call } => json!({
                    "event": "service_connect", "port": port, "service": service,
                    "connection": call.connection,
                    "client": call.client.ip(), "client_port": call.client.port(),
                }),
                Incident::Pong(port, pong) => json!({
                    "event": "pong", "port": port, "addr": pong.addr,
                    "ident": pong.ident, "seq": pong.seq, "ttl": pong.hops,
                }),
                Incident::Event(event) => event,
            });
        }
    }
}

fn one_fd(mut fds: Vec<OwnedFd>) -> Result<OwnedFd, Refusal> {
    match (fds.pop(), fds.is_empty()) {
        (Some(fd), true) => Ok(fd),
        _ => Err(Refusal::option("exactly one descriptor must come with this command")),
    }
}

fn one_or_two_fds(fds: Vec<OwnedFd>) -> Result<(OwnedFd, Option<OwnedFd>), Refusal> {
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next()) {
        (Some(first), second, None) => Ok((first, second)),
        _ => Err(Refusal::option("one or two descriptors must come with this command")),
    }
}

/// Commands.
impl Plane {
    fn execute(&mut self, command: Command, fds: Vec<OwnedFd>) -> Outcome {
        match command {
            Command::TapAdd { port, offloads, .. } => self.tap_add(port, &offloads, one_fd(fds)?),
            Command::StreamAdd(add) => self.new_port(add.port, Kind::Stream(StreamPort::new(add.framing))),
            Command::StreamAttach { port } => self.stream_attach(&port, fds),
            Command::DgramAdd { port, framing } => self.dgram_add(port, &framing),
            Command::DgramAttach { port, to } => self.dgram_attach(&port, to, fds),
            Command::VhostAdd { port, offloads } => {
                self.new_port(port, Kind::VhostUser(Box::new(VhostPort::new(offloads))))
            }
            Command::VhostAttach { port } => self.vhost_attach(&port, one_fd(fds)?),
            Command::UserAdd(options) => self.user_add(options, one_fd(fds)?),
            Command::UserResolvers { port, servers } => {
                self.user(&port)?.net.set_resolvers(servers);
                Ok(json!({}))
            }
            Command::ForwardAdd { port, forward, proto, guest, guest_port } => {
                let guest = SocketAddr::new(guest, guest_port);
                self.user(&port)?.add_forward(forward, proto, guest, one_fd(fds)?)
            }
            Command::ForwardRemove { port, forward } => self.user(&port)?.remove_forward(&forward),
            Command::ForwardAccept { port, guest, guest_port, client, client_port } => {
                let ends = (SocketAddr::new(guest, guest_port), SocketAddr::new(client, client_port));
                let now = self.now;
                self.user(&port)?.bring(now, ends, one_fd(fds)?)
            }
            Command::ServiceAdd { port, service, proto, addr, service_port } => {
                let at = SocketAddr::new(addr, service_port);
                self.user(&port)?.add_service(service, proto, at)
            }
            Command::ServiceRemove { port, service } => self.user(&port)?.remove_service(&service),
            Command::ServiceAttach { port, connection } => {
                let now = self.now;
                self.user(&port)?.attach(now, connection, one_fd(fds)?)
            }
            Command::ServiceRefuse { port, connection } => Ok(self.user(&port)?.refuse(connection)),
            Command::Flows { port, first, limit } => {
                let now = self.now;
                Ok(flows::page(self.user(&port)?, now, first, limit))
            }
            Command::GuestPing { port, addr, ident, seq, size } => {
                self.user(&port)?.ping(Ping { addr, ident, seq, size })
            }
            Command::FilterAdd(options) => self.filter_add(options, fds),
            Command::FilterAttach { filter, end } => self.filter_attach(&filter, end, one_fd(fds)?),
            Command::FilterRotate { filter } => self.filter_rotate(&filter, one_fd(fds)?),
            other => self.execute_common(other),
        }
    }

    /// Commands that are not about one user network.
    fn execute_common(&mut self, command: Command) -> Outcome {
        match command {
            Command::PortRemove { port } => {
                let number = self.number(&port)?;
                self.remove(number);
                Ok(json!({}))
            }
            Command::HubAdd { hub } => self.hub_add(hub, Lan::hub),
            Command::SwitchAdd { hub } => self.hub_add(hub, Lan::switch),
            Command::HubRemove { hub } => self.hub_remove(&hub),
            Command::HubStats { hub } => self.hub_stats(&hub),
            Command::Join(options) => self.join(options),
            Command::Link { port, up } => self.set_link(&port, up),
            Command::FilterSet { filter, on } => self.filter_set(&filter, on),
            Command::FilterRemove { filter } => self.filter_remove(&filter),
            Command::FilterStats { filters } => self.filter_stats(&filters),
            Command::Leave { port } => {
                let number = self.number(&port)?;
                self.leave(number);
                Ok(json!({}))
            }
            Command::Stats { ports } => self.stats(ports),
            _ => Ok(json!({})),
        }
    }

    fn number(&self, name: &str) -> Result<usize, Refusal> {
        self.names.get(name).copied().ok_or_else(|| Refusal::option(format!("there is no port '{name}'")))
    }

    fn named(&mut self, name: &str) -> Result<&mut Port, Refusal> {
        let number = self.number(name)?;
        self.ports[number].as_mut().ok_or_else(|| Refusal::option(format!("there is no port '{name}'")))
    }

    fn user(&mut self, name: &str) -> Result<&mut UserPort, Refusal> {
        match &mut self.named(name)?.kind {
            Kind::User(Some(user)) => Ok(user),
            _ => Err(Refusal::option(format!("port '{name}' is not a user network"))),
        }
    }

    fn vacant(&self, name: &str) -> Result<usize, Refusal> {
        if self.names.contains_key(name) {
            return Err(Refusal::option(format!("there is a port '{name}' already")));
        }
        let number = self.vacancy();
        if number < poll::MAX_PORTS { Ok(number) } else { Err(Refusal::option("there are too many ports")) }
    }

    fn new_port(&mut self, name: String, kind: Kind) -> Outcome {
        self.vacant(&name)?;
        self.add(name, kind);
        Ok(json!({}))
    }

    fn tap_add(&mut self, name: String, offloads: &[String], fd: OwnedFd) -> Outcome {
        let number = self.vacant(&name)?;
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        self.registrar().add(&fd, Source::Port(number), poll::READ)?;
        self.add(name, Kind::Tap(TapPort::new(fd, offloads)));
        Ok(json!({}))
    }

    fn stream_attach(&mut self, name: &str, fds: Vec<OwnedFd>) -> Outcome {
        let (fd, out) = one_or_two_fds(fds)?;
        let number = self.number(name)?;
        let registrar = self.registrar().try_clone()?;
        let Kind::Stream(stream) = &mut self.named(name)?.kind else {
            return Err(Refusal::option(format!("port '{name}' is not a stream")));
        };
        if stream.fd().is_some() {
            return Err(Refusal::option(format!("port '{name}' has a peer already")));
        }
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        registrar.add(&fd, Source::Port(number), poll::READ)?;
        if let Some(out) = &out {
            rustix::io::ioctl_fionbio(out, true).map_err(io::Error::from)?;
            registrar.add(out, Source::Port(number), poll::NOTHING)?;
        }
        stream.attach(fd, out);
        Ok(json!({}))
    }

    fn vhost_attach(&mut self, name: &str, fd: OwnedFd) -> Outcome {
        let number = self.number(name)?;
        let registrar = self.registrar().try_clone()?;
        let Kind::VhostUser(vhost) = &mut self.named(name)?.kind else {
            return Err(Refusal::option(format!("port '{name}' is not a vhost-user port")));
        };
        if vhost.is_attached() {
            return Err(Refusal::option(format!("port '{name}' has a peer already")));
        }
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        registrar.add(&fd, Source::Port(number), poll::READ)?;
        vhost.attach(fd);
        Ok(json!({}))
    }

    fn user_add(&mut self, options: protocol::UserAdd, service: OwnedFd) -> Outcome {
        let number = self.vacant(&options.port)?;
        let user = UserPort::new(number, &options, service, self.registrar())?;
        self.add(options.port, Kind::User(Some(Box::new(user))));
        Ok(json!({}))
    }

    fn stats(&self, only: Option<Vec<String>>) -> Outcome {
        let numbers: Vec<usize> = match only {
            Some(names) => names.iter().map(|name| self.number(name)).collect::<Result<_, _>>()?,
            None => (0..self.ports.len()).collect(),
        };
        let ports = numbers.into_iter().filter_map(|number| self.ports[number].as_ref());
        let ports: Map<String, Value> =
            ports.map(|port| (port.name.clone(), self.port_stats(port))).collect();
        Ok(json!({"ports": ports}))
    }

    fn port_stats(&self, port: &Port) -> Value {
        let hub = port.hub.and_then(|hub| self.hubs[hub].as_ref()).map(|hub| hub.name.clone());
        let mut drops: Map<String, Value> = Map::new();
        let mut count = |reason: wirebay_wire::DropReason, n: u64| {
            let before = drops.get(reason.name()).and_then(Value::as_u64).unwrap_or(0);
            drops.insert(reason.name().into(), json!(before + n));
        };
        port.drops.iter().for_each(|(reason, n)| count(reason, n));
        let mut flows = Value::Null;
        if let Kind::User(Some(user)) = &port.kind {
            user.net.drops.iter().for_each(|(reason, n)| count(reason, n));
            let census = user.net.census();
            flows = json!({"tcp": census.tcp, "udp": census.udp, "icmp": census.icmp});
        }
        let mut stats = json!({
            "kind": port.kind.name(), "hub": hub, "link": port.link, "drops": drops,
            "rx_frames": port.rx.frames, "rx_bytes": port.rx.bytes,
            "tx_frames": port.tx.frames, "tx_bytes": port.tx.bytes,
        });
        if !flows.is_null() {
            stats["flows"] = flows;
        }
        stats
    }
}

/// The `ready` event.
pub fn ready_event() -> Value {
    json!({"event": "ready", "version": protocol::VERSION, "pid": std::process::id()})
}

/// A refusal that is the host's fault, for callers outside this module.
impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.fault {
            Fault::Option => io::Error::new(io::ErrorKind::InvalidInput, refusal.message),
            Fault::Host => io::Error::other(refusal.message),
        }
    }
}
