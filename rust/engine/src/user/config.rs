//! What the user network is told once, and the address plan that follows from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wirebay_wire::{DropReason, Mac, ip};

/// The user network's settings. QEMU's names: net, host, dns, restrict; ours: mtu, host-loopback.
#[derive(Clone, Debug)]
pub struct Config {
    /// The IPv4 network, unless it is switched off.
    pub v4: Option<Plan>,
    /// The IPv6 network, unless it is switched off.
    pub v6: Option<Plan>,
    /// Largest IP packet towards the guest, in bytes.
    pub mtu: u16,
    /// Nothing leaves; what comes in by a forward is answered.
    pub restrict: bool,
    /// Whether the guest may reach the host's loopback through `host`.
    pub host_loopback: bool,
    /// Most flows of all kinds at once; more are refused.
    pub max_flows: usize,
    /// Addresses beside `host` and `dns` at which services answer.
    pub services: Vec<IpAddr>,
    /// Domains to search, as router advertisements carry them: names in wire format, without compression.
    pub search: Vec<u8>,
}

/// The addresses of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Network address.
    pub net: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// The host as the guest sees it: gateway, and the way to the host's loopback.
    pub host: IpAddr,
    /// The name server as the guest sees it.
    pub dns: IpAddr,
}

/// Port of the name service.
pub const DNS_PORT: u16 = 53;
/// The host on the link itself, as libslirp has it.
pub const LINK_LOCAL_HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The name server on the link itself.
pub const LINK_LOCAL_DNS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);

