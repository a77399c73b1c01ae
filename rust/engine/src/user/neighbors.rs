//! Which Ethernet address a guest's IP address lives at, learned from what guests send.

use std::net::IpAddr;
use wirebay_wire::Mac;

/// Addresses remembered. A guest that invents more only makes us ask by ARP again.
const LIMIT: usize = 256;

/// A bounded table; the oldest entry gives way.
#[derive(Default)]
pub struct Neighbors {
    entries: Vec<(IpAddr, Mac)>,
    next: usize,
}

impl Neighbors {
    /// `ip` is at `mac`. True if that is news.
    pub fn learn(&mut self, ip: IpAddr, mac: Mac) -> bool {
        if mac.is_multicast() {
            return false;
        }
        match self.entries.iter().position(|&(i, _)| i == ip) {
            Some(at) if self.entries[at].1 == mac => return false,
            Some(at) => self.entries[at].1 = mac,
            None if self.entries.len() < LIMIT => self.entries.push((ip, mac)),
            None => {
                self.entries[self.next] = (ip, mac);
                self.next = (self.next + 1) % LIMIT;
            }
        }
        true
    }

    /// Where `ip` was last seen.
    pub fn find(&self, ip: IpAddr) -> Option<Mac> {
        self.entries.iter().find(|(i, _)| *i == ip).map(|&(_, mac)| mac)
    }
}
