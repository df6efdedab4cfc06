//! HTTP for ACME: HTTPS only, with a certificate that the system trusts or that the `ca-file` vouches for, without a redirect or a
//! proxy, within a time and a size. Notes what the last answer says of time.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{DATE, HeaderMap, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::oneshot;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::dns::Timestamp;

use super::problems::{ours, shown};
use crate::acme::Problem;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(15);
/// The most octets of an answer.
const MAX_SIZE: u64 = 1 << 20;
/// When to ask for renewal information again where the answer does not say it (RFC 9773 section 4.3.3), seconds.
const AGAIN: u64 = 6 * 3600;
/// What RFC 8555 section 6.7 puts in front of a type.
const URN: &str = "urn:ietf:params:acme:error:";

/// What the last answer said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Noted {
    url: String,
    status: Option<u16>,
    retry_after: Option<Timestamp>,
    date: Option<Timestamp>,
}

/// A client, and what it notes. Clones share both.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    noted: Arc<Mutex<Noted>>,
    now: fn() -> Timestamp,
}

impl Client {
    /// One that trusts the system's roots, or those of a file alone.
    pub fn new(ca_file: Option<&Path>, now: fn() -> Timestamp) -> Result<Client, Problem> {
        let roots = ca_file.map_or(Ok(RootCerts::PlatformVerifier), roots)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT))
            .timeout_connect(Some(CONNECT))
            .build()
            .new_agent();
        Ok(Client { agent, noted: Arc::default(), now })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// An error in plain words, with what the last answer said.
    pub fn problem(&self, error: &Error) -> Problem {
        let Noted { url, status, retry_after, date } = self.noted().clone();
        let of_status = status.map_or_else(String::new, |status| format!(" (HTTP status {status})"));
        let is_none = |why: &str| format!("what {url} answers is none of an ACME server{of_status}: {why}");
        let (kind, detail) = match error {
            Error::Api(problem) => (of_type(problem.r#type.as_deref()), detail(problem)),
            Error::Json(why) => (None, is_none(&why.to_string())),
            Error::Str(what) => (None, is_none(what)),
            other => (None, other.to_string()),
        };
        // RFC 6585 section 4: a front of the CA may say it without a problem document.
        let kind = kind.or_else(|| (status == Some(429)).then(|| "rateLimited".to_owned()));
        Problem { kind, detail: shown(&detail), retry_after, ca_time: date }
    }

    /// The same of a problem document within an answer.
    pub fn told(&self, problem: &instant_acme::Problem) -> Problem {
        let Noted { retry_after, date, .. } = *self.noted();
        let kind = of_type(problem.r#type.as_deref());
        Problem { kind, detail: shown(&detail(problem)), retry_after, ca_time: date }
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request<Vec<u8>>) -> Result<BytesResponse, ureq::Error> {
        let url = request.uri().to_string();
        *self.noted() = Noted { url: url.clone(), ..Noted::default() };
        let is_get = request.method() == Method::GET;
        let response = match request.body().is_empty() {
            true => self.agent.run(request.map(|_| ()))?,
            false => self.agent.run(request)?,
        };
        let (mut parts, mut body) = response.into_parts();
        *self.noted() = Noted {
            url,
            status: Some(parts.status.as_u16()),
            retry_after: time_of(&parts.headers, &RETRY_AFTER, self.now()),
            date: time_of(&parts.headers, &DATE, self.now()),
        };
        let octets = body.with_config().limit(MAX_SIZE).read_to_vec()?;
        // Only renewal information is asked for so, and instant-acme takes none without.
        if is_get && parts.status.is_success() && !parts.headers.contains_key(RETRY_AFTER) {
            parts.headers.insert(RETRY_AFTER, HeaderValue::from(AGAIN));
        }
        Ok(BytesResponse { parts, body: Box::new(Bytes::from(octets)) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            // A response is what instant-acme reads a body of.
            let mut body = BytesResponse::from(http::Response::new(body)).body;
            let body = body.into_bytes().await.map_err(Error::Other)?.to_vec();
            let agent = HeaderValue::from_static(concat!("danelaw/", env!("CARGO_PKG_VERSION")));
            parts.headers.insert(USER_AGENT, agent);
            let origin = parts.uri.authority().map_or_else(String::new, ToString::to_string);
            let (told, said) = oneshot::channel();
            // A thread of its own: the runtime's end would wait for one of its pool.
            let thread = std::thread::Builder::new().name("acme".to_owned());
            let ask = move || drop(told.send(client.answer(Request::from_parts(parts, body))));
            thread.spawn(ask).map_err(|error| Error::Other(format!("no thread: {error}").into()))?;
            let said = said.await.map_err(|_| Error::Other("a bug: asking panicked".into()))?;
            said.map_err(|error| Error::Other(no_answer(&origin, &error).into()))
        })
    }
}

fn no_answer(origin: &str, error: &ureq::Error) -> String {
    let why = match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    format!("no answer from the CA at {origin}: {why}: if this lasts, look whether this machine reaches it")
}

/// Why a file holds no roots to trust; none: it does.
pub fn unfit_roots(path: &Path) -> Option<String> {
    roots(path).err().map(|problem| problem.detail)
}

fn roots(path: &Path) -> Result<RootCerts, Problem> {
    let problem = |why: String| ours(format!("{}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| problem(error.to_string()))?;
    if read.is_empty() {
        return Err(problem("no certificate in PEM".to_owned()));
    }
    let owned = |der: &CertificateDer<'_>| Certificate::from_der(der.as_ref()).to_owned();
    Ok(RootCerts::Specific(Arc::new(read.iter().map(owned).collect())))
}

/// A date, or seconds from now on (RFC 9110 section 10.2.3).
fn time_of(headers: &HeaderMap, name: &http::HeaderName, now: Timestamp) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(now.saturating_add(seconds));
    }
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn of_type(kind: Option<&str>) -> Option<String> {
    let kind = kind.filter(|kind| *kind != "about:blank")?;
    Some(shown(kind.strip_prefix(URN).unwrap_or(kind)))
}

/// What a problem document says, with its subproblems (RFC 8555 section 6.7.1).
fn detail(problem: &instant_acme::Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| "no reason is given".to_owned());
    for one in &problem.subproblems {
        let name = match &one.identifier {
            Some(instant_acme::Identifier::Dns(name)) => format!("{name}: "),
            _ => String::new(),
        };
        text.push_str(&format!("; {name}{}", one.detail.as_deref().or(one.r#type.as_deref()).unwrap_or_default()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_time_are_read() {
        let mut headers = HeaderMap::new();
        let mut of = |text: &'static str| {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            time_of(&headers, &RETRY_AFTER, 1000)
        };
        assert_eq!(of("120"), Some(1120));
        assert_eq!(of("18446744073709551615"), Some(u64::MAX));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(946_684_799));
        assert_eq!((of(""), of("soon"), of("-5")), (None, None, None));
    }

    #[test]
    fn a_problem_document_is_told_in_one_line() {
        let document = r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "no\nway", "subproblems": [
            {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it", "identifier": {"type": "dns", "value": "a.test"}}]}"#;
        let client = Client::new(None, || 0).unwrap();
        let problem = client.problem(&Error::Api(serde_json::from_str(document).unwrap()));
        assert_eq!(problem.to_string(), "rejectedIdentifier: no way; a.test: CAA forbids it");
    }

    #[tokio::test]
    async fn nothing_is_asked_without_tls() {
        let client = Client::new(None, || 0).unwrap();
        let request = Request::get("http://127.0.0.1:1/dir").body(BodyWrapper::default()).unwrap();
        let Err(error) = client.request(request).await else { panic!("an answer") };
        assert!(error.to_string().contains("https"), "{error}");
    }
}
