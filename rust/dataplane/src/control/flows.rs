//! The command that lists flows, a page at a time.

use crate::ports::user::UserPort;
use serde_json::{Value, json};
use wirebay_engine::Time;
use wirebay_engine::user::Listed;
use wirebay_wire::ipv4::protocol;

/// Most flows of one page: no reply comes near its limit.
const PAGE: usize = 256;

/// A page of the flows of a user network, from place `first` of its table on.
pub fn page(user: &UserPort, now: Time, first: u32, limit: usize) -> Value {
    let (flows, next) = user.net.list(first, limit.clamp(1, PAGE));
    let flows: Vec<Value> = flows.iter().map(|flow| members(flow, now)).collect();
    json!({"flows": flows, "next": next})
}

fn members(flow: &Listed, now: Time) -> Value {
    let proto = match flow.protocol {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        _ => "icmp",
    };
    json!({
        "proto": proto, "state": flow.state,
        "guest": flow.guest.ip(), "guest_port": flow.guest.port(),
        "peer": flow.peer.map(|peer| peer.ip()), "peer_port": flow.peer.map(|peer| peer.port()),
        "from_guest": flow.tally.from_guest, "to_guest": flow.tally.to_guest,
        "age_ms": now.since(flow.tally.since).as_millis() as u64,
    })
}
