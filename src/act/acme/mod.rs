//! Gets certificates from a CA (RFC 8555), and lays them down as other clients do. Decides nothing: neither when to order nor when to
//! try again.
//!
//! What to do comes in as orders; what came of it goes out as news, and no secret is in it. Each task begins with what is there, on
//! the disk and at the CA, so each may be done again. A CA may refuse a nonce as often as it likes (`badNonce`): that is told, too.

pub mod account;
pub mod client;
pub mod directory;
mod files;
pub mod folder;
pub mod keys;
pub mod order;
mod problems;
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

use crate::acme::{Event, Id, Problem, Status, Step, Task};
use crate::crash;
use crate::dns::Timestamp;
use problems::ours;

pub use account::{External, Session, Settings};
pub use folder::Folder;

/// How long a CA may take for a task; a hundred names are asked for one after the other.
const LIMIT: Duration = Duration::from_secs(600);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// For which certificate.
    pub id: Id,
    /// What.
    pub task: Task,
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

/// Does what it is ordered to until nobody can order any more; one task at a time for each account.
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
    let step = order.task.step();
    let (before, after) = points(step);
    crash::point(before);
    let event = carry_out(&order, now).await.unwrap_or_else(|problem| match &order.task {
        Task::Revoke { fingerprint, .. } => Event::NotRevoked { fingerprint: fingerprint.clone(), problem },
        _ => Event::Failed { step, problem },
    });
    crash::point(after);
    drop(one);
    // Who wants to know may have gone.
    let _ = news.send(News { id: order.id, event }).await;
}

/// The points at which a crash finds a step not begun, and done but not told.
const fn points(step: Step) -> (&'static str, &'static str) {
    match step {
        Step::Look => ("acme: before the folder is looked at", "acme: the folder is looked at"),
        Step::Window => ("acme: before the window is asked for", "acme: the window is known"),
        Step::Order => ("acme: before it is ordered", "acme: it is ordered"),
        Step::Ready => ("acme: before the CA is told of the proofs", "acme: the CA is told of the proofs"),
        Step::Finalize => ("acme: before it is finalised", "acme: it is finalised"),
        Step::Store => ("acme: before the chain is laid down", "acme: the chain is laid down"),
        Step::NextKey => ("acme: before the next key is made", "acme: the next key is made"),
        Step::Revoke => ("acme: before it is revoked", "acme: it is revoked"),
        Step::Status | Step::Caa | Step::Prove | Step::Nameservers => {
            ("acme: before the CA is asked", "acme: the CA is asked")
        }
    }
}

async fn carry_out(order: &Order, now: fn() -> Timestamp) -> Result<Event, Problem> {
    let folder = Folder::of(&order.settings.state, &order.id).map_err(ours)?;
    let open = || Session::open(&order.settings, now);
    let of = |url: &String| {
        let url = url.clone();
        move |status| Event::Status { url, status }
    };
    match &order.task {
        Task::Look => blocking(move || folder.held().map(Event::Held).map_err(ours)).await,
        Task::AskWindow { ari_id } => within(async { window::ask(&open().await?, ari_id).await }).await,
        Task::Order { names, replaces, profile } => {
            let make = async { order::make(&open().await?, names, replaces.as_deref(), profile.as_deref()).await };
            within(make).await.map(|made| Event::Ordered { url: made.url, proofs: made.proofs })
        }
        Task::SayReady { url } => within(async { order::say_ready(&open().await?, url).await }).await.map(of(url)),
        Task::AskStatus { url } => within(async { order::status(&open().await?, url).await }).await.map(of(url)),
        Task::Finalize { url, names, reuse } => {
            let (names, reuse) = (names.clone(), *reuse);
            let request = move || {
                let key = folder.key_of_order(reuse).map_err(ours)?;
                key.request(&names).map_err(ours)
            };
            let request = blocking(request).await?;
            within(async { order::finalize(&open().await?, url, &request).await }).await.map(of(url))
        }
        Task::Store { url, names } => {
            let chain = within(async { order::fetch(&open().await?, url).await }).await?;
            let (names, status) = (names.clone(), of(url));
            blocking(move || match folder.store(&chain, &names) {
                Ok(held) => Ok(Event::Stored(held)),
                Err(error) if error.is_of_order() => Ok(status(Status::Invalid(ours(error)))),
                Err(error) => Err(ours(error)),
            })
            .await
        }
        Task::MakeNextKey => blocking(move || folder.make_next_key().map(|()| Event::NextKey).map_err(ours)).await,
        Task::Revoke { fingerprint, reason } => {
            let wanted = fingerprint.clone();
            let certificate = blocking(move || folder.certificate(&wanted).map_err(ours)).await?;
            within(async { window::revoke(&open().await?, &certificate, *reason).await }).await?;
            Ok(Event::Revoked { fingerprint: fingerprint.clone() })
        }
    }
}

/// Bounds what is asked of a CA.
async fn within<T>(asked: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let late = |_| Err(ours(format!("not done within {} s", LIMIT.as_secs())));
    timeout(LIMIT, asked).await.unwrap_or_else(late)
}

/// Does what waits for a disk, or computes for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ours(format!("a bug: {error}"))))
}