impl Plan {
    /// Is the address, of the same family, in the network?
    fn contains(&self, addr: IpAddr) -> bool {
        match (addr, self.net) {
            (IpAddr::V4(addr), IpAddr::V4(net)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (addr.to_bits() ^ net.to_bits()) & mask == 0
            }
            (IpAddr::V6(addr), IpAddr::V6(net)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (addr.to_bits() ^ net.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl Config {
    /// The addresses of the family of `addr`.
    pub fn plan(&self, addr: IpAddr) -> Option<&Plan> {
        if addr.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    /// Is the address one of the guest network's, or the link's?
    pub fn in_net(&self, addr: IpAddr) -> bool {
        self.plan(addr).is_some_and(|plan| plan.contains(addr)) || is_link_local(addr)
    }

    /// The network's broadcast address or the general one.
    pub fn is_broadcast(&self, addr: IpAddr) -> bool {
        let (IpAddr::V4(addr), Some(Plan { net: IpAddr::V4(net), prefix, .. })) = (addr, self.v4) else {
            return false;
        };
        let last = net.to_bits() | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        addr.is_broadcast() || (prefix < 31 && addr.to_bits() == last)
    }

    /// Is it an address that we answer for?
    pub fn answers_for(&self, addr: IpAddr) -> bool {
        self.is_ours(addr) || self.services.contains(&addr)
    }

    /// Is it the host or the name server?
    pub fn is_ours(&self, addr: IpAddr) -> bool {
        self.is_host(addr) || self.is_dns(addr)
    }

    /// Is it the host as guests see it?
    pub fn is_host(&self, addr: IpAddr) -> bool {
        self.plan(addr).is_some_and(|plan| addr == plan.host || addr == LINK_LOCAL_HOST)
    }

    /// Is it the name server as guests see it?
    pub fn is_dns(&self, addr: IpAddr) -> bool {
        self.plan(addr).is_some_and(|plan| addr == plan.dns || addr == LINK_LOCAL_DNS)
    }

    /// May a guest use this source address?
    pub fn is_guest(&self, addr: IpAddr) -> bool {
        let is_net = self.plan(addr).is_some_and(|plan| plan.net == addr);
        self.in_net(addr) && !self.answers_for(addr) && !self.is_broadcast(addr) && !is_net
    }

    /// The Ethernet address of one of our addresses: 52:55 and the four bytes, 52:56 and the last four, as libslirp
    /// has it.
    pub fn mac_of(addr: IpAddr) -> Mac {
        match addr {
            IpAddr::V4(addr) => {
                let [a, b, c, d] = addr.octets();
                Mac([0x52, 0x55, a, b, c, d])
            }
            IpAddr::V6(addr) => {
                let [.., a, b, c, d] = addr.octets();
                Mac([0x52, 0x56, a, b, c, d])
            }
        }
    }

    /// The Ethernet address that packets to a guest from anywhere outside come from.
    pub fn gateway_mac(&self, guest: IpAddr) -> Mac {
        self.plan(guest).map_or(Mac([0; 6]), |plan| Config::mac_of(plan.host))
    }

    /// The segment size that the MTU leaves for TCP without options.
    pub fn mss(&self, guest: IpAddr) -> u16 {
        self.mtu - ip::header_len(guest) as u16 - 20
    }

    /// Where on the host network a packet to `dst` goes.
    pub fn target(&self, dst: SocketAddr, resolver: Option<IpAddr>) -> Result<SocketAddr, DropReason> {
        let addr = dst.ip();
        if self.restrict {
            return Err(DropReason::Restricted);
        }
        if self.is_host(addr) {
            let loopback = SocketAddr::new(loopback_of(addr), dst.port());
            return if self.host_loopback { Ok(loopback) } else { Err(DropReason::HostLoopbackForbidden) };
        }
        if self.is_dns(addr) {
            return match resolver {
                _ if dst.port() != DNS_PORT => Err(DropReason::UnknownService),
                Some(server) => Ok(SocketAddr::new(server, DNS_PORT)),
                None => Err(DropReason::NoResolver),
            };
        }
        if self.services.contains(&addr) {
            return Err(DropReason::UnknownService);
        }
        if self.in_net(addr) {
            return Err(DropReason::NotForUs);
        }
        if is_martian(addr) { Err(DropReason::MartianDestination) } else { Ok(dst) }
    }

    /// How `guest` sees a host that talks to it: the host's own loopback is `host`, and so is anything the guest
    /// could not answer to (the other family, an address of its own network or link).
    pub fn seen_from_guest(&self, addr: IpAddr, guest: IpAddr) -> IpAddr {
        let same = addr.is_ipv4() == guest.is_ipv4();
        let far = !addr.is_loopback() && !addr.is_unspecified() && !self.in_net(addr);
        if same && far { addr } else { self.plan(guest).map_or(addr, |plan| plan.host) }
    }
}

fn loopback_of(addr: IpAddr) -> IpAddr {
    if addr.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// An address that means something on its link only.
pub fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

/// Addresses that are nobody's on the wire. `0.0.0.0/8` matters most: a connect to it reaches the host's loopback, and
/// so does one to an IPv4 address in IPv6's clothes (`::ffff:0:0/96`, `::/96`).
fn is_martian(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => matches!(addr.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(addr) => addr.is_multicast() || matches!(addr.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, ..]),
    }
}

#[cfg(test)]
pub(crate) fn qemu_default() -> Config {
    let addr = |text: &str| text.parse().unwrap();
    Config {
        v4: Some(Plan { net: addr("10.0.2.0"), prefix: 24, host: addr("10.0.2.2"), dns: addr("10.0.2.3") }),
        v6: Some(Plan { net: addr("fec0::"), prefix: 64, host: addr("fec0::2"), dns: addr("fec0::3") }),
        mtu: 1500,
        restrict: false,
        host_loopback: true,
        max_flows: 1 << 17,
        services: Vec::new(),
        search: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_host_address_leads_to_the_loopback_unless_forbidden() {
        let mut config = qemu_default();
        for (host, loopback) in
            [("10.0.2.2:80", "127.0.0.1:80"), ("[fec0::2]:80", "[::1]:80"), ("[fe80::2]:80", "[::1]:80")]
        {
            config.host_loopback = true;
            assert_eq!(config.target(to(host), None), Ok(to(loopback)));
            config.host_loopback = false;
            assert_eq!(config.target(to(host), None), Err(DropReason::HostLoopbackForbidden));
        }
    }

    #[test]
    fn no_written_form_of_the_loopback_gets_past_the_policy() {
        let mut config = qemu_default();
        config.host_loopback = false;
        for dst in [
            "0.0.0.0:80",
            "0.1.2.3:80",
            "127.0.0.1:80",
            "127.255.0.1:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::]:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::127.0.0.1]:80",
            "[ff02::1]:80",
        ] {
            assert_eq!(config.target(to(dst), None), Err(DropReason::MartianDestination), "{dst}");
        }
    }

    #[test]
    fn the_name_server_leads_to_the_resolver_on_its_port_only() {
        let config = qemu_default();
        let resolver = Some(ip("fd00::1"));
        for dns in ["10.0.2.3", "fec0::3", "fe80::3"] {
            let at = |port| SocketAddr::new(ip(dns), port);
            assert_eq!(config.target(at(53), resolver), Ok(to("[fd00::1]:53")));
            assert_eq!(config.target(at(53), None), Err(DropReason::NoResolver));
            assert_eq!(config.target(at(80), resolver), Err(DropReason::UnknownService));
        }
    }

    #[test]
    fn restrict_lets_nothing_out() {
        let config = Config { restrict: true, ..qemu_default() };
        for dst in ["10.0.2.2:80", "10.0.2.3:53", "192.0.2.1:80", "[fec0::2]:80", "[2001:db8::1]:80"] {
            assert_eq!(config.target(to(dst), Some(ip("192.0.2.53"))), Err(DropReason::Restricted));
        }
    }

    #[test]
    fn prefixes_at_both_ends_do_not_overflow() {
        let plan = qemu_default().v4.unwrap();
        assert!(Plan { prefix: 0, ..plan }.contains(ip("203.0.113.1")));
        let one = Plan { prefix: 32, ..plan };
        assert!(one.contains(one.net) && !one.contains(one.host));
        let plan = qemu_default().v6.unwrap();
        assert!(Plan { prefix: 0, ..plan }.contains(ip("2001:db8::1")));
        assert!(!Plan { prefix: 128, ..plan }.contains(plan.host));
    }

    #[test]
    fn a_client_is_seen_as_itself_where_the_guest_can_answer_it_and_as_the_host_otherwise() {
        let config = qemu_default();
        let (v4, v6) = (ip("10.0.2.15"), ip("fec0::15"));
        for (client, guest, seen) in [
            ("192.0.2.7", v4, "192.0.2.7"),
            ("127.0.0.1", v4, "10.0.2.2"),
            ("10.0.2.99", v4, "10.0.2.2"),
            ("2001:db8::7", v4, "10.0.2.2"),
            ("2001:db8::7", v6, "2001:db8::7"),
            ("::1", v6, "fec0::2"),
            ("fe80::99", v6, "fec0::2"),
            ("192.0.2.7", v6, "fec0::2"),
        ] {
            assert_eq!(config.seen_from_guest(ip(client), guest), ip(seen), "{client} and {guest}");
        }
    }

    #[test]
    fn a_family_that_is_off_has_no_addresses() {
        let config = Config { v6: None, ..qemu_default() };
        assert!(!config.is_ours(ip("fec0::2")) && !config.is_guest(ip("fec0::15")));
        assert!(!config.is_host(ip("fe80::2")));
    }
}
