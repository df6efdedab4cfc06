//! Whose turn it is to ask at an address, among all who ask in this process: one at a time, with a rest between two.
//!
//! Who has time does not stand in the way of who has none: of all who ask patiently at an address one at most waits with the others.
//! Where an address can't be reached, who waited for it meanwhile hears the same. Who waits for a turn has no place, and who waits for
//! a place has no turn: neither keeps from others what nobody uses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Queue, OwnedMutexGuard, Semaphore};
use tokio::time::{Instant, sleep};

use super::{APART, AT_ONCE, NotPresented, Stage};

/// Who waits where.
#[derive(Clone, Debug)]
pub struct Turns {
    lanes: Arc<Mutex<Lanes>>,
    /// For those who are patient.
    places: Arc<Semaphore>,
    /// How long an address rests.
    apart: Duration,
}

/// The lanes, each with how many are in it.
type Lanes = HashMap<SocketAddr, (Arc<Lane>, usize)>;

/// Those who ask at an address.
#[derive(Debug, Default)]
struct Lane {
    /// Who has it asks; when and why it could not be reached last.
    turn: Arc<Queue<Unreached>>,
    patient: Queue<()>,
}

type Unreached = Option<(Instant, NotPresented)>;

impl Default for Turns {
    fn default() -> Turns {
        Turns { lanes: Arc::default(), places: Arc::new(Semaphore::new(AT_ONCE)), apart: APART }
    }
}

impl Turns {
    /// Asks at an address when it is the turn.
    pub async fn ask<T, F>(&self, address: SocketAddr, ask: impl FnOnce() -> F) -> Result<T, NotPresented>
    where
        F: Future<Output = Result<T, NotPresented>>,
    {
        let (since, standing) = (Instant::now(), self.stand(address));
        let turn = standing.turn(since).await?;
        Turn(Some((turn, standing))).ask(ask).await
    }

    /// The same for who has time; so many ask at once at all addresses together.
    pub async fn ask_patiently<T, F>(&self, address: SocketAddr, ask: impl FnOnce() -> F) -> Result<T, NotPresented>
    where
        F: Future<Output = Result<T, NotPresented>>,
    {
        let (since, standing) = (Instant::now(), self.stand(address));
        let lane = Arc::clone(&standing.lane);
        let first = lane.patient.lock().await;
        let (turn, _place) = loop {
            let turn = standing.turn(since).await?;
            if let Ok(place) = self.places.try_acquire() {
                break (turn, place);
            }
            drop(turn);
            // Meanwhile the turn is only taken by who has no time: that is seldom.
            if let (Ok(place), Some(turn)) = (self.places.acquire().await, standing.turn_at_once(since)?) {
                break (turn, place);
            }
        };
        drop(first);
        Turn(Some((turn, standing))).ask(ask).await
    }

    fn stand(&self, address: SocketAddr) -> Standing {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let (lane, standing) = lanes.entry(address).or_default();
        *standing += 1;
        Standing { turns: self.clone(), address, lane: Arc::clone(lane) }
    }
}

/// Somebody in a lane.
struct Standing {
    turns: Turns,
    address: SocketAddr,
    lane: Arc<Lane>,
}

impl Standing {
    /// Waits for the turn; an error: the address could not be reached since then.
    async fn turn(&self, since: Instant) -> Result<OwnedMutexGuard<Unreached>, NotPresented> {
        reached_since(since, Arc::clone(&self.lane.turn).lock_owned().await)
    }

    /// The turn, where it is nobody's.
    fn turn_at_once(&self, since: Instant) -> Result<Option<OwnedMutexGuard<Unreached>>, NotPresented> {
        let turn = Arc::clone(&self.lane.turn).try_lock_owned().ok();
        turn.map(|turn| reached_since(since, turn)).transpose()
    }
}

