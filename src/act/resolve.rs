//! Asks the system's resolver for the addresses of nameservers that are to be told of changes. When to ask again is decided elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::lookup_host;
use tokio::sync::{Semaphore, mpsc};

use super::notify::News;
use crate::dns::Name;

/// So many are asked for at a time: each holds a thread.
const AT_ONCE: usize = 8;

/// Asks for each host that comes, and tells what comes back, until nobody wants to know any more.
pub async fn run(mut hosts: mpsc::Receiver<Name>, news: mpsc::Sender<News>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(host) = hosts.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let news = news.clone();
        tokio::spawn(async move {
            let found = resolve(&host).await;
            // Who wants to know may have gone.
            let _ = news.send(News::Resolved(host, found)).await;
            drop(place);
        });
    }
}

async fn resolve(host: &Name) -> Result<Vec<IpAddr>, String> {
    let found = lookup_host((host.to_host(), 0)).await.map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}
