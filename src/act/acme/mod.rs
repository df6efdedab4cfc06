//! Gets certificates from a CA (RFC 8555), and lays them down as other clients do. Decides nothing: neither when to order nor when to
//! try again.
//!
//! What to do comes in as orders; what came of it goes out as news, and no secret is in it. Each action begins with what is there, on
//! the disk and at the CA, so each may be done again. A CA may refuse a nonce as often as it likes (`badNonce`): that is told, too.

pub mod account;
pub mod client;
pub mod facts;
mod files;
pub mod folder;
pub mod keys;
pub mod order;
#[cfg(test)]
mod tests;
pub mod window;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::dns::Timestamp;

pub use account::{External, Session, Settings};
pub use facts::{Action, Event, Held, Id, Problem, Proof, Status, Step};
pub use folder::Folder;

/// How long an action may take; a hundred names are asked for one after the other.
const LIMIT: Duration = Duration::from_secs(600);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// For which certificate.
    pub id: Id,
    /// What.
    pub action: Action,
    /// At which CA.
    pub settings: Arc<Settings>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// For which certificate.
    pub id: Id,
    /// What.
    pub event: Event,
}

/// Does what it is ordered to until nobody can order any more; one action at a time for each account.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>, now: fn() -> Timestamp) {
    let mut accounts: HashMap<PathBuf, Arc<Mutex<()>>> = HashMap::new();
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => {
                    let account = Arc::clone(accounts.entry(order.settings.path()).or_default());
                    under_way.spawn(obey(order, account, news.clone(), now));
                }
                None => return,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn obey(order: Order, account: Arc<Mutex<()>>, news: mpsc::Sender<News>, now: fn() -> Timestamp) {
    let one = account.lock().await;
    let event = match timeout(LIMIT, carry_out(&order, now)).await {
        Ok(Ok(event)) => event,
        Ok(Err(problem)) => Event::Failed { step: order.action.step(), problem },
        Err(_) => {
            let problem = Problem::ours(format!("not done within {} s", LIMIT.as_secs()));
            Event::Failed { step: order.action.step(), problem }
        }
    };
    drop(one);
    // Who wants to know may have gone.
    let _ = news.send(News { id: order.id, event }).await;
}

async fn carry_out(order: &Order, now: fn() -> Timestamp) -> Result<Event, Problem> {
    let settings = &*order.settings;
    let folder = Folder::of(&settings.state, &order.id)?;
    let session = || Session::open(settings, now);
    Ok(match &order.action {
        Action::Look => Event::Held(blocking(move || Ok(folder.held()?)).await?),
        Action::MakeNextKey => {
            blocking(move || Ok(folder.make_next_key()?)).await?;
            Event::NextKey
        }
        Action::AskWindow { ari_id } => window::ask(&session().await?, ari_id).await?,
        Action::Order { names, replaces, profile } => {
            let made = order::make(&session().await?, names, replaces.as_deref(), profile.as_deref()).await?;
            Event::Ordered { url: made.url, proofs: made.proofs }
        }
        Action::SayReady { url } => Event::Status(order::say_ready(&session().await?, url).await?),
        Action::AskStatus { url } => Event::Status(order::status(&session().await?, url).await?),
        Action::Finalize { url, names, reuse } => {
            Event::Status(order::finalize(&session().await?, url, names, &folder, *reuse).await?)
        }
        Action::Store { url, names } => {
            let chain = order::fetch(&session().await?, url).await?;
            let names = names.clone();
            Event::Stored(blocking(move || Ok(folder.store(&chain, &names)?)).await?)
        }
        Action::Revoke { certificate, reason } => {
            window::revoke(&session().await?, certificate, *reason).await?;
            Event::Revoked
        }
    })
}

/// Does what waits for a disk, or computes for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::ours(format!("a bug: {error}"))))
}
