//! What guests report about packets of ours. Only one thing matters: a link on the way to the guest takes less than the
//! guest's own (RFC 1191, RFC 8201), and a connection must send smaller segments. The flow itself checks that the report
//! is about something it has in flight.

use super::UserNet;
use super::flows::Key;
use super::outbound::Packet;
use super::tcp::Verdict;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::report::Report;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wirebay_wire::DropReason;
use wirebay_wire::ipv4::{self, protocol};
use wirebay_wire::ipv6;

/// What a router that names no MTU is taken to mean: what every IPv4 host must be able to put together.
const UNNAMED: u32 = 576;

impl<H: Host> UserNet<H> {
    /// A guest, or a router behind it, reports something about the packet in `quoted`.
    pub(super) fn guest_reports(
        &mut self,
        packet: &Packet<'_>,
        report: Option<Report>,
        quoted: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let Some(Report::TooBig(mtu)) = report else { return Err(DropReason::UnknownService) };
        let (key, seq) = quoted_segment(quoted).ok_or(DropReason::IcmpTruncated)?;
        let token = self.flows.find(&key).ok_or(DropReason::TcpNoFlow)?;
        let mtu = if mtu == 0 { UNNAMED } else { mtu }.min(u32::from(u16::MAX)) as u16;
        let now = packet.now;
        self.with_tcp(now, token, out, |flow, _| {
            flow.lower_mss(now, seq, mtu);
            Verdict::Keep
        });
        Ok(())
    }
}

/// The connection and the sequence number of a segment of ours, of which there may be no more than eight bytes behind
/// the IP header.
fn quoted_segment(packet: &[u8]) -> Option<(Key, u32)> {
    let (src, dst, at) = if packet.first()? >> 4 == 4 {
        let header = packet.first_chunk::<{ ipv4::HEADER_LEN }>()?;
        let (src, dst): ([u8; 4], [u8; 4]) = (header[12..16].try_into().ok()?, header[16..].try_into().ok()?);
        let at = usize::from(header[0] & 15) * 4;
        (header[ipv4::PROTOCOL_OFFSET] == protocol::TCP).then_some(())?;
        (IpAddr::from(Ipv4Addr::from(src)), IpAddr::from(Ipv4Addr::from(dst)), at)
    } else {
        let header = packet.first_chunk::<{ ipv6::HEADER_LEN }>()?;
        let (src, dst): ([u8; 16], [u8; 16]) =
            (header[8..24].try_into().ok()?, header[24..].try_into().ok()?);
        (header[ipv6::NEXT_HEADER_OFFSET] == protocol::TCP).then_some(())?;
        (Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into(), ipv6::HEADER_LEN)
    };
    let [a, b, c, d, seq @ ..] = packet.get(at..)?.first_chunk::<8>()?;
    let port = |high: &u8, low: &u8| u16::from_be_bytes([*high, *low]);
    let our = SocketAddr::new(src, port(a, b));
    let guest = SocketAddr::new(dst, port(c, d));
    Some((Key { protocol: protocol::TCP, guest, our }, u32::from_be_bytes(*seq)))
}
