//! Commands about filters.

use super::Outcome;
use crate::filters::dump::Dump;
use crate::filters::{Filter, IN, Kind, OUT, Outlet};
use crate::plane::Plane;
use crate::poll::{self, Source};
use crate::protocol::{End, FilterAdd, FilterKind, Refusal};
use serde_json::{Map, Value, json};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wirebay_engine::capture::{Format, Options};
use wirebay_engine::hold::Hold;
use wirebay_engine::{Drops, Time, Traffic};

/// Filters on one port.
const MAX_FILTERS: usize = 64;

type Ends = [Option<Outlet>; 2];

impl Plane {
    fn filter_number(&self, name: &str) -> Result<usize, Refusal> {
        let found = self.filters.iter().position(|f| f.as_ref().is_some_and(|f| f.name == name));
        found.ok_or_else(|| Refusal::option(format!("there is no filter '{name}'")))
    }

    pub(super) fn filter_add(&mut self, options: FilterAdd, fds: Vec<OwnedFd>) -> Outcome {
        let FilterAdd { filter: name, port: port_name, queue, place, on, kind } = options;
        if self.filter_number(&name).is_ok() {
            return Err(Refusal::option(format!("there is a filter '{name}' already")));
        }
        let port = self.number(&port_name)?;
        let length = self.named(&port_name)?.chain.len();
        if place > length || length >= MAX_FILTERS {
            return Err(Refusal::option(format!("port '{port_name}' has no place {place} for a filter")));
        }
        let (kind, ends) = make(kind, &port_name, self.now, fds)?;
        let (seen, drops) = (Traffic::default(), Drops::default());
        let filter = Some(Filter { name, port, queue, on, kind, ends, seen, drops });
        let slot = self.filters.iter().position(Option::is_none).unwrap_or(self.filters.len());
        if slot == self.filters.len() {
            self.filters.push(None);
        }
        self.filters[slot] = filter;
        self.named(&port_name)?.chain.insert(place, slot);
        Ok(json!({}))
    }

    pub(super) fn filter_attach(&mut self, name: &str, end: End, fd: OwnedFd) -> Outcome {
        let slot = self.filter_number(name)?;
        let number = if end == End::In { IN } else { OUT };
        let registrar = self.registrar().try_clone()?;
        let outlet = self.filters[slot].as_mut().and_then(|filter| filter.ends[number].as_mut());
        let outlet = outlet.ok_or_else(|| Refusal::option(format!("filter '{name}' has no such end")))?;
        if outlet.stream.fd().is_some() {
            return Err(Refusal::option(format!("filter '{name}' has a peer there already")));
        }
        rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from)?;
        registrar.add(&fd, Source::Filter(slot, number), poll::READ)?;
        outlet.stream.attach(fd, None);
        Ok(json!({}))
    }

    pub(super) fn filter_rotate(&mut self, name: &str, file: OwnedFd) -> Outcome {
        let slot = self.filter_number(name)?;
        match self.filters[slot].as_mut().map(|filter| &mut filter.kind) {
            Some(Kind::Dump(dump)) => dump.rotate(file),
            _ => return Err(Refusal::option(format!("filter '{name}' writes no file"))),
        }
        Ok(json!({}))
    }

    pub(super) fn filter_set(&mut self, name: &str, on: bool) -> Outcome {
        let slot = self.filter_number(name)?;
        if let Some(filter) = self.filters[slot].as_mut() {
            filter.on = on;
        }
        if !on {
            self.let_go(slot);
        }
        Ok(json!({}))
    }

    pub(super) fn filter_remove(&mut self, name: &str) -> Outcome {
        let slot = self.filter_number(name)?;
        self.let_go(slot);
        self.remove_filter(slot);
        Ok(json!({}))
    }

    pub(super) fn filter_stats(&self, names: &[String]) -> Outcome {
        let mut filters = Map::new();
        for name in names {
            let slot = self.filter_number(name)?;
            if let Some(filter) = &self.filters[slot] {
                filters.insert(name.clone(), stats(filter));
            }
        }
        Ok(json!({"filters": filters}))
    }
}

fn stats(filter: &Filter) -> Value {
    let drops: Map<String, Value> =
        filter.drops.iter().map(|(reason, n)| (reason.name().to_owned(), n.into())).collect();
    json!({
        "kind": filter.kind_name(), "on": filter.on, "drops": drops,
        "frames": filter.seen.frames, "bytes": filter.seen.bytes,
    })
}

fn make(kind: FilterKind, port: &str, now: Time, fds: Vec<OwnedFd>) -> Result<(Kind, Ends), Refusal> {
    let outlet = |wanted: bool, vnet| wanted.then(|| Outlet::new(vnet));
    match kind {
        FilterKind::Dump { format, maxlen, limit } => {
            let options = Options {
                format: parse_format(&format)?,
                maxlen,
                limit,
                name: port.into(),
                epoch: epoch(now),
            };
            let Ok([file, done]) = <[OwnedFd; 2]>::try_from(fds) else {
                return Err(Refusal::option("two descriptors must come with a capture"));
            };
            Ok((Kind::Dump(Box::new(Dump::new(options, file, done)?)), [None, None]))
        }
        FilterKind::Mirror { vnet_hdr } => Ok((Kind::Mirror, [None, outlet(true, vnet_hdr)])),
        FilterKind::Redirector { r#in, out, vnet_hdr } => {
            Ok((Kind::Redirector, [outlet(r#in, vnet_hdr), outlet(out, vnet_hdr)]))
        }
        FilterKind::Buffer { interval: 0 } => Err(Refusal::option("the interval is 0")),
        FilterKind::Buffer { interval } => {
            Ok((Kind::Buffer(Hold::new(now, Duration::from_micros(interval.into()))), [None, None]))
        }
    }
}

fn parse_format(name: &str) -> Result<Format, Refusal> {
    match name {
        "pcap" => Ok(Format::Pcap),
        "pcapng" => Ok(Format::Pcapng),
        _ => Err(Refusal::option(format!("'{name}' is no format of captures"))),
    }
}

/// Microseconds since 1970 at the start of the worker's clock.
fn epoch(now: Time) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_micros() as u64).saturating_sub(now.0)
}
