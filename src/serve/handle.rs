//! Threads that answer over UDP and TCP, and how they end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

use super::ServeError;

/// Serving goes on while this lives; dropping it stops it.
pub struct Handle {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
}

impl Handle {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Result<Handle, ServeError> {
        let stop = Arc::new(Stop::new().map_err(ServeError::Start)?);
        Ok(Handle { stop, threads: Vec::new(), addresses })
    }

    pub(super) fn stop(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    pub(super) fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), ServeError> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(work).map_err(ServeError::Start)?);
        Ok(())
    }

    /// Where it listens, ports filled in; UDP and TCP share them.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops: no query is read any more, and what is being answered is finished. Takes up to 200 ms.
    pub fn shutdown(mut self) {
        self.stop_all();
    }

    fn stop_all(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// A word to all threads: a flag for those that look from time to time, an event for those that wait for events.
pub(super) struct Stop {
    set: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    fn new() -> io::Result<Stop> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop { set: AtomicBool::new(false), event })
    }

    fn set(&self) {
        self.set.store(true, Ordering::Relaxed);
        // It fails only where its count is as high as it can be: it is ready then.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Ready to be read once it is set.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
