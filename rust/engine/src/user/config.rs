//! What the user network is told once, and the address plan that follows from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use wirebay_wire::{DropReason, Mac};

/// The user network's settings. QEMU's names: net, host, dns, restrict; ours: mtu, host-loopback.
#[derive(Clone, Debug)]
pub struct Config {
    /// Network address.
    pub net: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
    /// The host as the guest sees it: gateway, and the way to the host's loopback.
    pub host: Ipv4Addr,
    /// The name server as the guest sees it.
    pub dns: Ipv4Addr,
    /// Largest IP packet towards the guest, in bytes.
    pub mtu: u16,
    /// Nothing leaves; what comes in by a forward is answered.
    pub restrict: bool,
    /// Whether the guest may reach the host's loopback through `host`.
    pub host_loopback: bool,
    /// Most flows of all kinds at once; more are refused.
    pub max_flows: usize,
}

/// Port of the name service.
pub const DNS_PORT: u16 = 53;

impl Config {
    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// Is the address one of the guest network's?
    pub fn in_net(&self, addr: Ipv4Addr) -> bool {
        (u32::from(addr) ^ u32::from(self.net)) & self.mask() == 0
    }

    /// The network's broadcast address or the general one.
    pub fn is_broadcast(&self, addr: Ipv4Addr) -> bool {
        addr.is_broadcast() || (self.prefix < 31 && u32::from(addr) == u32::from(self.net) | !self.mask())
    }

    /// Is it an address that we answer for?
    pub fn is_ours(&self, addr: Ipv4Addr) -> bool {
        addr == self.host || addr == self.dns
    }

    /// May a guest use this source address?
    pub fn is_guest(&self, addr: Ipv4Addr) -> bool {
        self.in_net(addr) && !self.is_ours(addr) && !self.is_broadcast(addr) && addr != self.net
    }

    /// The Ethernet address of one of our addresses: 52:55 and the four bytes, as libslirp has it.
    pub fn mac_of(addr: Ipv4Addr) -> Mac {
        let [a, b, c, d] = addr.octets();
        Mac([0x52, 0x55, a, b, c, d])
    }

    /// The Ethernet address a guest sends to for anything outside.
    pub fn gateway_mac(&self) -> Mac {
        Config::mac_of(self.host)
    }

    /// Where on the host network a packet to `dst` goes.
    pub fn target(&self, dst: SocketAddrV4, resolver: Option<IpAddr>) -> Result<SocketAddr, DropReason> {
        let addr = *dst.ip();
        if self.restrict {
            return Err(DropReason::Restricted);
        }
        if addr == self.host {
            return if self.host_loopback {
                Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, dst.port())))
            } else {
                Err(DropReason::HostLoopbackForbidden)
            };
        }
        if addr == self.dns {
            return match resolver {
                _ if dst.port() != DNS_PORT => Err(DropReason::UnknownService),
                Some(server) => Ok(SocketAddr::new(server, DNS_PORT)),
                None => Err(DropReason::NoResolver),
            };
        }
        if self.in_net(addr) {
            return Err(DropReason::NotForUs);
        }
        if is_martian(addr) { Err(DropReason::MartianDestination) } else { Ok(SocketAddr::V4(dst)) }
    }

    /// How the guest sees a host that talks to it: the host's own loopback is `host`, and so is anything the guest
    /// could not answer to (IPv6, an address of its own network).
    pub fn seen_from_guest(&self, addr: IpAddr) -> Ipv4Addr {
        match addr {
            IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_unspecified() && !self.in_net(v4) => v4,
            _ => self.host,
        }
    }
}

/// Addresses that are nobody's on the wire. `0.0.0.0/8` matters most: a connect to it reaches the host's loopback.
fn is_martian(addr: Ipv4Addr) -> bool {
    let first = addr.octets()[0];
    first == 0 || first == 127 || first >= 224
}

#[cfg(test)]
pub(crate) fn qemu_default() -> Config {
    Config {
        net: Ipv4Addr::new(10, 0, 2, 0),
        prefix: 24,
        host: Ipv4Addr::new(10, 0, 2, 2),
        dns: Ipv4Addr::new(10, 0, 2, 3),
        mtu: 1500,
        restrict: false,
        host_loopback: true,
        max_flows: 1 << 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn the_host_address_leads_to_the_loopback_unless_forbidden() {
        let mut config = qemu_default();
        assert_eq!(config.target(to("10.0.2.2:80"), None), Ok("127.0.0.1:80".parse().unwrap()));
        config.host_loopback = false;
        assert_eq!(config.target(to("10.0.2.2:80"), None), Err(DropReason::HostLoopbackForbidden));
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
        ] {
            assert_eq!(config.target(to(dst), None), Err(DropReason::MartianDestination), "{dst}");
        }
    }

    #[test]
    fn the_name_server_leads_to_the_resolver_on_its_port_only() {
        let config = qemu_default();
        let resolver = Some("fd00::1".parse().unwrap());
        assert_eq!(config.target(to("10.0.2.3:53"), resolver), Ok("[fd00::1]:53".parse().unwrap()));
        assert_eq!(config.target(to("10.0.2.3:53"), None), Err(DropReason::NoResolver));
        assert_eq!(config.target(to("10.0.2.3:80"), resolver), Err(DropReason::UnknownService));
    }

    #[test]
    fn restrict_lets_nothing_out() {
        let config = Config { restrict: true, ..qemu_default() };
        for dst in ["10.0.2.2:80", "10.0.2.3:53", "192.0.2.1:80"] {
            assert_eq!(
                config.target(to(dst), Some("192.0.2.53".parse().unwrap())),
                Err(DropReason::Restricted)
            );
        }
    }

    #[test]
    fn prefixes_at_both_ends_do_not_overflow() {
        let all = Config { prefix: 0, ..qemu_default() };
        assert!(all.in_net(Ipv4Addr::new(203, 0, 113, 1)));
        let one = Config { prefix: 32, ..qemu_default() };
        assert!(one.in_net(one.net) && !one.in_net(one.host));
    }
}
