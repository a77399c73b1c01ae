//! The one list of why a frame or a datagram is dropped.
//!
//! Every drop anywhere in the data plane is counted under one of these reasons; the names are what `stats`
//! reports.

macro_rules! drop_reasons {
    ($($variant:ident => $name:literal, $text:literal;)*) => {
        /// Why a frame or a datagram was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of their [`index`](Self::index).
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How many reasons there are: the length of a table of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// The name under which the drop is counted, such as `ipv4_bad_checksum`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One plain sentence about the reason.
            pub fn describe(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The place of the reason in a table of [`COUNT`](Self::COUNT) counters.
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    // What parsing finds.
    FrameTooShort => "frame_too_short", "The frame is shorter than an Ethernet header.";
    FrameTooLong => "frame_too_long", "The frame is longer than the port or any Ethernet back end can take.";
    EthernetTruncated => "ethernet_truncated", "The Ethernet header is cut off.";
    UnknownEthertype => "unknown_ethertype", "Nothing here handles this Ethernet type.";
    ArpMalformed => "arp_malformed", "The ARP packet is cut off or is not about IPv4 over Ethernet.";
    Ipv4Truncated => "ipv4_truncated", "The IPv4 header is cut off.";
    Ipv4BadVersion => "ipv4_bad_version", "The version field of an IPv4 packet is not 4.";
    Ipv4BadHeaderLength => "ipv4_bad_header_length", "The IPv4 header length is below its 20 bytes.";
    Ipv4BadTotalLength => "ipv4_bad_total_length", "The IPv4 total length fits neither header nor frame.";
    Ipv4BadChecksum => "ipv4_bad_checksum", "The IPv4 header checksum is wrong.";
    Ipv6Truncated => "ipv6_truncated", "The IPv6 header is cut off.";
    Ipv6BadVersion => "ipv6_bad_version", "The version field of an IPv6 packet is not 6.";
    Ipv6BadPayloadLength => "ipv6_bad_payload_length", "The IPv6 payload length is larger than the frame.";
    Ipv6ExtensionTruncated => "ipv6_extension_truncated", "An IPv6 extension header is cut off.";
    Ipv6TooManyExtensions => "ipv6_too_many_extensions", "The IPv6 packet has too many extension headers.";
    Ipv6Fragment => "ipv6_fragment", "The IPv6 packet is a fragment.";
    FragmentMalformed => "fragment_malformed", "The fragment cannot be a part of any packet.";
    TcpTruncated => "tcp_truncated", "The TCP header is cut off.";
    TcpBadHeaderLength => "tcp_bad_header_length", "The TCP data offset fits neither header nor segment.";
    TcpBadOptions => "tcp_bad_options", "The TCP options are malformed.";
    TcpBadChecksum => "tcp_bad_checksum", "The TCP checksum is wrong.";
    TcpBadFlags => "tcp_bad_flags", "The TCP flags have no meaning together.";
    UdpTruncated => "udp_truncated", "The UDP header is cut off.";
    UdpBadLength => "udp_bad_length", "The UDP length does not fit the header or the packet.";
    UdpBadChecksum => "udp_bad_checksum", "The UDP checksum is wrong.";
    IcmpTruncated => "icmp_truncated", "The ICMP header is cut off.";
    IcmpBadChecksum => "icmp_bad_checksum", "The ICMP checksum is wrong.";
    NdpMalformed => "ndp_malformed", "The neighbour discovery message or one of its options is malformed.";
    OffloadInvalid => "offload_invalid", "The offload header contradicts itself or the frame behind it.";

    // What the engine decides.
    NotForUs => "not_for_us", "The frame is addressed to another station.";
    SourceNotInNet => "source_not_in_net", "The source address does not belong to the guest network.";
    MartianDestination => "martian_destination", "The destination cannot be reached through a gateway.";
    Restricted => "restricted", "The network is restricted and lets nothing out.";
    HostLoopbackForbidden => "host_loopback_forbidden", "Guests must not reach the host's loopback.";
    FragmentDuplicate => "fragment_duplicate", "The fragment was received before.";
    FragmentOverlap => "fragment_overlap", "Fragments of one packet overlap or contradict each other.";
    FragmentLimit => "fragment_limit", "Too many fragments wait for the rest of their packets.";
    FragmentTimeout => "fragment_timeout", "The rest of the packet did not come in time.";
    UnknownProtocol => "unknown_protocol", "Nothing here handles this IP protocol.";
    UnknownService => "unknown_service", "The address is ours, but no service answers there.";
    ServiceBusy => "service_busy", "The service does not take its messages fast enough.";
    FlowTableFull => "flow_table_full", "The flow table is full; flows that exist are not touched.";
    DescriptorsExhausted => "descriptors_exhausted", "The host gives the worker no more descriptors.";
    HostRefused => "host_refused", "The host or the peer refused the datagram or the connection.";
    TooBigForPath => "too_big_for_path", "The packet is larger than the way to its destination takes it whole.";
    NetworkUnreachable => "network_unreachable", "The host has no way to the network of the destination.";
    HostUnreachable => "host_unreachable", "The host has no way to the destination.";
    PingForbidden => "ping_forbidden", "The host does not allow unprivileged ping sockets.";
    NoResolver => "no_resolver", "The host has no DNS resolver configured.";
    NoRoom => "no_room", "A bounded buffer has no room.";
    LinkDown => "link_down", "The link of the port is down.";
    NoHub => "no_hub", "The port is not plugged into a hub.";
    QueueFull => "queue_full", "The port does not take its frames fast enough.";
    SegmentFailed => "segment_failed", "The frame asks for segmentation, but its headers do not allow it.";
    TooBigForGuest => "too_big_for_guest", "The datagram does not fit the guest network.";
    NoNeighbor => "no_neighbor", "The hardware address of the destination is not known.";
    TcpNoFlow => "tcp_no_flow", "The TCP segment belongs to no connection.";
    TcpOutOfWindow => "tcp_out_of_window", "The TCP segment lies outside the window.";
    TcpOutOfOrder => "tcp_out_of_order", "The TCP segment arrived before one that precedes it, and there was no room to keep it.";
    TcpDuplicate => "tcp_duplicate", "The TCP segment carries only what was received before.";
    TcpOldTimestamp => "tcp_old_timestamp", "The TCP segment is one of long ago, by its timestamp.";
    TcpGaveWay => "tcp_gave_way", "Too many TCP connections are being opened at once; the oldest of them gave way.";
    UnansweredGaveWay => "unanswered_gave_way", "Too many datagram flows are without an answer; the oldest of them gave way.";
    TcpBacklogFull => "tcp_backlog_full", "The host's sockets do not take what guests send; too much of it waits already.";
    HostSendFailed => "host_send_failed", "The host's socket did not take the data.";
    TunnelMalformed => "tunnel_malformed", "The message is cut off or is no data message of the port's tunnel.";
    TunnelForeign => "tunnel_foreign", "The message belongs to another session or network than the port's.";
    PeerUnknown => "peer_unknown", "The message is from none of the port's peers, or none is known yet.";
    OwnFrame => "own_frame", "The frame is our own, sent back by the multicast group.";
    VlanNotAllowed => "vlan_not_allowed", "The frame's VLAN, or its having none, is not one of the port's.";
    PortIsolated => "port_isolated", "The port and that of the destination are isolated from each other.";
    SameSegment => "same_segment", "The destination is where the frame came from.";
    ReservedAddress => "reserved_address", "The frame is for a switch itself; switches never pass it on.";
    LoopReturned => "loop_returned", "The frame came back through another port: there is a loop.";
    LoopBlocked => "loop_blocked", "The port is part of a loop and blocked for a while.";
    StormLimited => "storm_limited", "The port sends more to everybody than a crowded switch takes from one.";
    FilterFull => "filter_full", "A filter of the port has no room for the frame.";
    RingInvalid => "ring_invalid", "A descriptor of a guest's ring points outside of its memory.";
    PortWriteFailed => "port_write_failed", "The port's descriptor did not take the frame.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_all() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
        assert_eq!(DropReason::COUNT, DropReason::ALL.len());
    }

    #[test]
    fn names_are_the_variants_in_snake_case_and_so_unique() {
        for reason in DropReason::ALL {
            let mut snake = String::new();
            for c in format!("{reason:?}").chars() {
                if c.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            assert_eq!(reason.name(), snake);
        }
    }

    #[test]
    fn descriptions_are_sentences() {
        assert!(DropReason::ALL.iter().all(|r| r.describe().ends_with('.') && r.describe().len() > 10));
    }
}
