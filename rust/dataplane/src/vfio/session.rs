//! One card and its clients, one after the other; `super` tells how it works.

use super::config::{Config, LEN};
use super::frames::Frames;
use super::interrupts::Interrupts;
use super::memory::Memory;
use super::message::{Ended, Inbox, Message};
use super::{Device, Status};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Messages and frames handled before everything else gets its turn.
const MESSAGES: usize = 64;
const FRAMES: usize = 16;
/// Runs of the engine in a row.
const RUNS: usize = 16;

/// What a card has, as the client is told; never changes.
pub struct Layout {
    /// The configuration space after a reset, and its bits that can be written.
    pub config: [[u8; LEN]; 2],
    /// Sizes of the BARs, 0 for none.
    pub bars: [u64; 6],
    /// The option ROM.
    pub rom: Vec<u8>,
    /// MSI-X vectors.
    pub vectors: u16,
    /// Microseconds that a frame waits before the card is told.
    pub patience: u64,
}

/// What the client sets up.
pub(super) struct State {
    pub config: Config,
    pub memory: Memory,
    pub interrupts: Interrupts,
}

/// The connection.
pub(super) struct Link {
    pub socket: Arc<OwnedFd>,
    inbox: Inbox,
    pub last_id: u16,
    /// Found out within a run of the engine.
    pub ended: Option<Ended>,
}

/// What the device wanted last.
#[derive(Clone, Copy, Default)]
struct Wishes {
    receives: bool,
    busy: bool,
    deadline: Option<u64>,
}

