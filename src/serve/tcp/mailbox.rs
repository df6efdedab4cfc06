//! Where a thread that waits for events is brought the responses that come later.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// A response: to which connection, by which letter.
pub(super) struct Letter {
    pub(super) slot: usize,
    pub(super) number: u64,
    pub(super) response: Box<[u8]>,
}

/// One thread's.
pub(super) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    numbers: AtomicU64,
    event: OwnedFd,
}

impl Mailbox {
    pub(super) fn new() -> std::io::Result<Mailbox> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Mailbox { letters: Mutex::default(), numbers: AtomicU64::new(0), event })
    }

    /// Ready to be read when there are letters.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// All that have come.
    pub(super) fn empty(&self) -> Vec<Letter> {
        // Before they are taken: one that comes in between is told of once more.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, letter: Letter) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        // It fails only where its count is as high as it can be: it is ready then.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}

/// A connection's.
pub(super) struct Address {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) slot: usize,
}

impl Address {
    /// The number of a letter to come, and what sends it.
    pub(super) fn letter(&self) -> (u64, impl FnOnce(&[u8]) + Send + use<>) {
        let (mailbox, slot) = (Arc::clone(&self.mailbox), self.slot);
        let number = mailbox.numbers.fetch_add(1, Ordering::Relaxed);
        (number, move |response: &[u8]| mailbox.put(Letter { slot, number, response: response.into() }))
    }
}
