//! All flows of a user network: the table, the index by addresses, and the timers, kept in step.

use super::datagram::DatagramFlow;
use super::tcp::TcpFlow;
use crate::host::Host;
use crate::table::{Table, Token};
use crate::time::Time;
use crate::timers::{Deadline, Timers};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What identifies a flow. `our` is `0.0.0.0:0` for mappings that do not depend on the other end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// IP protocol number.
    pub protocol: u8,
    /// The guest's end.
    pub guest: SocketAddr,
    /// Our end, as the guest sees it.
    pub our: SocketAddr,
}

/// "Whatever the other end is."
pub const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A flow of either kind.
pub enum Flow<H: Host> {
    /// A TCP connection.
    Tcp(TcpFlow<H::Tcp>),
    /// A UDP or echo mapping.
    Datagram(DatagramFlow<H::Datagram>),
}

impl<H: Host> Flow<H> {
    fn deadline(&mut self) -> &mut Deadline {
        match self {
            Flow::Tcp(flow) => &mut flow.deadline,
            Flow::Datagram(flow) => &mut flow.deadline,
        }
    }
}

/// Keys a hash that guests cannot predict, since guests choose the addresses that are hashed.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// For a hash piece by piece.
    pub fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }

    /// The hash of a key.
    pub fn hash(&self, value: &impl Hash) -> u64 {
        let mut hasher = self.hasher();
        value.hash(&mut hasher);
        hasher.finish()
    }
}

impl BuildHasher for Secret {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.hasher()
    }
}

/// How many flows there are of each kind.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Census {
    /// TCP connections.
    pub tcp: usize,
    /// UDP mappings.
    pub udp: usize,
    /// Echo mappings.
    pub icmp: usize,
}

/// The flows.
pub struct Flows<H: Host> {
    table: Table<(Key, Flow<H>)>,
    index: HashTable<u32>,
    timers: Timers,
    secret: Secret,
    census: Census,
}

impl<H: Host> Flows<H> {
    /// No flows yet, and never more than `limit`.
    pub fn new(limit: usize, secret: Secret) -> Self {
        let (table, index) = (Table::new(limit), HashTable::new());
        Flows { table, index, timers: Timers::default(), secret, census: Census::default() }
    }

    /// How many there are.
    pub fn census(&self) -> Census {
        self.census
    }

    /// The token the next flow will have; `None` when the table is full.
    pub fn vacancy(&mut self) -> Option<Token> {
        self.table.vacancy()
    }

    /// The flow with this key.
    pub fn find(&self, key: &Key) -> Option<Token> {
        let table = &self.table;
        let same = |&i: &u32| table.at(i).is_some_and(|(k, _)| k == key);
        let index = *self.index.find(self.secret.hash(key), same)?;
        table.token_at(index)
    }

    /// Add a flow under a key that no flow has.
    pub fn insert(&mut self, key: Key, flow: Flow<H>) -> Option<Token> {
        let token = self.table.insert((key, flow))?;
        *self.count(key.protocol) += 1;
        let (table, secret) = (&self.table, self.secret);
        let rehash = |&i: &u32| table.at(i).map_or(0, |(k, _)| secret.hash(k));
        self.index.insert_unique(secret.hash(&key), token.index, rehash);
        Some(token)
    }

    /// The flow a token names.
    pub fn get(&mut self, token: Token) -> Option<&mut Flow<H>> {
        self.table.get_mut(token).map(|(_, flow)| flow)
    }

    /// Take a flow out.
    pub fn remove(&mut self, token: Token) -> Option<Flow<H>> {
        let (key, mut flow) = self.table.remove(token)?;
        self.timers.forget(token, flow.deadline());
        let same = |&i: &u32| i == token.index;
        if let Ok(entry) = self.index.find_entry(self.secret.hash(&key), same) {
            entry.remove();
        }
        *self.count(key.protocol) -= 1;
        Some(flow)
    }

    fn count(&mut self, protocol: u8) -> &mut usize {
        match protocol {
            wirebay_wire::ipv4::protocol::TCP => &mut self.census.tcp,
            wirebay_wire::ipv4::protocol::UDP => &mut self.census.udp,
            _ => &mut self.census.icmp,
        }
    }

    /// After anything that may have moved a flow's deadline.
    pub fn arm(&mut self, token: Token) {
        if let Some((_, flow)) = self.table.get_mut(token) {
            self.timers.arm(token, flow.deadline());
        }
    }

    /// When the next flow wants to be called.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// A flow whose deadline has passed.
    pub fn pop_due(&mut self, now: Time) -> Option<Token> {
        while let Some(token) = self.timers.pop(now) {
            let Some((_, flow)) = self.table.get_mut(token) else { continue };
            if Timers::came_up(flow.deadline(), now) {
                return Some(token);
            }
            self.timers.arm(token, flow.deadline());
        }
        None
    }

    /// The flows from a place of the table on, in the order of their places.
    pub fn from(&self, first: u32) -> impl Iterator<Item = (Token, &(Key, Flow<H>))> {
        self.table.iter_from(first)
    }

    /// Every token, for sweeping.
    pub fn tokens(&self) -> Vec<Token> {
        self.table.iter().map(|(token, _)| token).collect()
    }
}
