//! Frames through the filters of a port, and what filters do by themselves.

use super::{Incident, Plane};
use crate::filters::{Filter, IN, Kind, OUT};
use crate::poll::{self, Source};
use crate::ports;
use serde_json::json;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::pcap::Direction;
use wirebay_wire::{DropReason, Frame};

/// How long captures may take to be written when the worker ends.
const PATIENCE: Duration = Duration::from_secs(1);
const END_NAMES: [&str; 2] = ["in", "out"];

/// The place in a chain of `len` filters that follows `after`, or the first.
fn next(direction: Direction, len: usize, after: Option<usize>) -> Option<usize> {
    match direction {
        Direction::Outbound => Some(after.map_or(0, |at| at + 1)).filter(|&at| at < len),
        Direction::Inbound => after.unwrap_or(len).checked_sub(1),
    }
}

/// Frames.
impl Plane {
    /// Offer a frame to the filters of a port that come after place `after`. Whether it gets through.
    pub(super) fn pass(
        &mut self,
        number: usize,
        direction: Direction,
        mut after: Option<usize>,
        frame: &Frame<'_>,
    ) -> bool {
        let Some(port) = &self.ports[number] else { return false };
        while let Some(at) = next(direction, port.chain.len(), after) {
            let filter = self.filters[port.chain[at]].as_mut();
            if filter.is_some_and(|f| !f.offer(self.now, direction, frame, &mut self.scratch)) {
                return false;
            }
            after = Some(at);
        }
        true
    }

    /// A frame goes on behind the filter in `slot`.
    fn resume(&mut self, slot: usize, direction: Direction, frame: &Frame<'_>) {
        let Some(number) = self.filters[slot].as_ref().map(|filter| filter.port) else { return };
        let Some(port) = &self.ports[number] else { return };
        if !port.link {
            return self.swallow(number, direction, frame);
        }
        let after = port.chain.iter().position(|&other| other == slot);
        if !self.pass(number, direction, after, frame) {
            return;
        }
        match direction {
            Direction::Outbound => self.spread(number, frame),
            Direction::Inbound => self.emit_watched(number, frame),
        }
    }

    /// Give a port a frame, and let captures know if it does not take it.
    pub(super) fn emit_watched(&mut self, number: usize, frame: &Frame<'_>) {
        self.latest_drop(number);
        self.emit(number, frame);
        if let Some(reason) = self.latest_drop(number) {
            self.remark(number, Direction::Inbound, frame, reason);
        }
    }

    fn latest_drop(&mut self, number: usize) -> Option<DropReason> {
        let port = self.ports[number].as_mut()?;
        let within = match &mut port.kind {
            ports::Kind::User(Some(user)) => user.net.drops.take_latest(),
            _ => None,
        };
        port.drops.take_latest().or(within)
    }

    /// A frame that the captures of a port have seen was dropped.
    pub(super) fn remark(
        &mut self,
        number: usize,
        direction: Direction,
        frame: &Frame<'_>,
        reason: DropReason,
    ) {
        let Some(port) = &self.ports[number] else { return };
        for &slot in &port.chain {
            if let Some(Filter { kind: Kind::Dump(dump), .. }) = self.filters[slot].as_mut() {
                dump.dropped(direction, frame, reason);
            }
        }
    }

    /// A frame is dropped before any filter sees it; captures that can say so show it.
    pub(super) fn record_lost(
        &mut self,
        number: usize,
        direction: Direction,
        frame: &Frame<'_>,
        reason: DropReason,
    ) {
        let Some(port) = &self.ports[number] else { return };
        for &slot in &port.chain {
            let Some(filter) = self.filters[slot].as_mut() else { continue };
            if let (Kind::Dump(dump), true, true) =
                (&mut filter.kind, filter.on, filter.queue.covers(direction))
                && dump.says_why()
                && let Err(reason) = dump.record(self.now, direction, frame, Some(reason))
            {
                filter.drops.count(reason);
            }
        }
    }
}

/// What filters do by themselves.
impl Plane {
    /// A connection of a filter is ready.
    pub fn filter_ready(&mut self, slot: usize, end: usize) {
        let Some(outlet) = self.filters.get_mut(slot).and_then(Option::as_mut) else { return };
        let queue = outlet.queue;
        let Some(outlet) = outlet.ends[end].as_mut() else { return };
        // The frames are brought in while the connection is out of its place.
        let mut taken = std::mem::take(&mut outlet.stream);
        let mut buf = std::mem::take(&mut self.stream_buffer);
        let ended = taken.read(&mut buf, &mut |bytes| {
            if end == IN {
                self.bring_in(slot, queue, bytes);
            }
        });
        self.stream_buffer = buf;
        if let Some(Some(outlet)) = self.filters[slot].as_mut().map(|filter| &mut filter.ends[end]) {
            outlet.stream = taken;
        }
        if let Err(reason) = ended {
            self.close_end(slot, end, &reason);
        }
    }

