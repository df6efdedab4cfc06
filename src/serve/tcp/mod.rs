//! DNS over TCP (RFC 7766): a thread a core, each with listeners and connections of its own, and epoll to tell which of them are ready.
//!
//! A wakeup answers from one snapshot whatever has arrived on all of its connections. Only waiting for events waits; who is slow is
//! found by a look at all connections once a second.

mod connection;
mod mailbox;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tracing::warn;

use super::clients::Clients;
use super::counters::Tally;
use super::handle::Stop;
use super::{Answerer, Occasionally, TcpLimits};
use connection::{Arrived, Buffers, Connection, Wants};
use mailbox::{Address, Letter, Mailbox};

/// Events taken at once.
const EVENTS: usize = 128;
/// What tells that there are letters.
const MAILBOX: u64 = u64::MAX - 1;
/// So many queries are told of together.
const TOGETHER: usize = 64;
/// Connections that are accepted of a listener before others have their turn.
const ACCEPTED_AT_ONCE: usize = 64;
/// How often is looked who is too slow.
const LOOK: Duration = Duration::from_secs(1);
/// How long accepting rests after an error of the system: out of descriptors, say.
const ERROR_REST: Duration = Duration::from_millis(100);

/// One thread's listeners, connections and buffers.
pub(super) struct Server {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    /// Until when nothing is accepted.
    resting: Option<Instant>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffers: Buffers,
    /// What is in the buffers, by connection.
    arrived: Vec<(usize, Arrived)>,
    clients: Arc<Clients>,
    limits: TcpLimits,
    tally: Tally,
    mailbox: Arc<Mailbox>,
    stop: Arc<Stop>,
}

