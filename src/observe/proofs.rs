//! Asks authoritative servers which proofs of ACME's DNS-01 they show (RFC 8555 section 8.4): each directly and never through a cache.
//!
//! Whom to ask comes in as orders; what they show goes out as news. Whether that is all is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::lanes;
use super::nameservers::{Asker, NotShown};
use crate::dns::header::CLASS_IN;
use crate::dns::mailtext::txt_value;
use crate::dns::{Name, Question, Rtype, uncompress, walk};

/// So many servers are asked at a time.
const AT_ONCE: usize = 16;
/// How long all questions of an order may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The values of the TXT records of each owner.
pub type Texts = BTreeMap<Name, BTreeSet<Vec<u8>>>;

/// A server that is to be asked.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose certificate it is for: the news carry it.
    pub host: Name,
    /// What the server is called there: the news carry it.
    pub label: String,
    /// Where it answers.
    pub server: SocketAddr,
    /// Whose TXT records it is asked for: all are in a zone that it is to have.
    pub owners: Vec<Name>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The order's.
    pub host: Name,
    /// The order's.
    pub label: String,
    /// What it shows, or why that is not known.
    pub shown: Result<Texts, NotShown>,
}

/// Asks whom it is ordered to, one question at a time for each server, until nobody can order any more.
pub async fn run(orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    lanes::run(orders, news, AT_ONCE, Duration::ZERO).await;
}

impl lanes::Order for Order {
    type Said = Result<Texts, NotShown>;
    type News = News;

    fn address(&self) -> SocketAddr {
        self.server
    }

    fn subject(&self) -> (&Name, &str) {
        (&self.host, &self.label)
    }

    async fn ask(&self) -> Result<Texts, NotShown> {
        ask(self.server, &self.owners, LIMIT).await
    }

    fn is_for_all(said: &Result<Texts, NotShown>) -> bool {
        matches!(said, Err(NotShown::Silent(_)))
    }

    fn news(self, shown: Result<Texts, NotShown>) -> News {
        News { host: self.host, label: self.label, shown }
    }
}

/// Asks a server for the TXT records of some owners. All of it takes `limit` at most.
pub async fn ask(server: SocketAddr, owners: &[Name], limit: Duration) -> Result<Texts, NotShown> {
    let mut asker = Asker::new(server, limit);
    let mut texts = Texts::new();
    for owner in owners {
        let message = asker.ask(&Question::new(owner, Rtype::TXT)).await?;
        let is_it = |record: &walk::Walked<'_>| {
            record.section == 1
                && record.class == CLASS_IN
                && record.rtype == Rtype::TXT
                && uncompress::name(&message, record.start).is_some_and(|(found, _)| found == *owner)
        };
        let values = walk::records(&message).filter(is_it).map(|record| txt_value(record.rdata)).collect();
        texts.insert(owner.clone(), values);
    }
    Ok(texts)
}
