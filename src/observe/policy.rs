//! Fetches an MTA-STS policy as senders do (RFC 8461 section 3.3): over HTTPS with a certificate that the system trusts, from the
//! addresses that were looked up and no others, without a redirect or a proxy. What the policy says is not judged here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::dns::Name;
use crate::outside::sts;

/// Where policies are served.
pub const PORT: u16 = 443;
/// The most octets of a policy (RFC 8461 section 3.3 suggests this bound).
const MAX_SIZE: u64 = 64 << 10;
/// The most addresses that are tried.
const MAX_ADDRESSES: usize = 16;
/// The most characters of what is said about a failure: names in a certificate that anybody made stand in it.
const MAX_WHY: usize = 200;

/// Fetches the policy of a domain from one of these addresses of `mta-sts.<domain>`, within this time; or why there is none.
pub async fn fetch(domain: &Name, addresses: &[SocketAddr], limit: Duration) -> Result<String, String> {
    let host = sts::host(domain).ok_or_else(|| format!("mta-sts.{domain} is no host"))?;
    if addresses.is_empty() {
        return Err(format!("{host} has no address"));
    }
    let url = format!("https://{}{}", host.to_host(), sts::PATH);
    let addresses = Addresses(addresses.iter().copied().take(MAX_ADDRESSES).collect());
    let (told, fetched) = oneshot::channel();
    // A thread of its own: the runtime's end would wait for one of its pool.
    let thread = std::thread::Builder::new().name("policy".to_owned());
    let fetch = move || drop(told.send(fetch_now(&url, addresses, limit)));
    thread.spawn(fetch).map_err(|error| format!("no thread: {error}"))?;
    fetched.await.unwrap_or_else(|_| Err("a bug: fetching panicked".to_owned()))
}

fn fetch_now(url: &str, addresses: Addresses, limit: Duration) -> Result<String, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_global(Some(limit))
        .user_agent(concat!("danelaw/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), addresses);
    let mut response = agent.get(url).call().map_err(|error| why(&error))?;
    let status = response.status();
    if status.is_redirection() {
        return Err(format!("HTTP status {status}: senders follow no redirect"));
    }
    if status.as_u16() != 200 {
        return Err(format!("HTTP status {status}"));
    }
    let body = response.body_mut();
    if !body.mime_type().is_some_and(|media| media.eq_ignore_ascii_case("text/plain")) {
        return Err("its media type is not text/plain".to_owned());
    }
    match body.with_config().limit(MAX_SIZE).read_to_string() {
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(format!("it has more than {MAX_SIZE} octets")),
        read => read.map_err(|error| why(&error)),
    }
}

fn why(error: &ureq::Error) -> String {
    let printable = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    error.to_string().chars().take(MAX_WHY).map(printable).collect()
}

/// The addresses that were looked up by somebody who validates.
#[derive(Debug)]
struct Addresses(Vec<SocketAddr>);

impl Resolver for Addresses {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        self.0.iter().for_each(|address| addresses.push(*address));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    async fn failure(addresses: &[SocketAddr], limit: Duration) -> String {
        let domain = "example.org".parse().expect("a name");
        fetch(&domain, addresses, limit).await.expect_err("no policy")
    }

    #[tokio::test]
    async fn a_host_without_an_address_is_asked_nothing() {
        let why = failure(&[], Duration::from_secs(5)).await;
        assert_eq!(why, "mta-sts.example.org. has no address");
    }

    #[tokio::test]
    async fn a_host_where_nobody_listens_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let why = failure(&[address], Duration::from_secs(5)).await;
        assert!(why.to_lowercase().contains("refused"), "{why}");
    }

    #[tokio::test]
    async fn a_host_that_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let begin = Instant::now();
        let why = failure(&[address], Duration::from_millis(300)).await;
        assert!(why.contains("timeout"), "{why}");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_a_certificate_says_is_shown_bounded() {
        let error = std::io::Error::other(format!("\u{1b}[2J{}", "x".repeat(10_000)));
        let why = why(&ureq::Error::Io(error));
        assert!(why.chars().count() == MAX_WHY && !why.chars().any(char::is_control), "{why}");
    }
}
