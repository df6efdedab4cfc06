//! Asks through the resolver what zones elsewhere say to an order of a certificate: what a name is an alias of, and who may issue there.
//!
//! What to ask comes in as orders; what was found goes out as news. What follows from it is decided elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::resolver::Resolver;
use crate::config::Outside;
use crate::dns::{Name, Rdata, Rtype};

/// So many questions are asked at a time.
const AT_ONCE: usize = 16;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What a name itself is an alias of.
    Alias(Name),
    /// The CAA records of a name, or of what it is an alias of; not of those above.
    Caa(Name),
}

/// A question, and whom to ask.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is asked.
    pub question: Question,
    /// Whom to ask, and what to trust.
    pub outside: Arc<Outside>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The records; none: there are none.
    pub records: Vec<Rdata>,
    /// What they were found at, where the name is an alias of it.
    pub alias: Option<Name>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The order's.
    pub question: Question,
    /// What was found, or why that can't be told.
    pub said: Result<Found, String>,
}

/// Asks what it is ordered to until nobody can order any more.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Order { question, outside }) = orders.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let news = news.clone();
        tokio::spawn(async move {
            let late = |_| Err(format!("it takes longer than {} s", LIMIT.as_secs()));
            let said = timeout(LIMIT, Box::pin(ask(&question, &outside))).await.unwrap_or_else(late);
            drop(place);
            // Who wants to know may have gone.
            let _ = news.send(News { question, said }).await;
        });
    }
}

async fn ask(question: &Question, outside: &Outside) -> Result<Found, String> {
    let (Question::Alias(owner) | Question::Caa(owner)) = question;
    let rtype = if matches!(question, Question::Alias(_)) { Rtype::CNAME } else { Rtype::CAA };
    let resolver = Resolver::new(outside, owner).await.map_err(|failure| failure.why)?;
    let lookup = resolver.rdata(owner, rtype).await;
    match lookup.unknown() {
        // A DNAME's alias is there, whatever can be said of what it leads to.
        Some(why) if lookup.found.is_empty() => Err(why.to_owned()),
        _ => Ok(Found { records: lookup.found, alias: lookup.alias }),
    }
}
