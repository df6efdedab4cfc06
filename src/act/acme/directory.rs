//! What a CA says of itself in its directory (RFC 8555 section 7.1.1), and as whom it knows us. Makes no account.
//!
//! Whom to ask comes in as orders; what was found goes out as news.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use instant_acme::{BodyWrapper, HttpClient};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::account::{self, Settings};
use super::client::Client;
use super::problems::ours;
use super::within;
use crate::acme::Problem;
use crate::dns::Timestamp;

/// So many names are taken.
const IDENTITIES_MAX: usize = 32;

/// What is known of a CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// The names by which CAA knows it; none: it does not say them.
    pub identities: Vec<String>,
    /// The URI of the account there; none: there is no account yet.
    pub account: Option<String>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The URL of the directory.
    pub directory: String,
    /// What was found, or why that can't be told.
    pub said: Result<Authority, Problem>,
}

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    caa_identities: Vec<String>,
}

/// Asks whom it is ordered to, one after the other, until nobody can order any more.
pub async fn run(mut orders: mpsc::Receiver<Arc<Settings>>, news: mpsc::Sender<News>, now: fn() -> Timestamp) {
    while let Some(settings) = orders.recv().await {
        let said = within(ask(&settings, now)).await;
        // Who wants to know may have gone.
        let _ = news.send(News { directory: settings.directory.clone(), said }).await;
    }
}

/// Asks the CA, and looks at the account's file.
pub async fn ask(settings: &Settings, now: fn() -> Timestamp) -> Result<Authority, Problem> {
    let account = account::uri(settings).await?;
    let client = Client::new(settings.ca_file.as_deref(), now)?;
    let request = Request::get(&settings.directory).body(BodyWrapper::<Bytes>::default()).map_err(ours)?;
    let mut response = client.request(request).await.map_err(|error| client.problem(&error))?;
    let status = response.parts.status;
    if !status.is_success() {
        return Err(ours(format!("{}: HTTP status {status}", settings.directory)));
    }
    let body = response.body.into_bytes().await.map_err(ours)?;
    let why = |error| ours(format!("{}: no directory of an ACME server: {error}", settings.directory));
    let mut identities = serde_json::from_slice::<Directory>(&body).map_err(why)?.meta.caa_identities;
    identities.truncate(IDENTITIES_MAX);
    Ok(Authority { identities, account })
}
