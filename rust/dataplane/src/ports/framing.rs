//! What stands before a frame in a datagram: nothing, or the header of a tunnel.

use serde::Deserialize;
use wirebay_wire::DropReason;
use wirebay_wire::l2tpv3::{self, Cookie, L2tpv3};
use wirebay_wire::{ipv4, vxlan};

/// The framing that Python asks for: `docs/protocol.md`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FramingOptions {
    /// One frame, nothing else.
    Plain,
    /// L2TPv3 with a fixed session.
    L2tpv3(L2tpv3Options),
    /// VXLAN.
    Vxlan(VxlanOptions),
}

/// The members of `vxlan`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VxlanOptions {
    vni: u32,
}

/// The members of `l2tpv3`.
// Not a state machine: independent parts of a header.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L2tpv3Options {
    udp: bool,
    ip_header: bool,
    tx_session: u32,
    rx_session: u32,
    tx_cookie: Option<u64>,
    rx_cookie: Option<u64>,
    cookie64: bool,
    counter: bool,
    pin_counter: bool,
    offset: usize,
}

/// The framing of a port, with what it has to remember.
#[derive(Default)]
pub enum Framing {
    /// One frame, nothing else.
    #[default]
    Plain,
    /// L2TPv3.
    L2tpv3(Session),
    /// VXLAN, by its network.
    Vxlan(u32),
}

/// An L2TPv3 session.
pub struct Session {
    tx: L2tpv3,
    rx: L2tpv3,
    /// The counter of the last message sent; `None`: it stays 0.
    count: Option<u32>,
    /// Messages arrive behind an IPv4 header, as raw sockets give them.
    ip_header: bool,
}

impl Framing {
    /// What `options` ask for; a sentence when there is no such thing.
    pub fn new(options: &FramingOptions) -> Result<Self, String> {
        Ok(match options {
            FramingOptions::Plain => Framing::Plain,
            FramingOptions::L2tpv3(options) => Framing::L2tpv3(Session::new(options)?),
            FramingOptions::Vxlan(VxlanOptions { vni }) if *vni > vxlan::MAX_VNI => {
                return Err(format!("the network identifier {vni} has more than 24 bits"));
            }
            FramingOptions::Vxlan(VxlanOptions { vni }) => Framing::Vxlan(*vni),
        })
    }

    /// The length of the header in front of a frame that is sent.
    pub fn len(&self) -> usize {
        match self {
            Framing::Plain => 0,
            Framing::L2tpv3(session) => session.tx.len(),
            Framing::Vxlan(_) => vxlan::HEADER_LEN,
        }
    }

    /// Append the header of the next frame.
    pub fn emit(&mut self, into: &mut Vec<u8>) {
        match self {
            Framing::Plain => {}
            Framing::L2tpv3(session) => session.emit(into),
            Framing::Vxlan(vni) => into.extend(vxlan::emit(*vni)),
        }
    }

    /// The frame of a message.
    pub fn strip<'a>(&self, message: &'a [u8]) -> Result<&'a [u8], DropReason> {
        match self {
            Framing::Plain => Ok(message),
            Framing::L2tpv3(session) => session.strip(message),
            Framing::Vxlan(vni) => vxlan::strip(*vni, message),
        }
    }
}

impl Session {
    fn new(options: &L2tpv3Options) -> Result<Self, String> {
        if options.offset > l2tpv3::MAX_OFFSET {
            return Err(format!("the offset is over {} bytes", l2tpv3::MAX_OFFSET));
        }
        let cookie = |cookie: Option<u64>| {
            cookie.map(
                |cookie| {
                    if options.cookie64 { Cookie::Long(cookie) } else { Cookie::Short(cookie as u32) }
                },
            )
        };
        let tx = L2tpv3 {
            udp: options.udp,
            session: options.tx_session,
            cookie: cookie(options.tx_cookie),
            counter: options.counter,
            offset: options.offset,
        };
        let rx = L2tpv3 { session: options.rx_session, cookie: cookie(options.rx_cookie), ..tx };
        let count = (!options.pin_counter).then_some(0);
        Ok(Session { tx, rx, count, ip_header: options.ip_header })
    }

    fn emit(&mut self, into: &mut Vec<u8>) {
        if let Some(count) = &mut self.count {
            *count = count.wrapping_add(1);
        }
        self.tx.emit(self.count.unwrap_or(0), into);
    }

    fn strip<'a>(&self, message: &'a [u8]) -> Result<&'a [u8], DropReason> {
        let message = if self.ip_header { behind_ip(message)? } else { message };
        self.rx.strip(message)
    }
}

/// What follows an IPv4 header, its options included: QEMU takes every header to be 20 bytes.
fn behind_ip(packet: &[u8]) -> Result<&[u8], DropReason> {
    let first = *packet.first().ok_or(DropReason::Ipv4Truncated)?;
    let header = usize::from(first & 0x0f) * 4;
    if header < ipv4::HEADER_LEN {
        return Err(DropReason::Ipv4BadHeaderLength);
    }
    packet.get(header..).ok_or(DropReason::Ipv4Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framing(text: &str) -> Framing {
        Framing::new(&serde_json::from_str(text).unwrap()).unwrap()
    }

    fn l2tpv3(ip_header: bool, counter: bool, pin_counter: bool) -> Framing {
        framing(&format!(
            r#"{{"l2tpv3": {{"udp": false, "ip_header": {ip_header}, "tx_session": 1, "rx_session": 2,
            "tx_cookie": 3, "rx_cookie": 4, "cookie64": false, "counter": {counter},
            "pin_counter": {pin_counter}, "offset": 2}}}}"#
        ))
    }

    fn sent(framing: &mut Framing) -> Vec<u8> {
        let mut bytes = Vec::new();
        framing.emit(&mut bytes);
        assert_eq!(bytes.len(), framing.len());
        bytes
    }

    #[test]
    fn the_counter_begins_with_one_and_a_pinned_one_stays_zero() {
        let mut counted = l2tpv3(false, true, false);
        for count in 1..3 {
            assert_eq!(sent(&mut counted), [0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, count, 0, 0]);
        }
        assert_eq!(sent(&mut l2tpv3(false, true, true))[8..12], [0; 4]);
        assert_eq!(sent(&mut l2tpv3(false, false, false)).len(), 10);
    }

    #[test]
    fn a_raw_message_is_found_behind_an_ip_header_with_options() {
        let framing = l2tpv3(true, false, false);
        let message = [&[0, 0, 0, 2, 0, 0, 0, 4, 0, 0][..], b"frame"].concat();
        for words in [5usize, 7] {
            let mut packet = vec![0x40 | words as u8];
            packet.resize(words * 4, 0);
            packet.extend(&message);
            assert_eq!(framing.strip(&packet), Ok(&b"frame"[..]));
        }
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        for text in [r#"{"vxlan": {"vni": 16777216}}"#, r#"{"vxlan": {"vni": 4294967295}}"#] {
            assert!(Framing::new(&serde_json::from_str(text).unwrap()).is_err());
        }
        assert!(serde_json::from_str::<FramingOptions>(r#"{"vxlan": {"vni": 1, "colour": 2}}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_dropped_by_name(bytes: Vec<u8>, ip: bool, counter: bool) {
            let _ = l2tpv3(ip, counter, false).strip(&bytes);
            let _ = framing(r#"{"vxlan": {"vni": 1}}"#).strip(&bytes);
        }
    }
}