fn reached_since(since: Instant, turn: OwnedMutexGuard<Unreached>) -> Result<OwnedMutexGuard<Unreached>, NotPresented> {
    match &*turn {
        Some((at, why)) if *at >= since => Err(why.clone()),
        _ => Ok(turn),
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut lanes = self.turns.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut lane) = lanes.entry(self.address) else { return };
        lane.get_mut().1 -= 1;
        if lane.get().1 == 0 {
            lane.remove();
        }
    }
}

/// It is somebody's turn as long as this is there, and nobody's for a rest after.
struct Turn(Option<(OwnedMutexGuard<Unreached>, Standing)>);

impl Turn {
    async fn ask<T, F>(mut self, ask: impl FnOnce() -> F) -> Result<T, NotPresented>
    where
        F: Future<Output = Result<T, NotPresented>>,
    {
        // Thousands wait, and few ask: a conversation takes no room before it begins.
        let said = Box::pin(ask()).await;
        if let Some((turn, _)) = &mut self.0 {
            let failure = said.as_ref().err().filter(|why| is_unreachable(why));
            **turn = failure.map(|why| (Instant::now(), why.clone()));
        }
        said
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((turn, standing)) = self.0.take() else { return };
        let apart = standing.turns.apart;
        // Where nothing runs any more nobody asks.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(apart).await;
                drop((turn, standing));
            });
        }
    }
}

