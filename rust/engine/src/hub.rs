//! A hub: every frame goes to all other ports, as QEMU's hubs do. It learns nothing for forwarding; it only remembers
//! on which port an address was last seen, so that a sender can ask how much room there is on the way to it.

use wirebay_wire::Mac;

/// Remembered addresses. A hub with more talkers forgets some, which costs it only an estimate.
const SEEN: usize = 64;

/// A segment that joins any number of ports, named by `P`.
pub struct Hub<P> {
    ports: Vec<P>,
    seen: Vec<(Mac, P)>,
    next_seen: usize,
}

impl<P> Default for Hub<P> {
    fn default() -> Self {
        Hub { ports: Vec::new(), seen: Vec::new(), next_seen: 0 }
    }
}

impl<P: Copy + PartialEq> Hub<P> {
    /// Plug a port in.
    pub fn join(&mut self, port: P) {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
    }

    /// Unplug a port.
    pub fn leave(&mut self, port: P) {
        self.ports.retain(|&p| p != port);
        self.seen.retain(|&(_, p)| p != port);
        self.next_seen = 0;
    }

    /// All ports, in the order they joined.
    pub fn ports(&self) -> &[P] {
        &self.ports
    }

    /// `mac` has just sent from `port`; whether it was on another one before.
    pub fn note(&mut self, mac: Mac, port: P) -> bool {
        if mac.is_multicast() {
            return false;
        }
        if let Some(entry) = self.seen.iter_mut().find(|(m, _)| *m == mac) {
            return std::mem::replace(&mut entry.1, port) != port;
        }
        if self.seen.len() < SEEN {
            self.seen.push((mac, port));
        } else {
            self.seen[self.next_seen] = (mac, port);
            self.next_seen = (self.next_seen + 1) % SEEN;
        }
        false
    }

    /// The port `mac` was last seen on.
    pub fn port_of(&self, mac: Mac) -> Option<P> {
        self.seen.iter().find(|(m, _)| *m == mac).map(|&(_, p)| p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_left_is_neither_sent_to_nor_remembered() {
        let mut hub = Hub::default();
        hub.join(1);
        hub.join(2);
        hub.join(2);
        hub.note(Mac([2, 0, 0, 0, 0, 1]), 2);
        assert_eq!(hub.ports(), [1, 2]);
        hub.leave(2);
        assert_eq!(hub.ports(), [1]);
        assert_eq!(hub.port_of(Mac([2, 0, 0, 0, 0, 1])), None);
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_memory() {
        let mut hub = Hub::default();
        hub.join(1);
        for i in 0..100_000u32 {
            let [a, b, c, d] = i.to_be_bytes();
            hub.note(Mac([2, 0, a, b, c, d]), 1);
        }
        assert_eq!(hub.seen.len(), SEEN);
    }
}
