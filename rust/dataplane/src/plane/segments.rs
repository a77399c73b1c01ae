//! From a port over its segment to others.

use super::{Incident, Plane};
use serde_json::json;
use wirebay_engine::switch::Tagging;
use wirebay_wire::pcap::Direction;
use wirebay_wire::vlan::retag;
use wirebay_wire::{DropReason, Frame};

impl Plane {
    /// A frame has come from a port through all its filters.
    pub(super) fn spread(&mut self, from: usize, frame: &Frame<'_>) {
        let Some(hub) = self.ports[from].as_ref().and_then(|port| port.hub) else {
            return self.lose(from, Direction::Outbound, frame, DropReason::NoHub);
        };
        let mut targets = std::mem::take(&mut self.targets);
        let Some(named) = self.hubs[hub].as_mut() else { return };
        match named.lan.route(self.now, from, frame, &mut targets) {
            Ok(()) => {
                let mut others = false;
                for target in &targets {
                    if target.tagging == Tagging::AsIs {
                        self.give(target.port, frame);
                    } else {
                        others = true;
                    }
                }
                if others {
                    self.give_retagged(from, &targets, frame);
                }
            }
            Err(reason) => {
                self.lose(from, Direction::Outbound, frame, reason);
                self.tell(hub);
            }
        }
        self.targets = targets;
    }

    /// To the ports where the frame must look otherwise; it is built anew only when the tag changes.
    fn give_retagged(&mut self, from: usize, targets: &[wirebay_engine::switch::Target], frame: &Frame<'_>) {
        let mut buf = std::mem::take(&mut self.retagged);
        let mut built = None;
        for target in targets.iter().filter(|target| target.tagging != Tagging::AsIs) {
            let tag = match target.tagging {
                Tagging::Tagged(tag) => Some(tag),
                _ => None,
            };
            match built {
                Some((tagging, offload)) if tagging == target.tagging => {
                    self.give(target.port, &Frame { bytes: &buf, offload });
                }
                _ => match retag(frame, tag, &mut buf) {
                    Ok(frame) => {
                        built = Some((target.tagging, frame.offload));
                        self.give(target.port, &frame);
                    }
                    Err(reason) => self.lose(from, Direction::Outbound, frame, reason),
                },
            }
        }
        self.retagged = buf;
    }

    /// The link of a port is down.
    pub(super) fn swallow(&mut self, number: usize, direction: Direction, frame: &Frame<'_>) {
        if let Some(port) = self.ports[number].as_mut() {
            port.drops.count(DropReason::LinkDown);
            self.record_lost(number, direction, frame, DropReason::LinkDown);
        }
    }

    /// A frame that the filters have seen goes no further.
    fn lose(&mut self, number: usize, direction: Direction, frame: &Frame<'_>, reason: DropReason) {
        if let Some(port) = self.ports[number].as_mut() {
            port.drops.count(reason);
            self.remark(number, direction, frame, reason);
        }
    }

    /// Tell what a segment has noticed while it dropped a frame.
    fn tell(&mut self, hub: usize) {
        let Some(named) = self.hubs[hub].as_mut() else { return };
        let (alarm, storm) = (named.lan.pop_alarm(), named.lan.pop_storm());
        let name = |number: usize| self.ports[number].as_ref().map(|port| &port.name);
        if let Some((alarm, port)) = alarm.and_then(|alarm| Some((alarm, name(alarm.port)?))) {
            let seconds = alarm.span.as_secs();
            let event = json!({"event": "loop_blocked", "port": port, "hub": named.name, "seconds": seconds});
            self.incidents.push(Incident::Event(event));
        }
        if let Some(port) = storm.and_then(name) {
            let event = json!({"event": "storm_limited", "port": port, "hub": named.name});
            self.incidents.push(Incident::Event(event));
        }
    }
}
