//! A thread that writes to a file, so that a slow disk, or a reader of a pipe that does not read, stalls nobody else.
//!
//! The loop pushes pieces and never waits. A piece may begin a new file: the thread then waits until there is one. When
//! the writer is dropped the thread writes what is left and ends; `done` closes with it, which tells Python.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

struct Piece {
    bytes: Vec<u8>,
    in_next_file: bool,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    files: VecDeque<OwnedFd>,
    /// Bytes in pieces, also in the one being written.
    queued: usize,
    /// Nothing more will come.
    closed: bool,
    /// The thread has ended; with what, if it was not the end.
    ended: bool,
    error: Option<i32>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// A thread that panicked has left nothing half done that matters here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's side.
pub struct Writer {
    shared: Arc<Shared>,
    /// Pieces of later files, the last first, until their turn comes.
    prepared: Vec<Vec<u8>>,
}

impl Writer {
    /// Start the thread; `done` is held open until it ends.
    pub fn start(file: OwnedFd, done: OwnedFd) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = Thread { shared: Arc::clone(&shared), file: File::from(file) };
        std::thread::Builder::new().name("capture".into()).stack_size(128 << 10).spawn(move || {
            thread.run();
            drop(done);
        })?;
        Ok(Writer { shared, prepared: Vec::new() })
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.shared.lock().queued
    }

    /// Why the thread has given up.
    pub fn error(&self) -> Option<io::Error> {
        self.shared.lock().error.map(io::Error::from_raw_os_error)
    }

    /// Bytes that begin another file than those pushed next; the last ones come first.
    pub fn prepare(&mut self, bytes: Vec<u8>) {
        self.prepared.push(bytes);
    }

    /// Bytes for the current file, and then those that were prepared.
    pub fn push(&mut self, bytes: Vec<u8>) {
        let mut state = self.shared.lock();
        let later = self.prepared.drain(..).rev().map(|bytes| Piece { bytes, in_next_file: true });
        for piece in [Piece { bytes, in_next_file: false }].into_iter().chain(later) {
            state.queued += piece.bytes.len();
            state.pieces.push_back(piece);
        }
        self.shared.changed.notify_all();
    }

    /// A file for the pieces that wait for one.
    pub fn next_file(&mut self, file: OwnedFd) {
        self.shared.lock().files.push_back(file);
        self.shared.changed.notify_all();
    }

    /// Nothing more will come; wait at most `patience` for the thread to write it all.
    pub fn end(&mut self, patience: Duration) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, patience, |state| !state.ended);
        drop(waited);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// The thread's side.
struct Thread {
    shared: Arc<Shared>,
    file: File,
}

impl Thread {
    fn run(mut self) {
        while let Some(piece) = self.next() {
            let written = write_all(&mut self.file, &piece.bytes);
            let mut state = self.shared.lock();
            state.queued -= piece.bytes.len();
            if let Err(error) = written {
                state.error = Some(error.raw_os_error().unwrap_or(libc::EIO));
                state.pieces.clear();
                state.queued = 0;
                break;
            }
        }
        // The file first: who learns of the end may read it.
        drop(self.file);
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }

    /// The next piece, with its file in place; `None` at the end.
    fn next(&mut self) -> Option<Piece> {
        let mut state = self.shared.lock();
        loop {
            let needs_file = state.pieces.front().map(|piece| piece.in_next_file);
            if needs_file == Some(false) || (needs_file == Some(true) && !state.files.is_empty()) {
                break;
            }
            if state.closed {
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let piece = state.pieces.pop_front()?;
        if piece.in_next_file {
            self.file = state.files.pop_front().map(File::from)?;
        }
        Some(piece)
    }
}

/// Write everything, also to a pipe or socket that was set not to block.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds =
                    [rustix::event::PollFd::from_borrowed_fd(file.as_fd(), rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut fds, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    const LONG: Duration = Duration::from_secs(10);

    fn pair() -> (UnixStream, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ours, theirs.into())
    }

    fn all(mut stream: UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn everything_is_written_before_the_end_is_told() {
        let ((file, theirs), (done, held)) = (pair(), pair());
        let mut writer = Writer::start(theirs, held).unwrap();
        (0..10).for_each(|n| writer.push(vec![n; 1000]));
        drop(writer);
        assert!(all(done).is_empty());
        assert_eq!(all(file).len(), 10_000);
    }

    #[test]
    fn a_new_file_gets_what_was_prepared_for_it_and_is_waited_for() {
        let ((one, first), (two, second), (three, third), (_done, held)) = (pair(), pair(), pair(), pair());
        let mut writer = Writer::start(first, held).unwrap();
        writer.prepare(b"three".to_vec());
        writer.prepare(b"two".to_vec());
        writer.push(b"one".to_vec());
        writer.push(b", more".to_vec());
        writer.next_file(second);
        writer.next_file(third);
        writer.end(LONG);
        assert_eq!(
            (all(one), all(two), all(three)),
            (b"one".to_vec(), b"two".to_vec(), b"three, more".to_vec())
        );
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let ((file, theirs), (_done, held)) = (pair(), pair());
        rustix::io::ioctl_fionbio(&theirs, true).unwrap();
        let mut writer = Writer::start(theirs, held).unwrap();
        (0..100).for_each(|_| writer.push(vec![1; 100_000]));
        assert!(writer.queued() > 1_000_000);
        writer.end(Duration::from_millis(1));
        drop(writer);
        assert_eq!(all(file).len(), 10_000_000);
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error() {
        let ((file, theirs), (_done, held)) = (pair(), pair());
        drop(file);
        let mut writer = Writer::start(theirs, held).unwrap();
        writer.push(vec![1; 10]);
        writer.end(LONG);
        assert_eq!(writer.error().unwrap().raw_os_error(), Some(libc::EPIPE));
        assert_eq!(writer.queued(), 0);
    }
}
