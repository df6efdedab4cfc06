//! Asks how the world sees zones, mail domains and mail servers: through a resolver whose answers are validated here, and of the servers
//! themselves. Never sends mail.
//!
//! What to look at comes in as orders; what was seen goes out as news. What it means, and when to look again, is decided elsewhere.

mod domain;
mod host;
mod resolver;
pub mod survey;
pub mod zone;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::presented::Turns;
use crate::config::Outside;
use crate::dns::Timestamp;
use crate::outside::reports::{self, Unreadable};
use crate::outside::{Failure, Fault, Seen, Wanted};
use resolver::Resolver;

/// So many subjects are looked at at a time.
const AT_ONCE: usize = 16;

/// How long a look may take: nobody who answers slowly keeps others waiting.
const LIMIT: Duration = Duration::from_secs(180);

/// Something that is to be looked at.
#[derive(Clone, Debug)]
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

/// Looks at each subject that it is ordered to, until nobody can order any more. Mail servers are asked when it is their turn.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>, turns: Turns) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(order) = orders.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (news, turns) = (news.clone(), turns.clone());
        tokio::spawn(async move {
            let seen = timeout(LIMIT, look(&order.wanted, &order.outside, &turns)).await.unwrap_or_else(|_| {
                let why = format!("it takes longer than {} s", LIMIT.as_secs());
                Err(Failure { fault: Fault::NoEnd, why })
            });
            // Who wants to know may have gone.
            let _ = news.send(News { order, seen }).await;
            drop(place);
        });
    }
}

/// Looks at a subject from outside.
pub async fn look(wanted: &Wanted, outside: &Outside, turns: &Turns) -> Result<Seen, Failure> {
    Ok(match wanted {
        Wanted::Zone { apex, owners, .. } => {
            Seen::Zone(Box::new(zone::look(&Resolver::new(outside, apex).await?, apex, owners).await))
        }
        Wanted::Host { host, domains, services, .. } => {
            Seen::Host(host::look(&Resolver::new(outside, host).await?, host, domains, services, turns).await)
        }
        Wanted::Domain { domain, selectors } => Seen::Domain(Box::new(
            domain::look(&Resolver::new(outside, domain).await?, domain, selectors.as_deref()).await,
        )),
        Wanted::Reports { folder, .. } => Seen::Reports(read(folder.clone()).await),
    })
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
