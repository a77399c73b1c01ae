//! Datagrams on their way to and from the services in Python (`docs/protocol.md`): a header of 42 bytes, the same both
//! ways, and the payload. IPv4 addresses are written as IPv6 ones (RFC 4291 section 2.5.5.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use wirebay_engine::user::ServiceMessage;
use wirebay_wire::Mac;

const HEADER: usize = 42;

/// The bytes of a message.
pub fn encode(message: &ServiceMessage) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + message.payload.len());
    bytes.extend(message.mac.0);
    bytes.extend(octets(message.src.ip()));
    bytes.extend(octets(message.dst.ip()));
    bytes.extend(message.src.port().to_be_bytes());
    bytes.extend(message.dst.port().to_be_bytes());
    bytes.extend(&message.payload);
    bytes
}

/// The message in the bytes, if they are one.
pub fn decode(bytes: &[u8]) -> Option<ServiceMessage> {
    let (header, payload) = bytes.split_first_chunk::<HEADER>()?;
    let (mac, rest) = header.split_first_chunk::<6>()?;
    let (src, rest) = rest.split_first_chunk::<16>()?;
    let (dst, ports) = rest.split_first_chunk::<16>()?;
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let end = |ip: [u8; 16], port| SocketAddr::new(IpAddr::from(Ipv6Addr::from(ip)).to_canonical(), port);
    Some(ServiceMessage {
        mac: Mac(*mac),
        src: end(*src, port(0)),
        dst: end(*dst, port(2)),
        payload: payload.to_vec(),
    })
}

fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_either_family_survives_the_channel() {
        for (src, dst) in [("0.0.0.0:68", "255.255.255.255:67"), ("[fe80::5]:546", "[ff02::1:2]:547")] {
            let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
            let mac = Mac([2, 0, 0, 0, 0, 9]);
            let message = ServiceMessage { mac, src, dst, payload: b"discover".to_vec() };
            assert_eq!(decode(&encode(&message)), Some(message));
        }
        assert_eq!(decode(&[0; HEADER - 1]), None);
    }
}
