//! A segment that joins ports: a hub, which repeats, or a switch, which learns. Both look out for loops.

use crate::hub::Hub;
use crate::loops::{Alarm, LoopGuard};
use crate::switch::{self, Options, Switch, Tagging, Target};
use crate::time::Time;
use crate::user::Secret;
use std::time::Duration;
use wirebay_wire::ethernet::Ethernet;
use wirebay_wire::{DropReason, Frame, Mac};

/// After an address has been on two ports of a hub, its frames are watched for so long.
const SUSPICION: Duration = Duration::from_secs(1);

enum Kind {
    Hub { hub: Hub<usize>, suspicious_until: Time },
    Switch(Box<Switch>),
}

/// A hub or a switch; ports are known by number.
pub struct Lan {
    kind: Kind,
    guard: LoopGuard,
}

impl Lan {
    /// A hub. `secret` keys what guests could otherwise predict.
    pub fn hub(secret: Secret) -> Self {
        let kind = Kind::Hub { hub: Hub::default(), suspicious_until: Time::default() };
        Lan { kind, guard: LoopGuard::new(secret) }
    }

    /// A switch.
    pub fn switch(secret: Secret) -> Self {
        let kind = Kind::Switch(Box::new(Switch::new(secret, switch::QUOTA)));
        Lan { kind, guard: LoopGuard::new(secret) }
    }

    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Hub { .. } => "hub",
            Kind::Switch(_) => "switch",
        }
    }

    /// The switch, if it is one.
    pub fn as_switch(&self) -> Option<&Switch> {
        match &self.kind {
            Kind::Hub { .. } => None,
            Kind::Switch(switch) => Some(switch),
        }
    }

    /// Plug a port in. Errors, as a sentence: a hub knows no options, and a VLAN must be one.
    pub fn join(&mut self, port: usize, options: &Options) -> Result<(), &'static str> {
        match &mut self.kind {
            Kind::Hub { hub, .. } if *options == Options::default() => hub.join(port),
            Kind::Hub { .. } => return Err("a hub has no VLANs and isolates nobody"),
            Kind::Switch(switch) => {
                return switch.join(port, options).then_some(()).ok_or("a VLAN is a number from 1 to 4094");
            }
        }
        Ok(())
    }

    /// Unplug a port.
    pub fn leave(&mut self, port: usize) {
        self.guard.forget(port);
        match &mut self.kind {
            Kind::Hub { hub, .. } => hub.leave(port),
            Kind::Switch(switch) => switch.leave(port),
        }
    }

    /// The port's link went down: nobody is behind it any more.
    pub fn forget(&mut self, port: usize) {
        if let Kind::Switch(switch) = &mut self.kind {
            switch.forget(port);
        }
    }

    /// All ports, in the order they joined.
    pub fn ports(&self) -> &[usize] {
        match &self.kind {
            Kind::Hub { hub, .. } => hub.ports(),
            Kind::Switch(switch) => switch.ports(),
        }
    }

    /// The port that a frame from `from` to `mac` takes, as far as that is known.
    pub fn way_to(&self, now: Time, from: usize, mac: Mac) -> Option<usize> {
        match &self.kind {
            Kind::Hub { hub, .. } => hub.port_of(mac),
            Kind::Switch(switch) => switch.way_to(now, from, mac),
        }
    }

    /// Fill `out` with the ports that the frame goes to. The error is why it goes nowhere.
    pub fn route(
        &mut self,
        now: Time,
        from: usize,
        frame: &Frame<'_>,
        out: &mut Vec<Target>,
    ) -> Result<(), DropReason> {
        out.clear();
        let guard = &mut self.guard;
        if guard.is_blocked(now, from) {
            return Err(DropReason::LoopBlocked);
        }
        match &mut self.kind {
            Kind::Hub { hub, suspicious_until } => {
                let ethernet = Ethernet::parse(frame.bytes)?;
                if hub.note(ethernet.src, from) {
                    *suspicious_until = now + SUSPICION;
                }
                if ethernet.dst.is_multicast() || now < *suspicious_until {
                    guard.check(now, from, frame)?;
                }
                let others = hub.ports().iter().filter(|&&port| port != from);
                out.extend(others.map(|&port| Target { port, tagging: Tagging::AsIs }));
            }
            Kind::Switch(switch) => switch.route(now, from, frame, guard, out)?,
        }
        let before = out.len();
        out.retain(|target| !guard.is_blocked(now, target.port));
        if out.is_empty() && before > 0 { Err(DropReason::LoopBlocked) } else { Ok(()) }
    }

    /// A port that has begun to send too much to everybody since this was last asked.
    pub fn pop_storm(&mut self) -> Option<usize> {
        match &mut self.kind {
            Kind::Hub { .. } => None,
            Kind::Switch(switch) => switch.pop_storm(),
        }
    }

    /// A port that was blocked for a loop since this was last asked.
    pub fn pop_alarm(&mut self) -> Option<Alarm> {
        self.guard.pop_alarm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn frame(dst: [u8; 6], number: u8) -> Vec<u8> {
        [&dst[..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5, number], &[0; 40]].concat()
    }

    /// Frames of port 0 through a segment whose ports 1 and 2 are joined outside; how many deliveries that took.
    fn circle(lan: &mut Lan, dst: [u8; 6], number: u8, now: Time) -> usize {
        let bytes = frame(dst, number);
        let (mut waiting, mut out, mut delivered) = (VecDeque::from([0]), Vec::new(), 0);
        while let Some(from) = waiting.pop_front() {
            if lan.route(now, from, &Frame::plain(&bytes), &mut out).is_ok() {
                delivered += out.len();
                waiting.extend(out.iter().filter(|t| t.port != 0).map(|t| 3 - t.port));
            }
            assert!(delivered < 100, "it melts");
        }
        delivered
    }

    fn looped(mut lan: Lan) -> Lan {
        (0..3).for_each(|port| lan.join(port, &Options::default()).unwrap());
        lan
    }

    #[test]
    fn a_loop_neither_melts_a_hub_nor_a_switch_and_is_told_once() {
        let secret = Secret([9; 16]);
        for mut lan in [looped(Lan::hub(secret)), looped(Lan::switch(secret))] {
            let now = Time(5_000_000);
            let alarms: Vec<Alarm> = (0..100)
                .filter_map(|number| {
                    assert!(circle(&mut lan, [0xff; 6], number, now) <= 4);
                    lan.pop_alarm()
                })
                .collect();
            assert_eq!(alarms.len(), 1);
            assert!(alarms[0].port != 0);
            assert_eq!(circle(&mut lan, [0xff; 6], 200, now), 1, "the other way still works");
        }
    }

    #[test]
    fn unicast_does_not_melt_a_hub_either() {
        let mut lan = looped(Lan::hub(Secret([9; 16])));
        (0..100).for_each(|number| {
            circle(&mut lan, [2, 0, 0, 0, 0, 2], number, Time(5_000_000));
        });
        assert!(lan.pop_alarm().is_some());
    }

    #[test]
    fn a_hub_refuses_what_only_a_switch_has() {
        let options = Options { isolated: true, ..Options::default() };
        assert!(Lan::hub(Secret([0; 16])).join(1, &options).is_err());
        assert!(Lan::switch(Secret([0; 16])).join(1, &Options { vlan: Some(0), ..options }).is_err());
    }
}