impl Server {
    pub(super) fn new(
        listeners: Vec<TcpListener>,
        clients: Arc<Clients>,
        limits: TcpLimits,
        tally: Tally,
        stop: Arc<Stop>,
    ) -> std::io::Result<Server> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, listener) in listeners.iter().enumerate() {
            epoll::add(&epoll, listener, EventData::new_u64(index as u64), EventFlags::IN)?;
        }
        // Never read, so it stays ready and wakes every thread.
        epoll::add(&epoll, stop.event(), EventData::new_u64(u64::MAX), EventFlags::IN)?;
        let mailbox = Arc::new(Mailbox::new()?);
        epoll::add(&epoll, mailbox.event(), EventData::new_u64(MAILBOX), EventFlags::IN)?;
        Ok(Server {
            epoll,
            listeners,
            resting: None,
            connections: Vec::new(),
            free: Vec::new(),
            buffers: Buffers::new(limits.query_size),
            arrived: Vec::with_capacity(EVENTS),
            clients,
            limits,
            tally,
            mailbox,
            stop,
        })
    }

    /// Answers until it is stopped. No client ends it.
    pub(super) fn run(mut self, answerer: &dyn Answerer) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut looked = Instant::now();
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.patience().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    static WAITING: Occasionally = Occasionally::new();
                    WAITING.run(|before| warn!("waiting for TCP: {error} ({before} times before)"));
                    std::thread::sleep(ERROR_REST);
                }
            }
            if self.stop.is_set() {
                return;
            }
            let now = Instant::now();
            answerer.batch(&mut |view| {
                for event in &events {
                    self.take(*event, view, now);
                }
                self.answer(view, now);
            });
            if now.duration_since(looked) >= LOOK {
                looked = now;
                self.close_the_slow(now);
            }
            if self.resting.is_some_and(|until| now >= until) {
                self.resting = None;
                self.listen_for(EventFlags::IN);
            }
        }
    }

    /// How long to wait at most: as long as one likes where nobody can become slow.
    fn patience(&self) -> Option<Timespec> {
        let longest = if self.resting.is_some() { ERROR_REST } else { LOOK };
        let anybody = self.connections.len() > self.free.len() || self.resting.is_some();
        anybody.then(|| longest.try_into().ok()).flatten()
    }

    fn take(&mut self, event: Event, view: &dyn Answerer, now: Instant) {
        if event.data.u64() == MAILBOX {
            return self.take_letters(view, now);
        }
        let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        match at.checked_sub(self.listeners.len()) {
            None => self.accept(at, now),
            Some(slot) => self.gather(slot, view, now),
        }
    }

    /// Takes what has arrived on a connection; answers all that was taken when there is no room for more.
    fn gather(&mut self, slot: usize, view: &dyn Answerer, now: Instant) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { return };
        // Errors end the connection and are the client's business only.
        match connection.gather(&mut self.buffers, now) {
            Ok(Some(arrived)) => self.arrived.push((slot, arrived)),
            Ok(None) => {}
            Err(_) => self.close(slot),
        }
        if self.buffers.is_full() {
            self.answer(view, now);
        }
    }

    /// Hands out the responses that came later; what has arrived behind their queries is answered then.
    fn take_letters(&mut self, view: &dyn Answerer, now: Instant) {
        for Letter { slot, number, response } in self.mailbox.empty() {
            let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else { continue };
            match connection.take_letter(number, &response, now) {
                Ok(true) if self.watch(slot) => self.gather(slot, view, now),
                Ok(false) => {}
                _ => self.close(slot),
            }
        }
    }

    /// Asks to be told of what a connection wants now; false where that can't be.
    fn watch(&mut self, slot: usize) -> bool {
        let token = self.token(slot);
        let Some(connection) = self.connections[slot].as_mut() else { return false };
        let wants = connection.wants();
        wants == connection.watched || {
            connection.watched = wants;
            epoll::modify(&self.epoll, connection.stream(), token, flags(wants)).is_ok()
        }
    }

    fn prefetch(&self, view: &dyn Answerer) {
        let mut queries = [&[][..]; TOGETHER];
        let mut all = self.arrived.iter().flat_map(|(_, arrived)| self.buffers.queries(arrived)).peekable();
        while all.peek().is_some() {
            let taken = queries.iter_mut().zip(&mut all).map(|(place, query)| *place = query).count();
            view.prefetch(&queries[..taken]);
        }
    }

    /// Answers what was gathered.
    fn answer(&mut self, view: &dyn Answerer, now: Instant) {
        self.prefetch(view);
        let mut gathered = std::mem::take(&mut self.arrived);
        for (slot, arrived) in gathered.drain(..) {
            let Some(connection) = self.connections[slot].as_mut() else { continue };
            let open = connection.answer(&arrived, &mut self.buffers, view, &self.tally, now).unwrap_or(false);
            if !open || !self.watch(slot) {
                self.close(slot);
            }
        }
        self.arrived = gathered;
        self.buffers.clear();
    }

    fn token(&self, slot: usize) -> EventData {
        EventData::new_u64((self.listeners.len() + slot) as u64)
    }

    fn close(&mut self, slot: usize) {
        if self.connections[slot].take().is_some() {
            self.free.push(slot);
        }
    }

    fn close_the_slow(&mut self, now: Instant) {
        for slot in 0..self.connections.len() {
            if self.connections[slot].as_ref().is_some_and(|connection| connection.is_too_slow(&self.limits, now)) {
                self.close(slot);
            }
        }
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(&self.listeners[listener], flags) {
                Ok((stream, peer)) => {
                    if let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
                        self.admit(stream.into(), peer, now);
                    }
                }
                Err(Errno::AGAIN) => return,
                // It was gone before its turn came.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    static ACCEPTING: Occasionally = Occasionally::new();
                    ACCEPTING.run(|before| warn!("accepting over TCP: {error} ({before} times before)"));
                    self.resting = Some(now + ERROR_REST);
                    self.listen_for(EventFlags::empty());
                    return;
                }
            }
        }
    }

    /// A client beyond the limits is closed at once (RFC 7766 section 6.2.2 lets a server do so).
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        let stream = Arc::new(stream);
        let Some(place) = self.clients.enter_with(peer, &stream) else { return };
        let _ = stream.set_nodelay(true);
        let slot = self.free.pop().unwrap_or(self.connections.len());
        if slot == self.connections.len() {
            self.connections.push(None);
        }
        if epoll::add(&self.epoll, &*stream, self.token(slot), flags(Wants::Queries)).is_err() {
            self.free.push(slot);
            return;
        }
        let address = Address { mailbox: Arc::clone(&self.mailbox), slot };
        self.connections[slot] = Some(Connection::new(stream, peer, place, address, now));
    }

    fn listen_for(&self, flags: EventFlags) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let _ = epoll::modify(&self.epoll, listener, EventData::new_u64(index as u64), flags);
        }
    }
}

fn flags(wants: Wants) -> EventFlags {
    match wants {
        Wants::Queries => EventFlags::IN,
        Wants::Room => EventFlags::OUT,
        Wants::Answer => EventFlags::empty(),
    }
}
