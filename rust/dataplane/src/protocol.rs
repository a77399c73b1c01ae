//! The command protocol, version 2: `docs/protocol.md`, as types.

use crate::filters::Queue;
use crate::ports::dgram::Destination;
use crate::ports::framing::FramingOptions;
use crate::ports::stream::Prefix;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version announced in the `ready` event.
pub const VERSION: u32 = 2;
/// The longest request in bytes.
pub const MAX_MESSAGE: usize = 64 << 10;
/// The longest reply in bytes: what a socket's default send buffer takes in one piece.
pub const MAX_REPLY: usize = 128 << 10;

/// What Python asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // the members are those of the table in docs/protocol.md
pub enum Command {
    TapAdd { port: String, offloads: Vec<String>, mtu: u32 },
    StreamAdd(StreamAdd),
    StreamAttach { port: String },
    DgramAdd { port: String, framing: FramingOptions },
    DgramAttach { port: String, to: Destination },
    VhostAdd { port: String, offloads: bool },
    VhostAttach { port: String },
    UserAdd(UserAdd),
    UserResolvers { port: String, servers: Vec<IpAddr> },
    ForwardAdd { port: String, forward: String, proto: Proto, guest: IpAddr, guest_port: u16 },
    ForwardRemove { port: String, forward: String },
    ForwardAccept { port: String, guest: IpAddr, guest_port: u16, client: IpAddr, client_port: u16 },
    ServiceAdd { port: String, service: String, proto: Proto, addr: IpAddr, service_port: u16 },
    ServiceRemove { port: String, service: String },
    ServiceAttach { port: String, connection: u64 },
    ServiceRefuse { port: String, connection: u64 },
    GuestPing { port: String, addr: IpAddr, ident: u16, seq: u16, size: u16 },
    Flows { port: String, first: u32, limit: usize },
    PortRemove { port: String },
    HubAdd { hub: String },
    SwitchAdd { hub: String },
    HubRemove { hub: String },
    HubStats { hub: String },
    Join(Join),
    Leave { port: String },
    Link { port: String, up: bool },
    FilterAdd(FilterAdd),
    FilterAttach { filter: String, end: End },
    FilterRotate { filter: String },
    FilterSet { filter: String, on: bool },
    FilterRemove { filter: String },
    FilterStats { filters: Vec<String> },
    Stats { ports: Option<Vec<String>> },
    Stop {},
}

/// A new stream port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as above
pub struct StreamAdd {
    pub port: String,
    #[serde(default)]
    pub framing: Prefix,
}

/// A new user network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as above
pub struct UserAdd {
    pub port: String,
    pub ipv4: Option<Addresses<Ipv4Addr>>,
    pub ipv6: Option<Addresses<Ipv6Addr>>,
    pub mtu: u16,
    pub restrict: bool,
    pub host_loopback: bool,
    pub dnssl: Vec<String>,
}

/// A port plugged into a segment; all but the names is for switches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as above
pub struct Join {
    pub hub: String,
    pub port: String,
    pub vlan: Option<u16>,
    pub trunk: Option<Vec<(u16, u16)>>,
    #[serde(default)]
    pub isolated: bool,
}

/// A new filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as above
pub struct FilterAdd {
    pub filter: String,
    pub port: String,
    pub queue: Queue,
    pub place: usize,
    pub on: bool,
    pub kind: FilterKind,
}

/// What a filter does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[allow(missing_docs)] // as above
pub enum FilterKind {
    Dump { format: String, maxlen: u32, limit: Option<u64> },
    Mirror { vnet_hdr: bool },
    Redirector { r#in: bool, out: bool, vnet_hdr: bool },
    Buffer { interval: u32 },
}

/// An end of a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Where frames come in from elsewhere.
    In,
    /// Where they go out to.
    Out,
}

/// The addresses of one family of a user network.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // as above
pub struct Addresses<A> {
    pub net: A,
    pub prefix: u8,
    pub host: A,
    pub dns: A,
}

/// Bytes of search domains that a router advertisement has room for beside the rest, at the least MTU of IPv6.
const MAX_SEARCH: usize = 1024;

impl UserAdd {
    /// The search domains as router advertisements carry them (RFC 8106 section 5.2).
    pub fn search(&self) -> Result<Vec<u8>, Refusal> {
        let mut wire = Vec::new();
        for domain in &self.dnssl {
            let labels: Vec<&str> = domain.trim_end_matches('.').split('.').collect();
            if labels.iter().any(|label| label.is_empty() || label.len() > 63) || domain.len() > 253 {
                return Err(Refusal::option(format!("'{domain}' is not a domain")));
            }
            for label in labels {
                wire.push(label.len() as u8);
                wire.extend(label.bytes());
            }
            wire.push(0);
        }
        if wire.len() > MAX_SEARCH {
            return Err(Refusal::option(format!("the search domains take more than {MAX_SEARCH} bytes")));
        }
        Ok(wire)
    }
}

