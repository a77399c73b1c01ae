//! What a network reports about a packet that did not arrive, in the words of both ICMP versions (RFC 792, RFC 1812
//! section 5.2.7, RFC 4443 section 3); one is told by the other as RFC 7915 sections 4.2 and 5.2 translate.

/// Why a packet did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// There is no way to the network.
    NoRoute,
    /// There is no way to the host.
    Host,
    /// The host does not speak the protocol.
    Protocol,
    /// Nobody listens on the port.
    Port,
    /// Somebody forbids it.
    Prohibited,
    /// The packet has come too many hops.
    TimeExceeded,
    /// Not all fragments have arrived.
    Incomplete,
    /// The packet is too big for a link on the way, which takes so many bytes.
    TooBig(u32),
}

/// The first words of an ICMP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The second word of the header.
    pub rest: u32,
}

/// What a pointer in an IPv6 header's parameter problem says about the protocol: it points at the next header field.
const NEXT_HEADER: u32 = 6;

impl Report {
    /// The report in an ICMP message; `rest` is the MTU where that is the matter. `None` for what is no report or is one
    /// about the packet's form.
    pub fn from_v4(kind: u8, code: u8, rest: u32) -> Option<Report> {
        Some(match (kind, code) {
            (3, 0 | 6 | 8 | 11) => Report::NoRoute,
            (3, 2) => Report::Protocol,
            (3, 3) => Report::Port,
            (3, 4) => Report::TooBig(rest),
            (3, 9 | 10 | 13) => Report::Prohibited,
            (3, _) => Report::Host,
            (11, 0) => Report::TimeExceeded,
            (11, 1) => Report::Incomplete,
            _ => return None,
        })
    }

    /// The same of `ICMPv6`.
    pub fn from_v6(kind: u8, code: u8, rest: u32) -> Option<Report> {
        Some(match (kind, code) {
            (1, 0) => Report::NoRoute,
            (1, 1 | 5 | 6) => Report::Prohibited,
            (1, 4) => Report::Port,
            (1, _) => Report::Host,
            (2, _) => Report::TooBig(rest),
            (3, 0) => Report::TimeExceeded,
            (3, 1) => Report::Incomplete,
            (4, 1) => Report::Protocol,
            _ => return None,
        })
    }

    /// How ICMP says it.
    pub fn to_v4(self) -> Message {
        let message = |kind, code, rest| Message { kind, code, rest };
        match self {
            Report::NoRoute => message(3, 0, 0),
            Report::Host => message(3, 1, 0),
            Report::Protocol => message(3, 2, 0),
            Report::Port => message(3, 3, 0),
            Report::TooBig(mtu) => message(3, 4, mtu.min(u32::from(u16::MAX))),
            Report::Prohibited => message(3, 13, 0),
            Report::TimeExceeded => message(11, 0, 0),
            Report::Incomplete => message(11, 1, 0),
        }
    }

    /// How `ICMPv6` says it.
    pub fn to_v6(self) -> Message {
        let message = |kind, code, rest| Message { kind, code, rest };
        match self {
            Report::NoRoute => message(1, 0, 0),
            Report::Prohibited => message(1, 1, 0),
            Report::Host => message(1, 3, 0),
            Report::Port => message(1, 4, 0),
            Report::TooBig(mtu) => message(2, 0, mtu),
            Report::TimeExceeded => message(3, 0, 0),
            Report::Incomplete => message(3, 1, 0),
            Report::Protocol => message(4, 1, NEXT_HEADER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Report; 8] = [
        Report::NoRoute,
        Report::Host,
        Report::Protocol,
        Report::Port,
        Report::Prohibited,
        Report::TimeExceeded,
        Report::Incomplete,
        Report::TooBig(1400),
    ];

    #[test]
    fn every_report_survives_both_versions() {
        for report in ALL {
            let (v4, v6) = (report.to_v4(), report.to_v6());
            assert_eq!(Report::from_v4(v4.kind, v4.code, v4.rest), Some(report));
            assert_eq!(Report::from_v6(v6.kind, v6.code, v6.rest), Some(report));
        }
    }

    #[test]
    fn questions_and_answers_are_no_reports() {
        assert_eq!([0, 8, 12].map(|kind| Report::from_v4(kind, 0, 0)), [None; 3]);
        assert_eq!([128, 129, 135].map(|kind| Report::from_v6(kind, 0, 0)), [None; 3]);
    }

    #[test]
    fn an_mtu_that_ipv4_cannot_say_is_its_largest() {
        assert_eq!(Report::TooBig(65_536).to_v4().rest, 65_535);
        assert_eq!(Report::TooBig(65_536).to_v6().rest, 65_536);
    }
}
