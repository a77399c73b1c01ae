//! Stream ports in the plane.

use super::{Incident, Plane};
use crate::poll::{self, Source};
use crate::ports::{Kind, Port};
use wirebay_wire::Frame;

impl Plane {
    pub(super) fn stream_ready(&mut self, number: usize) {
        let Some(Port { kind: Kind::Stream(stream), .. }) = self.ports[number].as_mut() else { return };
        // The frames are delivered while the port they came from is out of its place, for they never go back to it.
        let mut taken = std::mem::take(stream);
        let mut buf = std::mem::take(&mut self.stream_buffer);
        let ended = taken.read(&mut buf, &mut |bytes| match Frame::plain(bytes).checked() {
            Ok(frame) => self.deliver(number, &frame),
            Err(reason) => self.ports[number].iter_mut().for_each(|port| port.drops.count(reason)),
        });
        self.stream_buffer = buf;
        if let Some(Port { kind: Kind::Stream(stream), .. }) = self.ports[number].as_mut() {
            *stream = taken;
        }
        if let Err(reason) = ended {
            self.close_stream(number, reason);
        }
    }

    pub(super) fn close_stream(&mut self, number: usize, reason: String) {
        if let Some(Port { kind: Kind::Stream(stream), name, hub, .. }) = self.ports[number].as_mut() {
            stream.detach();
            self.incidents.push(Incident::StreamClosed(name.clone(), reason));
            let hub = *hub;
            self.unstall(hub);
        }
    }

    pub(super) fn flush_stream(&mut self, number: usize) {
        let Some(Port { kind: Kind::Stream(stream), hub, .. }) = self.ports[number].as_mut() else { return };
        let hub = *hub;
        match stream.flush() {
            Ok(true) => self.unstall(hub),
            Ok(false) => {}
            Err(reason) => return self.close_stream(number, reason),
        }
        self.watch_stream(number);
    }

    fn watch_stream(&mut self, number: usize) {
        let Some(Port { kind: Kind::Stream(stream), .. }) = self.ports[number].as_mut() else { return };
        let Some(write) = stream.watch() else { return };
        let flags = match (stream.is_split(), write) {
            (false, true) => poll::READ_WRITE,
            (false, false) => poll::READ,
            (true, true) => poll::WRITE,
            (true, false) => poll::NOTHING,
        };
        let changed = stream.out().map(|fd| self.registrar.modify(fd, Source::Port(number), flags));
        if let Some(Err(error)) = changed {
            self.close_stream(number, format!("the peer's socket cannot be watched: {error}"));
        }
    }
}