/// The protocol of a forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// A listening socket.
    Tcp,
    /// A bound socket.
    Udp,
}

/// Whose fault a refused command is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The caller's.
    Option,
    /// The host's.
    Host,
}

/// Why a command was refused, in one sentence.
#[derive(Debug)]
pub struct Refusal {
    /// Whose fault.
    pub fault: Fault,
    /// The sentence.
    pub message: String,
}

impl Refusal {
    /// The caller asked for something impossible.
    pub fn option(message: impl Into<String>) -> Self {
        Refusal { fault: Fault::Option, message: message.into() }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal { fault: Fault::Host, message: error.to_string() }
    }
}

/// A request taken apart: its number, and the command or why it is none.
pub fn parse(message: &[u8]) -> (u64, Result<Command, Refusal>) {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(message) else {
        return (0, Err(Refusal::option("the message is not a JSON object")));
    };
    let Some(id) = members.remove("id").and_then(|id| id.as_u64()) else {
        return (0, Err(Refusal::option("the member 'id' is missing or not a number")));
    };
    let command = serde_json::from_value(Value::Object(members));
    (id, command.map_err(|error| Refusal::option(error.to_string())))
}

/// The reply to a request.
pub fn reply(id: u64, result: Result<Value, Refusal>) -> Value {
    match result {
        Ok(value) => json!({"id": id, "ok": value}),
        Err(refusal) => json!({"id": id, "error": {"fault": refusal.fault, "message": refusal.message}}),
    }
}

/// The reply to a request, or a refusal where it would not fit one message.
pub fn bounded_reply(id: u64, result: Result<Value, Refusal>) -> Value {
    let whole = reply(id, result);
    let len = whole.to_string().len();
    if len <= MAX_REPLY {
        return whole;
    }
    let refusal =
        Refusal::option(format!("the reply is {len} bytes long, over {MAX_REPLY}: ask for fewer ports"));
    reply(id, Err(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_commands_and_members_are_refused_by_name() {
        let (id, result) = parse(br#"{"id": 7, "cmd": "fly"}"#);
        assert!(id == 7 && result.unwrap_err().message.contains("fly"));
        let (_, result) = parse(br#"{"id": 7, "cmd": "stream_add", "port": "a", "colour": 1}"#);
        assert!(result.unwrap_err().message.contains("colour"));
    }

    #[test]
    fn what_is_not_a_request_is_answered_with_number_zero() {
        for bytes in [&b"\xff\xfe"[..], b"[]", b"{}", br#"{"id": -1}"#, b"", br#"{"id": "x", "cmd": "stop"}"#]
        {
            let (id, result) = parse(bytes);
            assert!(id == 0 && result.is_err());
        }
    }

    #[test]
    fn a_user_network_is_read_with_all_its_members() {
        let text = br#"{"id": 1, "cmd": "user_add", "port": "u", "mtu": 1500, "restrict": false, "host_loopback": true,
            "ipv4": {"net": "10.0.2.0", "prefix": 24, "host": "10.0.2.2", "dns": "10.0.2.3"}, "ipv6": null,
            "dnssl": ["example.org"]}"#;
        let (_, command) = parse(text);
        let Ok(Command::UserAdd(UserAdd { ipv4: Some(addresses), ipv6: None, .. })) = command else {
            panic!("{command:?}")
        };
        assert_eq!(addresses.prefix, 24);
    }

    fn search(domains: &[&str]) -> Result<Vec<u8>, Refusal> {
        let dnssl = domains.iter().map(ToString::to_string).collect();
        let (port, ipv4, ipv6) = (String::new(), None, None);
        UserAdd { port, ipv4, ipv6, mtu: 1500, restrict: false, host_loopback: true, dnssl }.search()
    }

    #[test]
    fn search_domains_become_labels_and_what_is_no_domain_is_refused() {
        assert_eq!(search(&["ab.c", "d."]).unwrap(), b"\x02ab\x01c\x00\x01d\x00");
        for bad in ["", ".", "a..b", &"x".repeat(64)] {
            assert!(search(&[bad]).is_err(), "{bad:?}");
        }
        assert!(search(&[&"abcdefg.".repeat(30)[..]; 5]).is_err());
    }
}
