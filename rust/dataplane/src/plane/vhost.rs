//! vhost-user ports in the plane.

use super::{Incident, Plane};
use crate::poll::{self, Source};
use crate::ports::vhost_user::{self, VhostPort};
use crate::ports::{Kind, Port};

impl Plane {
    /// The VMM has sent something.
    pub(super) fn vhost_ready(&mut self, number: usize) {
        let registrar = &self.registrar;
        let Some(Port { kind: Kind::VhostUser(vhost), name, hub, .. }) = self.ports[number].as_mut() else {
            return;
        };
        let served =
            vhost.serve(&mut |ring, kick| registrar.watch(kick, Source::Kick(number, ring), poll::READ));
        if let Err(reason) = served {
            vhost.detach();
            self.incidents.push(Incident::StreamClosed(name.clone(), reason));
            let hub = *hub;
            return self.unstall(hub);
        }
        // What was put into rings before they were watched.
        let rings = vhost.transmit_rings();
        self.to_poll.extend(rings.map(|ring| (number, ring)));
    }

    /// A guest has put something into a ring.
    pub fn kicked(&mut self, number: usize, ring: usize) {
        if vhost_user::is_transmit(ring) {
            return self.take_from_ring(number, ring);
        }
        if let Some(Port { kind: Kind::VhostUser(vhost), .. }) = self.ports[number].as_mut() {
            vhost.refilled(ring);
        }
    }

    pub(super) fn take_from_ring(&mut self, number: usize, ring: usize) {
        let Some(Port { kind: Kind::VhostUser(vhost), .. }) = self.ports[number].as_mut() else { return };
        // The frames are delivered while the port they came from is out of its place, for they never go back to it.
        let mut taken = std::mem::replace(vhost, Box::new(VhostPort::absent()));
        let mut buf = std::mem::take(&mut self.tap_buffer);
        let more = taken.take(ring, &mut buf, &mut |frame| match frame {
            Ok(frame) => self.deliver(number, &frame),
            Err(reason) => self.ports[number].iter_mut().for_each(|port| port.drops.count(reason)),
        });
        self.tap_buffer = buf;
        if let Some(Port { kind: Kind::VhostUser(vhost), .. }) = self.ports[number].as_mut() {
            *vhost = taken;
        }
        if more {
            self.to_poll.push((number, ring));
        }
    }

    pub(super) fn flush_vhost(&mut self, number: usize) {
        let Some(Port { kind: Kind::VhostUser(vhost), hub, .. }) = self.ports[number].as_mut() else {
            return;
        };
        let hub = *hub;
        if vhost.flush() {
            self.unstall(hub);
        }
    }
}
