//! Who is connected: counts connections in all and of each address, and makes room in a full house.
//!
//! When every place is taken, whoever has been silent longest goes (RFC 7766 section 6.2.3 lets a server close idle
//! connections as it needs): a thousand clients that hold connections and say nothing keep nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::warn;

use super::Occasionally;

/// Whoever was heard of within this time is never sent away for another.
const PATIENCE: Duration = Duration::from_millis(500);

/// The connections of one kind: TCP, say, or unfinished TLS handshakes.
pub(super) struct Clients {
    what: &'static str,
    total: usize,
    per_address: usize,
    began: Instant,
    taken: Mutex<Taken>,
    full: Occasionally,
    many: Occasionally,
}

#[derive(Default)]
struct Taken {
    next: u64,
    places: HashMap<u64, Arc<Seat>>,
    by_address: HashMap<IpAddr, usize>,
    accepted: u64,
    refused: u64,
}

struct Seat {
    address: IpAddr,
    /// When its client was last heard of, milliseconds since `began`.
    heard: AtomicU64,
    leave: Leave,
}

/// How whoever keeps a connection learns that its place is needed.
enum Leave {
    /// It waits for this.
    Told(Notify),
    /// The connection ends under its hands.
    ShutDown(Arc<TcpStream>),
}

/// A counted connection; its drop takes it off the count.
pub(super) struct Place {
    clients: Arc<Clients>,
    number: u64,
    seat: Arc<Seat>,
}

impl Clients {
    /// `what` names them in the log.
    pub(super) fn new(what: &'static str, total: usize, per_address: usize) -> Arc<Clients> {
        Arc::new(Clients {
            what,
            total,
            per_address,
            began: Instant::now(),
            taken: Mutex::default(),
            full: Occasionally::new(),
            many: Occasionally::new(),
        })
    }

    /// A place for a connection of `peer`; none when it has to be turned away.
    pub(super) fn enter(self: &Arc<Clients>, peer: SocketAddr) -> Option<Place> {
        self.take(peer, Leave::Told(Notify::new()))
    }

    /// [`Clients::enter`] for a connection that is shut down when its place is needed.
    pub(super) fn enter_with(self: &Arc<Clients>, peer: SocketAddr, stream: &Arc<TcpStream>) -> Option<Place> {
        self.take(peer, Leave::ShutDown(Arc::clone(stream)))
    }

    fn take(self: &Arc<Clients>, peer: SocketAddr, leave: Leave) -> Option<Place> {
        let address = counted_address(peer.ip());
        let mut taken = self.taken();
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.per_address {
            taken.refused += 1;
            drop(taken);
            let what = self.what;
            self.many.run(|before| {
                warn!("{of_address} {what} of {address}, one more is turned away ({before} before it)");
            });
            return None;
        }
        if taken.places.len() >= self.total && !self.send_one_away(&mut taken) {
            taken.refused += 1;
            drop(taken);
            let (what, limit) = (self.what, self.total);
            self.full.run(|before| warn!("{limit} {what}, {peer} is turned away ({before} before it)"));
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        taken.accepted += 1;
        let seat = Arc::new(Seat { address, heard: AtomicU64::new(self.at(Instant::now())), leave });
        taken.places.insert(number, Arc::clone(&seat));
        *taken.by_address.entry(address).or_default() += 1;
        Some(Place { clients: Arc::clone(self), number, seat })
    }

    /// Whether a quarter of the places is taken, of all or of this address's: time to ask who is really there.
    pub(super) fn is_pressed_by(&self, peer: SocketAddr) -> bool {
        let taken = self.taken();
        let of_address = taken.by_address.get(&counted_address(peer.ip())).copied().unwrap_or(0);
        taken.places.len() >= self.total.div_ceil(4) || of_address >= self.per_address.div_ceil(4)
    }

    /// How many have a place, how many ever got one, and how many got none.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let taken = self.taken();
        (taken.places.len() as u64, taken.accepted, taken.refused)
    }

    fn send_one_away(&self, taken: &mut Taken) -> bool {
        let heard = |seat: &Seat| seat.heard.load(Ordering::Relaxed);
        let silent = taken.places.iter().min_by_key(|(_, seat)| heard(seat));
        let Some((&number, seat)) = silent else { return false };
        if self.at(Instant::now()).saturating_sub(heard(seat)) < PATIENCE.as_millis() as u64 {
            return false;
        }
        match &seat.leave {
            Leave::Told(notify) => notify.notify_one(),
            // Who is gone already needs no telling.
            Leave::ShutDown(stream) => drop(stream.shutdown(Shutdown::Both)),
        }
        taken.remove(number);
        true
    }

    fn at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Taken {
    fn remove(&mut self, number: u64) {
        let Some(seat) = self.places.remove(&number) else { return };
        if let Some(count) = self.by_address.get_mut(&seat.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&seat.address);
            }
        }
    }
}

impl Place {
    /// Its client was heard of.
    pub(super) fn heard(&self) {
        self.heard_at(Instant::now());
    }

    /// [`Place::heard`] for who has looked at the clock.
    pub(super) fn heard_at(&self, now: Instant) {
        self.seat.heard.store(self.clients.at(now), Ordering::Relaxed);
    }

    /// Ends when the place is needed for another client; never for a connection that is shut down then.
    pub(super) async fn must_leave(&self) {
        match &self.seat.leave {
            Leave::Told(notify) => notify.notified().await,
            Leave::ShutDown(_) => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.taken().remove(self.number);
    }
}

/// One IPv6 customer has at least a /64.
fn counted_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    #[test]
    fn places_are_counted_by_address_and_come_back() {
        let clients = Clients::new("connections", 3, 2);
        let first = clients.enter(peer("2001:db8::1")).unwrap();
        let _second = clients.enter(peer("2001:db8::2")).unwrap();
        assert!(clients.enter(peer("2001:db8::3")).is_none(), "one /64 is one client");
        let _third = clients.enter(peer("2001:db8:0:1::1")).unwrap();
        assert!(clients.enter(peer("192.0.2.1")).is_none(), "full, and nobody has been silent long");
        drop(first);
        assert_eq!(clients.taken().places.len(), 2);
        assert!(clients.enter(peer("2001:db8::3")).is_some());
    }

    #[tokio::test]
    async fn in_a_full_house_the_one_silent_longest_leaves_once() {
        let clients = Clients::new("connections", 2, 2);
        let talker = clients.enter(peer("192.0.2.1")).unwrap();
        let silent = clients.enter(peer("192.0.2.2")).unwrap();
        std::thread::sleep(PATIENCE * 2);
        talker.heard();
        let new = clients.enter(peer("192.0.2.3")).expect("room was made");
        tokio::time::timeout(Duration::from_secs(5), silent.must_leave()).await.expect("it is told so");
        assert!(tokio::time::timeout(Duration::ZERO, talker.must_leave()).await.is_err());
        drop(silent);
        assert_eq!(clients.taken().places.len(), 2, "its place was given away already");
        drop((talker, new));
        let taken = clients.taken();
        assert_eq!((taken.places.len(), taken.by_address.len()), (0, 0));
    }
}