/// A card that can be served. Everything but [`Session::stop`] is for one thread.
pub struct Session {
    pub(super) layout: Layout,
    device: OnceLock<Box<dyn Device>>,
    state: Mutex<State>,
    pub(super) link: Mutex<Option<Link>>,
    frames: Mutex<Frames>,
    wishes: Mutex<Wishes>,
    /// Since when a frame waits that the device cannot take.
    held: Mutex<Option<u64>>,
    /// When the last message came.
    heard: AtomicU64,
    /// Is the engine at work, and may reach memory?
    pub(super) running: AtomicBool,
    start: Instant,
    stop: OwnedFd,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// A card without a client; `frames` is its way to the network.
    pub fn new(layout: Layout, frames: OwnedFd) -> std::io::Result<Self> {
        let config = Config::new(layout.config[0], layout.config[1]);
        let interrupts = Interrupts::new(layout.vectors);
        Ok(Session {
            layout,
            device: OnceLock::new(),
            state: Mutex::new(State { config, memory: Memory::default(), interrupts }),
            link: Mutex::new(None),
            frames: Mutex::new(Frames::new(frames)),
            wishes: Mutex::default(),
            held: Mutex::default(),
            heard: AtomicU64::new(0),
            running: AtomicBool::new(false),
            start: Instant::now(),
            stop: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Put the model in; false if there is one.
    pub fn insert(&self, device: Box<dyn Device>) -> bool {
        self.device.set(device).is_ok()
    }

    /// End whatever runs; for any thread.
    pub fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }

    /// Wait until `listener` has a client, or until stopped (false). What the network sends meanwhile is dropped.
    pub fn wait_for_client(&self, listener: BorrowedFd<'_>) -> Result<bool, Ended> {
        loop {
            let [listening, stopped] = self.wait(listener, true, None)?;
            if listening || stopped {
                return Ok(!stopped);
            }
            self.drop_frames()?;
        }
    }

    /// Serve one client until it ends; why it did, or what is wrong with us.
    pub fn serve(&self, socket: OwnedFd) -> Ended {
        let ended = self.connection(socket).err().unwrap_or_else(|| "it was stopped".into());
        *lock(&self.link) = None;
        let mut state = self.state();
        state.memory.clear();
        state.interrupts.disconnect();
        ended
    }

    fn connection(&self, socket: OwnedFd) -> Result<(), Ended> {
        let socket = Arc::new(socket);
        let link = Link { socket: socket.clone(), inbox: Inbox::default(), last_id: 0, ended: None };
        *lock(&self.link) = Some(link);
        self.drop_frames()?;
        self.reset()?;
        self.settle()?;
        loop {
            self.round()?;
            let (receives, deadline) = (self.receives(), self.next_deadline());
            let [_, stopped] = self.wait(socket.as_fd(), receives, deadline)?;
            if stopped {
                return Ok(());
            }
        }
    }

    fn round(&self) -> Result<(), Ended> {
        for _ in 0..MESSAGES {
            let Some(message) = self.next_message()? else { break };
            self.handle(message)?;
            self.settle()?;
        }
        for _ in 0..FRAMES {
            let Some(frame) = self.next_frame()? else { break };
            self.running(|device, now| device.receive(&frame, now))?;
            self.settle()?;
        }
        self.press()?;
        if lock(&self.wishes).deadline.is_some_and(|at| at <= self.now()) {
            self.running(|device, now| device.run(now))?;
            self.settle()?;
        }
        self.state().interrupts.tick(self.now(), self.heard.load(Ordering::Relaxed));
        Ok(())
    }

    /// Tell the device of a frame that has waited for long, now and then.
    fn press(&self) -> Result<(), Ended> {
        let now = self.now();
        let due = {
            let mut held = lock(&self.held);
            if self.receives() {
                *held = None;
            }
            let due = held.is_some_and(|since| since + self.layout.patience <= now);
            if due {
                *held = Some(now);
            }
            due
        };
        if due {
            self.device()?.overflow(now)?;
            self.settle()?;
        }
        Ok(())
    }

    /// Do what the device wants, until it wants no more, or for long enough.
    fn settle(&self) -> Result<(), Ended> {
        self.publish()?;
        for _ in 0..RUNS {
            if !lock(&self.wishes).busy {
                break;
            }
            self.running(|device, now| device.run(now))?;
            self.publish()?;
        }
        Ok(())
    }

    /// Pass on what the device has to say.
    pub(super) fn publish(&self) -> Result<(), Ended> {
        let Status { frames, interrupt, vectors, receives, busy, deadline } = self.device()?.status()?;
        *lock(&self.wishes) = Wishes { receives, busy, deadline };
        if !frames.is_empty() {
            let mut pipe = lock(&self.frames);
            for frame in &frames {
                pipe.push(frame);
            }
            pipe.flush()?;
        }
        let mut state = self.state();
        let level = interrupt && state.config.may_interrupt();
        state.interrupts.set_level(level);
        for vector in vectors {
            state.interrupts.signal(vector);
        }
        Ok(())
    }

    fn running(&self, work: impl FnOnce(&dyn Device, u64) -> Result<(), Ended>) -> Result<(), Ended> {
        self.running.store(true, Ordering::Relaxed);
        let done = work(self.device()?, self.now());
        self.running.store(false, Ordering::Relaxed);
        match lock(&self.link).as_mut().and_then(|link| link.ended.take()) {
            Some(ended) => Err(ended),
            None => done,
        }
    }

    /// Back to the state after power-on.
    pub(super) fn reset(&self) -> Result<(), Ended> {
        self.state().config.reset();
        self.device()?.reset(self.now())
    }

    pub(super) fn device(&self) -> Result<&dyn Device, Ended> {
        Ok(self.device.get().ok_or("the card has no model")?.as_ref())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Microseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn receives(&self) -> bool {
        lock(&self.wishes).receives
    }

    fn next_frame(&self) -> Result<Option<Vec<u8>>, Ended> {
        if self.receives() { lock(&self.frames).next() } else { Ok(None) }
    }

    fn drop_frames(&self) -> Result<(), Ended> {
        let mut frames = lock(&self.frames);
        while frames.next()?.is_some() {}
        Ok(())
    }

    /// When something is due though nothing arrives.
    fn next_deadline(&self) -> Option<u64> {
        let wishes = *lock(&self.wishes);
        if wishes.busy || (wishes.receives && lock(&self.frames).is_ready()) {
            return Some(0);
        }
        let held = lock(&self.held).map(|since| since + self.layout.patience);
        let signal = self.state().interrupts.deadline(self.heard.load(Ordering::Relaxed));
        [wishes.deadline, signal, held].into_iter().flatten().min()
    }

    /// Sleep until `first` is readable, a frame has come (where `receives`), we are stopped, or it is `deadline`: whether
    /// the first, and whether the third.
    pub(super) fn wait(
        &self,
        first: BorrowedFd<'_>,
        receives: bool,
        deadline: Option<u64>,
    ) -> Result<[bool; 2], Ended> {
        let mut frames = lock(&self.frames);
        // Without `receives` it is watched until something is there, and no longer.
        let watched = receives || lock(&self.held).is_none();
        let mut wanted = if watched { PollFlags::IN } else { PollFlags::empty() };
        if frames.is_waiting() {
            wanted |= PollFlags::OUT;
        }
        let [first, stop, pipe] = {
            let pipe = PollFd::from_borrowed_fd(frames.fd(), wanted);
            let mut fds = [
                PollFd::from_borrowed_fd(first, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
                pipe,
            ];
            let patience = deadline.map(|at| {
                let micros = at.saturating_sub(self.now());
                Timespec { tv_sec: (micros / 1_000_000) as i64, tv_nsec: (micros % 1_000_000 * 1000) as i64 }
            });
            match poll(&mut fds, patience.as_ref()) {
                Ok(_) | Err(Errno::INTR) => fds.map(|fd| fd.revents()),
                Err(error) => return Err(format!("poll failed: {}", std::io::Error::from(error))),
            }
        };
        if pipe.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err("the packet worker is gone".into());
        }
        if pipe.contains(PollFlags::OUT) {
            frames.flush()?;
        }
        if !receives && (pipe.contains(PollFlags::IN) || frames.is_ready()) {
            lock(&self.held).get_or_insert(self.now());
        }
        Ok([!first.is_empty(), !stop.is_empty()])
    }

    pub(super) fn next_message(&self) -> Result<Option<Message>, Ended> {
        let mut link = lock(&self.link);
        let link = link.as_mut().ok_or("there is no client")?;
        let message = link.inbox.read(&*link.socket)?;
        if message.is_some() {
            self.heard.store(self.now(), Ordering::Relaxed);
        }
        Ok(message)
    }

    fn socket(&self) -> Result<Arc<OwnedFd>, Ended> {
        Ok(lock(&self.link).as_ref().ok_or("there is no client")?.socket.clone())
    }

    pub(super) fn handle(&self, message: Message) -> Result<(), Ended> {
        if message.is_reply() {
            return Err("the peer sent an answer that nobody waits for".into());
        }
        self.carry_out(message, &*self.socket()?)
    }
}