/// Whether nobody is to be spoken to at an address, whatever name is asked for.
fn is_unreachable(why: &NotPresented) -> bool {
    use NotPresented::{Refused, TimedOut, Unreachable};
    matches!(why, Refused | Unreachable(_) | TimedOut(Stage::Connecting | Stage::Banner))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    const REST: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(20);

    fn turns() -> Turns {
        Turns { apart: REST, ..Turns::default() }
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    /// Nobody is left in a lane.
    async fn is_left(turns: &Turns) -> bool {
        let empty = async {
            while !turns.lanes.lock().unwrap().is_empty() {
                sleep(REST).await;
            }
        };
        tokio::time::timeout(LONG, empty).await.is_ok() && turns.places.available_permits() == AT_ONCE
    }

    #[tokio::test]
    async fn hundreds_at_one_address_ask_one_after_the_other_and_keep_nobody_elsewhere_waiting() {
        let (turns, begun) = (turns(), Instant::now());
        let (under_way, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut asking = JoinSet::new();
        for _ in 0..300 {
            let (turns, under_way, asked) = (turns.clone(), Arc::clone(&under_way), Arc::clone(&asked));
            asking.spawn(async move {
                let ask = || async {
                    assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0);
                    sleep(REST).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    asked.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                turns.ask_patiently(at(1), ask).await
            });
        }
        while asked.load(Ordering::SeqCst) < 5 {
            sleep(REST).await;
        }
        for address in (2..60).map(at) {
            turns.ask_patiently(address, || async { Ok(()) }).await.unwrap();
        }
        let before = asked.load(Ordering::SeqCst);
        turns.ask(at(1), || async { Ok(()) }).await.unwrap();
        let ahead = asked.load(Ordering::SeqCst) - before;
        assert!(ahead <= 2, "who has no time waits for two at most: {ahead}");
        assert!(before < 300, "others elsewhere are long done");
        assert!(asking.join_all().await.into_iter().all(|said| said.is_ok()));
        assert!(begun.elapsed() >= 300 * 2 * REST, "{:?}", begun.elapsed());
        assert!(is_left(&turns).await);
    }

    #[tokio::test]
    async fn who_waited_for_an_address_that_can_t_be_reached_hears_it_and_who_comes_later_asks() {
        let (turns, asked, fail) = (turns(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = |why: NotPresented| {
            let (turns, asked, fail) = (turns.clone(), Arc::clone(&asked), Arc::clone(&fail));
            async move {
                let ask = || async {
                    asked.fetch_add(1, Ordering::SeqCst);
                    fail.notified().await;
                    Err::<(), _>(why)
                };
                turns.ask_patiently(at(1), ask).await
            }
        };
        let timed_out = NotPresented::TimedOut(Stage::Connecting);
        let mut asking: JoinSet<_> = (0..1000).map(|_| ask(timed_out.clone())).collect();
        while asked.load(Ordering::SeqCst) == 0 {
            sleep(REST).await;
        }
        fail.notify_one();
        while let Some(said) = asking.join_next().await {
            assert_eq!(said.unwrap(), Err(timed_out.clone()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        fail.notify_one();
        assert_eq!(ask(timed_out.clone()).await, Err(timed_out.clone()));
        assert_eq!(asked.load(Ordering::SeqCst), 2, "what is to be confirmed is seen anew");
        // What is said to one name is not said to another.
        let alert = NotPresented::Alert("UnrecognisedName".to_owned());
        let mut asking: JoinSet<_> = (0..3).map(|_| ask(alert.clone())).collect();
        for _ in 0..3 {
            fail.notify_one();
            assert_eq!(asking.join_next().await.unwrap().unwrap(), Err(alert.clone()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 5);
        assert!(is_left(&turns).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_those_who_heard_it_from_others_nobody_is_left() {
        let turns = turns();
        for address in (1..200).map(at) {
            let ask = || {
                let turns = turns.clone();
                let refused = || async {
                    sleep(REST).await;
                    Err::<(), _>(NotPresented::Refused)
                };
                async move { turns.ask_patiently(address, refused).await }
            };
            let asking: JoinSet<_> = (0..3).map(|_| ask()).collect();
            assert_eq!(asking.join_all().await, [const { Err(NotPresented::Refused) }; 3]);
        }
        assert!(is_left(&turns).await, "{:?}", turns.lanes);
    }

    #[tokio::test]
    async fn who_waits_for_a_place_keeps_nobody_who_has_no_time_waiting() {
        let (turns, enough) = (turns(), Arc::new(Notify::new()));
        let ask = |address: SocketAddr| {
            let (turns, enough) = (turns.clone(), Arc::clone(&enough));
            let ask = || async move {
                enough.notified().await;
                Ok(())
            };
            async move { turns.ask_patiently(address, ask).await }
        };
        let mut asking: JoinSet<_> = (0..AT_ONCE as u8).map(at).map(ask).collect();
        while turns.places.available_permits() > 0 {
            sleep(REST).await;
        }
        (100..104).map(at).map(ask).for_each(|asking_too| drop(asking.spawn(asking_too)));
        sleep(4 * REST).await;
        for address in (100..104).map(at) {
            let asked = tokio::time::timeout(LONG, turns.ask(address, || async { Ok(()) })).await;
            assert_eq!(asked.expect("nobody is asked there"), Ok(()));
        }
        while !asking.is_empty() {
            enough.notify_one();
            while let Ok(Some(said)) = tokio::time::timeout(REST, asking.join_next()).await {
                assert_eq!(said.unwrap(), Ok(()));
            }
        }
        assert!(is_left(&turns).await);
    }

    #[tokio::test]
    async fn who_gives_up_makes_room() {
        let turns = turns();
        let asking = turns.ask_patiently(at(1), std::future::pending::<Result<(), NotPresented>>);
        assert!(tokio::time::timeout(REST, asking).await.is_err());
        let begun = Instant::now();
        turns.ask(at(1), || async { Ok(()) }).await.unwrap();
        assert!(begun.elapsed() >= REST, "{:?}", begun.elapsed());
        assert!(is_left(&turns).await);
    }

    #[tokio::test]
    async fn so_many_are_spoken_to_at_once() {
        let (turns, under_way, most) = (turns(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut asking = JoinSet::new();
        for last in 0..3 * AT_ONCE as u8 {
            let (turns, under_way, most) = (turns.clone(), Arc::clone(&under_way), Arc::clone(&most));
            asking.spawn(async move {
                let ask = || async {
                    most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(20 * REST).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                turns.ask_patiently(at(last), ask).await
            });
        }
        assert!(asking.join_all().await.into_iter().all(|said| said.is_ok()));
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }
}
