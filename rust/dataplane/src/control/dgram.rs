//! Commands about datagram ports.

use super::{Outcome, one_or_two_fds};
use crate::plane::Plane;
use crate::poll::{self, Source};
use crate::ports::Kind;
use crate::ports::dgram::{Destination, DgramPort};
use crate::ports::framing::{Framing, FramingOptions};
use crate::protocol::Refusal;
use serde_json::json;
use std::io;
use std::os::fd::OwnedFd;

impl Plane {
    pub(super) fn dgram_add(&mut self, name: String, framing: &FramingOptions) -> Outcome {
        let framing = Framing::new(framing).map_err(Refusal::option)?;
        self.new_port(name, Kind::Dgram(DgramPort::new(framing)))
    }

    pub(super) fn dgram_attach(&mut self, name: &str, to: Destination, fds: Vec<OwnedFd>) -> Outcome {
        let number = self.number(name)?;
        let registrar = self.registrar().try_clone()?;
        let Kind::Dgram(dgram) = &mut self.named(name)?.kind else {
            return Err(Refusal::option(format!("port '{name}' is not a datagram port")));
        };
        let (socket, sender) = one_or_two_fds(fds)?;
        rustix::io::ioctl_fionbio(&socket, true).map_err(io::Error::from)?;
        dgram.attach(socket, sender, to)?;
        if let Some(fd) = dgram.fd() {
            registrar.add(fd, Source::Port(number), poll::READ)?;
        }
        Ok(json!({}))
    }
}