    fn bring_in(&mut self, slot: usize, queue: crate::filters::Queue, bytes: &[u8]) {
        let Some(filter) = self.filters[slot].as_mut().filter(|filter| filter.on) else { return };
        let Some(inlet) = &filter.ends[IN] else { return };
        match inlet.parse(bytes) {
            // First towards the segment, then towards the port, as QEMU does.
            Ok(frame) => {
                for direction in [Direction::Outbound, Direction::Inbound] {
                    if queue.covers(direction) {
                        self.resume(slot, direction, &frame);
                    }
                }
            }
            Err(reason) => filter.drops.count(reason),
        }
    }

    fn close_end(&mut self, slot: usize, end: usize, reason: &str) {
        let Some(filter) = self.filters[slot].as_mut() else { return };
        if let Some(outlet) = filter.ends[end].as_mut() {
            outlet.stream.detach();
        }
        let (name, end) = (&filter.name, END_NAMES[end]);
        let event = json!({"event": "filter_closed", "filter": name, "end": end, "reason": reason});
        self.incidents.push(Incident::Event(event));
    }

    /// Let go what buffers have held until now.
    pub(super) fn release_held(&mut self) {
        for slot in 0..self.filters.len() {
            if let Some(Filter { kind: Kind::Buffer(hold), .. }) = self.filters[slot].as_mut() {
                for held in hold.release(self.now) {
                    self.resume(slot, held.direction, &held.frame());
                }
            }
        }
    }

    /// Let go what a buffer holds, whatever the time.
    pub fn let_go(&mut self, slot: usize) {
        if let Some(Filter { kind: Kind::Buffer(hold), .. }) = self.filters[slot].as_mut() {
            for held in hold.release_all() {
                self.resume(slot, held.direction, &held.frame());
            }
        }
    }

    /// When the first buffer lets go.
    pub(super) fn next_release(&self) -> Option<Time> {
        let holds = self.filters.iter().flatten().filter_map(|filter| match &filter.kind {
            Kind::Buffer(hold) => hold.deadline(),
            _ => None,
        });
        holds.min()
    }

    /// Hand over what was captured, and send what was mirrored.
    pub(super) fn flush_filters(&mut self) {
        for slot in 0..self.filters.len() {
            self.flush_dump(slot);
            for end in [IN, OUT] {
                self.flush_end(slot, end);
            }
        }
    }

    fn flush_dump(&mut self, slot: usize) {
        let Some(filter) = self.filters[slot].as_mut() else { return };
        let Kind::Dump(dump) = &mut filter.kind else { return };
        for _ in 0..dump.flush() {
            self.incidents.push(Incident::Event(json!({"event": "filter_full", "filter": filter.name})));
        }
        if let Some(error) = dump.failure() {
            let event = json!({"event": "filter_failed", "filter": filter.name, "reason": error.to_string()});
            self.incidents.push(Incident::Event(event));
        }
    }

    fn flush_end(&mut self, slot: usize, end: usize) {
        let Some(Some(outlet)) = self.filters[slot].as_mut().map(|filter| &mut filter.ends[end]) else {
            return;
        };
        if let Err(reason) = outlet.stream.flush() {
            return self.close_end(slot, end, &reason);
        }
        let Some(write) = outlet.stream.watch() else { return };
        let flags = if write { poll::READ_WRITE } else { poll::READ };
        let changed =
            outlet.stream.fd().map(|fd| self.registrar.modify(fd, Source::Filter(slot, end), flags));
        if let Some(Err(error)) = changed {
            self.close_end(slot, end, &format!("the peer's socket cannot be watched: {error}"));
        }
    }

    /// Take a filter out; what it has captured is still written.
    pub fn remove_filter(&mut self, slot: usize) {
        let Some(filter) = self.filters[slot].as_mut() else { return };
        if let Kind::Dump(dump) = &mut filter.kind {
            dump.flush();
        }
        let number = filter.port;
        self.filters[slot] = None;
        if let Some(port) = self.port(number) {
            port.chain.retain(|&other| other != slot);
        }
    }

    /// The port goes, and its filters with it.
    pub(super) fn drop_filters(&mut self, number: usize) {
        let chain = self.port(number).map(|port| port.chain.clone()).unwrap_or_default();
        for slot in chain {
            self.remove_filter(slot);
        }
    }

    /// The worker ends: write what was captured, as far as that is possible soon.
    pub fn end_captures(&mut self) {
        let mut patience = PATIENCE;
        for filter in self.filters.iter_mut().flatten() {
            if let Kind::Dump(dump) = &mut filter.kind {
                let start = std::time::Instant::now();
                dump.end(patience);
                patience = patience.saturating_sub(start.elapsed());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_pass_a_chain_forwards_from_the_port_and_backwards_to_it() {
        let walk = |direction| {
            let mut after = None;
            std::iter::from_fn(move || {
                after = next(direction, 3, after);
                after
            })
        };
        assert_eq!(walk(Direction::Outbound).take(4).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(next(Direction::Inbound, 3, None), Some(2));
        assert_eq!(next(Direction::Inbound, 3, Some(2)), Some(1));
        assert_eq!(next(Direction::Inbound, 3, Some(0)), None);
        assert_eq!(next(Direction::Outbound, 0, None), None);
    }
}
