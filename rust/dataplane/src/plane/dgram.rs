//! Datagram ports in the plane.

use super::{Incident, Plane};
use crate::poll::{self, Source};
use crate::ports::{Kind, Port};
use wirebay_engine::Time;
use wirebay_wire::Frame;

impl Plane {
    pub(super) fn dgram_ready(&mut self, number: usize) {
        let Some(Port { kind: Kind::Dgram(dgram), .. }) = self.ports[number].as_mut() else { return };
        // As with streams: the frames never go back to the port they came from.
        let mut taken = std::mem::take(dgram);
        let mut batch = self.dgram_batch.take().unwrap_or_default();
        let ended = taken.read(self.now, &mut batch, &mut |message| match message
            .and_then(|bytes| Frame::plain(bytes).checked())
        {
            Ok(frame) => self.deliver(number, &frame),
            Err(reason) => self.ports[number].iter_mut().for_each(|port| port.drops.count(reason)),
        });
        self.dgram_batch = Some(batch);
        if let Some(Port { kind: Kind::Dgram(dgram), .. }) = self.ports[number].as_mut() {
            *dgram = taken;
        }
        if let Err(reason) = ended {
            self.close_dgram(number, reason);
        }
    }

    fn close_dgram(&mut self, number: usize, reason: String) {
        if let Some(Port { kind: Kind::Dgram(dgram), name, .. }) = self.ports[number].as_mut() {
            dgram.detach();
            self.incidents.push(Incident::StreamClosed(name.clone(), reason));
        }
    }

    pub(super) fn flush_dgram(&mut self, number: usize) {
        let now = self.now;
        let Some(Port { kind: Kind::Dgram(dgram), hub, drops, .. }) = self.ports[number].as_mut() else {
            return;
        };
        let hub = *hub;
        match dgram.flush(now, drops) {
            Ok(true) => self.unstall(hub),
            Ok(false) => {}
            Err(reason) => return self.close_dgram(number, reason),
        }
        self.watch_dgram(number);
    }

    fn watch_dgram(&mut self, number: usize) {
        let Some(Port { kind: Kind::Dgram(dgram), .. }) = self.ports[number].as_mut() else { return };
        let Some(write) = dgram.watch() else { return };
        let flags = if write { poll::READ_WRITE } else { poll::READ };
        let changed = dgram.fd().map(|fd| self.registrar.modify(fd, Source::Port(number), flags));
        if let Some(Err(error)) = changed {
            self.close_dgram(number, format!("the port's socket cannot be watched: {error}"));
        }
    }

    /// When the first datagram port wants to try again.
    pub(super) fn next_retry(&self) -> Option<Time> {
        let dgrams = self.ports.iter().flatten().filter_map(|port| match &port.kind {
            Kind::Dgram(dgram) => dgram.deadline(),
            _ => None,
        });
        dgrams.min()
    }
}
