//! The webhook: one POST of a message as JSON. It follows no redirect, since the token is for that URL alone, and asks no
//! proxy of the environment.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use ureq::tls::{RootCerts, TlsConfig};

use super::messages::Secret;
use crate::config::Webhook;
use crate::tell::Message;

/// What is posted.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Posted<'a> {
    host: &'a str,
    #[serde(flatten)]
    message: &'a Message,
}

/// Posts a message. A status 2xx is success.
pub async fn post(
    webhook: &Webhook,
    token: Option<&Secret>,
    message: &Message,
    host: &str,
    limit: Duration,
) -> Result<(), String> {
    let json = serde_json::to_vec(&Posted { host, message }).map_err(|error| error.to_string())?;
    let (url, origin) = (webhook.url.clone(), webhook.origin.clone());
    let authorization = token.map(|token| format!("Bearer {}", token.0));
    let (told, said) = oneshot::channel();
    // A thread of its own: the runtime's end would wait for one of its pool.
    let thread = std::thread::Builder::new().name("webhook".to_owned());
    let post = move || drop(told.send(post_now(&url, authorization.as_deref(), &json, limit)));
    thread.spawn(post).map_err(|error| format!("no thread: {error}"))?;
    let said = said.await.unwrap_or_else(|_| Err("a bug: posting panicked".to_owned()));
    said.map_err(|why| format!("{origin}: {why}"))
}

fn post_now(url: &str, authorization: Option<&str>, json: &[u8], limit: Duration) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    let agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(limit))
        .user_agent(concat!("danelaw/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent();
    let mut request = agent.post(url).header("Content-Type", "application/json");
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    let response = request.send(json).map_err(|error| error.to_string())?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("HTTP status {status}")),
    }
}
