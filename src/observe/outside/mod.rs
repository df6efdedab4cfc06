//! Asks how the world sees zones, mail domains and mail servers: through a resolver whose answers are validated here, and of the servers
//! themselves. Never sends mail.
//!
//! What to look at comes in as orders; what was seen goes out as news. What it means, and when to look again, is decided elsewhere.

mod domain;
pub mod elsewhere;
mod host;
mod resolver;
pub mod survey;
pub mod zone;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::presented::Turns;
use crate::config::Outside;
use crate::dns::Timestamp;
use crate::outside::reports::{self, Unreadable};
use crate::outside::{Failure, Fault, Seen, Subject, Wanted};
use resolver::Resolver;

pub use host::DOMAINS_MAX;

/// So many subjects are looked at at a time.
const AT_ONCE: usize = 16;

/// How long a look may take, but for what mail servers are asked, where each question has its own time: nobody who answers slowly keeps
/// others waiting.
const LIMIT: Duration = Duration::from_secs(180);

/// Something that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it is.
    pub wanted: Arc<Wanted>,
    /// Whom to ask, and what to trust.
    pub outside: Arc<Outside>,
}

/// What was seen of it.
#[derive(Debug)]
pub struct News {
    /// What was to be looked at, and how.
    pub order: Order,
    /// From outside; an error: nothing can be validated from here.
    pub seen: Result<Seen, Failure>,
}

/// Looks at each subject that it is ordered to, until nobody can order any more. Mail servers are asked when it is their turn: who waits
/// for that has no place, and no time runs. What is looked at already is not looked at once more for the same order.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>, turns: Turns) {
    let (places, under_way) = (Arc::new(Semaphore::new(AT_ONCE)), UnderWay::default());
    while let Some(order) = orders.recv().await {
        let Some(mark) = under_way.begin(&order) else { continue };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (news, turns) = (news.clone(), turns.clone());
        tokio::spawn(async move {
            let begun = begin(&order.wanted, &order.outside).await;
            drop(place);
            let seen = match begun {
                Ok(begun) => Ok(begun.finish(&turns).await),
                Err(failure) => Err(failure),
            };
            drop(mark);
            // Who wants to know may have gone.
            let _ = news.send(News { order, seen }).await;
        });
    }
}

/// The newest orders that are carried out.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<Subject, Order>>>);

/// An order is under way as long as this is there.
struct Mark(UnderWay, Order);

impl UnderWay {
    /// None: it is under way.
    fn begin(&self, order: &Order) -> Option<Mark> {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = orders.insert(order.wanted.subject(), order.clone());
        (before.as_ref() != Some(order)).then(|| Mark(self.clone(), order.clone()))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let (Mark(UnderWay(orders), order), subject) = (&*self, self.1.wanted.subject());
        let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.get(&subject) == Some(order) {
            orders.remove(&subject);
        }
    }
}

/// How far a look is when every resolver has answered.
enum Begun {
    /// All is seen.
    Seen(Seen),
    /// A host is to be asked what it presents.
    Host(host::Found),
}

impl Begun {
    async fn finish(self, turns: &Turns) -> Seen {
        match self {
            Begun::Seen(seen) => seen,
            Begun::Host(found) => Seen::Host(host::ask_all(found, turns).await),
        }
    }
}

/// Looks at a subject from outside.
pub async fn look(wanted: &Wanted, outside: &Outside, turns: &Turns) -> Result<Seen, Failure> {
    Ok(begin(wanted, outside).await?.finish(turns).await)
}

async fn begin(wanted: &Wanted, outside: &Outside) -> Result<Begun, Failure> {
    timeout(LIMIT, Box::pin(begin_without_end(wanted, outside))).await.unwrap_or_else(|_| {
        let why = format!("it takes longer than {} s", LIMIT.as_secs());
        Err(Failure { fault: Fault::NoEnd, why })
    })
}

async fn begin_without_end(wanted: &Wanted, outside: &Outside) -> Result<Begun, Failure> {
    Ok(Begun::Seen(match wanted {
        Wanted::Host { host, domains, services, .. } => {
            let resolver = Resolver::new(outside, host).await?;
            return Ok(Begun::Host(host::find(&resolver, host, domains, services).await));
        }
        Wanted::Zone { apex, owners, .. } => {
            Seen::Zone(Box::new(zone::look(&Resolver::new(outside, apex).await?, apex, owners).await))
        }
        Wanted::Domain { domain, selectors } => Seen::Domain(Box::new(
            domain::look(&Resolver::new(outside, domain).await?, domain, selectors.as_deref()).await,
        )),
        Wanted::Reports { folder, .. } => Seen::Reports(read(folder.clone()).await),
    }))
}

/// What senders have reported; a folder that can't be read is told like a file.
pub async fn read(folder: PathBuf) -> reports::Seen {
    let file = folder.display().to_string();
    let said =
        tokio::task::spawn_blocking(move || super::reports::read(&folder).map_err(|error| error.to_string())).await;
    said.unwrap_or_else(|_| Err("a bug: reading it panicked".to_owned())).unwrap_or_else(|why| reports::Seen {
        reports: Vec::new(),
        unreadable: vec![Unreadable { file, why, at: Timestamp::MAX }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_looked_at_once_at_a_time_and_what_is_wanted_otherwise_at_once() {
        let order = |selectors| Order {
            wanted: Arc::new(Wanted::Domain { domain: "example.org".parse().unwrap(), selectors }),
            outside: Arc::default(),
        };
        let (one, other, under_way) = (order(None), order(Some(Vec::new())), UnderWay::default());
        let first = under_way.begin(&one).unwrap();
        assert!(under_way.begin(&order(None)).is_none());
        let second = under_way.begin(&other).unwrap();
        drop(first);
        assert!(under_way.begin(&other).is_none(), "the newer one is under way");
        drop(second);
        assert!(under_way.begin(&one).is_some() && under_way.0.lock().unwrap().is_empty());
    }
}
