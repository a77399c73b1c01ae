//! The loop: wait, take what has come, finish the round.

use crate::control::{Control, Next, ready_event};
use crate::isolation;
use crate::plane::Plane;
use crate::poll::{self, Poll, Source};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use wirebay_engine::{Readiness, Time};

/// How soon to try again when Python does not take its messages.
const RETRY: Duration = Duration::from_millis(10);

/// Run the worker over its control socket until it is told to stop or nobody is left to tell it. With `parent`, the
/// process first gives up everything it does not need (`isolation.rs`).
pub fn run(control: OwnedFd, parent: Option<u32>) -> io::Result<()> {
    if let Some(parent) = parent {
        isolation::isolate(control.as_raw_fd(), parent)?;
    }
    let mut worker = Worker::new(control)?;
    let result = worker.run();
    worker.plane.end_captures();
    result
}

struct Worker {
    poll: Poll,
    control: Control,
    plane: Plane,
    start: Instant,
}

impl Worker {
    fn new(control: OwnedFd) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registrar = poll.registrar()?;
        let mut control = Control::new(control)?;
        registrar.add(control.fd(), Source::Control, poll::READ)?;
        control.send(&ready_event());
        Ok(Worker { poll, control, plane: Plane::new(registrar), start: Instant::now() })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut timeout = None;
        while self.control.flush() == Next::Run {
            let events = self.poll.wait(self.patience(timeout))?;
            self.plane.now = self.clock();
            for (source, ready) in events {
                if self.dispatch(source, ready) == Next::Stop {
                    return Ok(());
                }
            }
            self.plane.finish();
            self.control.report(&mut self.plane.incidents);
            timeout = self.time_left();
        }
        Ok(())
    }

    fn clock(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// How long nothing needs to be done; `None`: for ever.
    fn time_left(&self) -> Option<Duration> {
        let (busy, deadline) = self.plane.next_round();
        if busy { Some(Duration::ZERO) } else { deadline.map(|at| at.since(self.clock())) }
    }

    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.control.is_waiting() { Some(timeout.unwrap_or(RETRY).min(RETRY)) } else { timeout }
    }

    fn dispatch(&mut self, source: Source, ready: Readiness) -> Next {
        match source {
            Source::Control => return self.control.ready(&mut self.plane),
            Source::Port(port) => self.plane.port_ready(port),
            Source::Service(port) => self.plane.service_ready(port),
            Source::Forward(port, slot) => self.plane.forward_ready(port, slot, ready),
            Source::Kick(port, ring) => self.plane.kicked(port, ring),
            Source::Flow(port, token) => self.plane.flow_ready(port, token, ready),
            Source::Filter(slot, end) => self.plane.filter_ready(slot, end),
        }
        Next::Run
    }
}
