//! Commands about hubs, switches and links.

use super::Outcome;
use crate::plane::{NamedHub, Plane};
use crate::protocol::{Join, Refusal};
use crate::sys;
use serde_json::{Value, json};
use wirebay_engine::Lan;
use wirebay_engine::switch::{Options, Switch};
use wirebay_engine::user::Secret;

/// Addresses told of a switch; more would not fit one message.
const ADDRESSES: usize = 1000;

impl Plane {
    fn hub_number(&self, name: &str) -> Result<usize, Refusal> {
        let found = self.hubs.iter().position(|hub| hub.as_ref().is_some_and(|hub| hub.name == name));
        found.ok_or_else(|| Refusal::option(format!("there is no hub '{name}'")))
    }

    pub(super) fn hub_add(&mut self, name: String, make: fn(Secret) -> Lan) -> Outcome {
        if self.hub_number(&name).is_ok() {
            return Err(Refusal::option(format!("there is a hub '{name}' already")));
        }
        let hub = Some(NamedHub { name, lan: make(Secret(sys::random_key()?)) });
        match self.hubs.iter().position(Option::is_none) {
            Some(number) => self.hubs[number] = hub,
            None => self.hubs.push(hub),
        }
        Ok(json!({}))
    }

    pub(super) fn hub_remove(&mut self, name: &str) -> Outcome {
        let number = self.hub_number(name)?;
        for port in self.ports.iter_mut().flatten().filter(|port| port.hub == Some(number)) {
            port.hub = None;
        }
        self.hubs[number] = None;
        Ok(json!({}))
    }

    pub(super) fn join(&mut self, options: Join) -> Outcome {
        let Join { hub, port, vlan, trunk, isolated } = options;
        let (hub_number, number) = (self.hub_number(&hub)?, self.number(&port)?);
        if self.named(&port)?.hub.is_some() {
            return Err(Refusal::option(format!("port '{port}' sits on a hub already")));
        }
        if let Some(named) = self.hubs[hub_number].as_mut() {
            let options = Options { vlan, trunk, isolated };
            let why = |reason| Refusal::option(format!("port '{port}' cannot join '{hub}': {reason}"));
            named.lan.join(number, &options).map_err(why)?;
        }
        self.named(&port)?.hub = Some(hub_number);
        Ok(json!({}))
    }

    pub(super) fn set_link(&mut self, name: &str, up: bool) -> Outcome {
        let number = self.number(name)?;
        let port = self.named(name)?;
        port.link = up;
        let hub = port.hub.filter(|_| !up);
        if let Some(named) = hub.and_then(|hub| self.hubs[hub].as_mut()) {
            named.lan.forget(number);
        }
        Ok(json!({}))
    }

    pub(super) fn hub_stats(&self, name: &str) -> Outcome {
        let number = self.hub_number(name)?;
        let Some(named) = &self.hubs[number] else { return Ok(json!({})) };
        let mut stats = json!({"kind": named.lan.kind()});
        if let Some(switch) = named.lan.as_switch() {
            let counters = switch.addresses.counters;
            stats["moved"] = counters.moved.into();
            stats["held"] = counters.held.into();
            stats["evicted"] = counters.evicted.into();
            stats["addresses"] = self.addresses(switch);
        }
        Ok(stats)
    }

    /// What a switch knows: the address, its VLAN (0: untagged), the port, and the seconds since it sent.
    fn addresses(&self, switch: &Switch) -> Value {
        let known = switch.addresses.iter(self.now).filter_map(|(station, port, age)| {
            let port = &self.ports[port].as_ref()?.name;
            let mac = station.mac().to_string();
            Some(json!({"mac": mac, "vlan": station.vid(), "port": port, "age": age.as_secs()}))
        });
        known.take(ADDRESSES).collect()
    }
}
