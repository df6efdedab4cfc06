//! Stands in a CA's place, or in front of one, and says what a test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::authority::Authority;
use super::edge::Edge;
use super::pebble::Pebble;

/// A whole answer: status line and headers without their last line end, and body.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into() }
    }

    pub fn json(status: u16, body: &Value) -> Answer {
        Answer::new(status, body.to_string())
    }

    fn octets(&self, is_head: bool) -> Vec<u8> {
        let Answer { status, headers, body } = self;
        let mut head = format!("HTTP/1.1 {status} x\r\nreplay-nonce: bm9uY2U\r\nconnection: close\r\n");
        headers.iter().for_each(|header| head.push_str(&format!("{header}\r\n")));
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        [head.as_bytes(), if is_head { &[] } else { body }].concat()
    }

    pub fn with(mut self, header: &str) -> Answer {
        self.headers.push(header.to_owned());
        self
    }
}

pub struct StandIn {
    authority: Arc<Authority>,
    port: u16,
    place: Arc<Place>,
}

/// What whoever answers knows.
#[derive(Default)]
struct Place {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
    /// Connections end as they begin.
    is_down: AtomicBool,
    /// The CA behind: its port, and how to speak with it.
    behind: Option<(u16, Arc<ClientConfig>)>,
}

impl StandIn {
    /// One that has a directory with everything, gives nonces, and makes accounts.
    pub fn start() -> StandIn {
        let stand_in = StandIn::at(Arc::new(Authority::new()), Place::default());
        let url = |path: &str| stand_in.url(path);
        let directory = json!({
            "newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order"),
            "revokeCert": url("/revoke"), "keyChange": url("/key"), "renewalInfo": url("/info"),
            "meta": {"profiles": {"tlsserver": "https://ca.test/tlsserver"}},
        });
        stand_in.says("/dir", Answer::json(200, &directory));
        stand_in.says("/nonce", Answer::new(200, ""));
        let account = Answer::json(201, &json!({"status": "valid"}));
        stand_in.says("/account", account.with(&format!("Location: {}", url("/account/1"))));
        stand_in
    }

    /// One that has pebble answer what it says nothing about itself. What pebble is asked for by, it tells as its own URLs.
    pub fn before(pebble: &Pebble) -> StandIn {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(pebble.trusted()).unwrap();
        roots.add(trusted).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        StandIn::at(Arc::clone(&pebble.authority), Place { behind: Some((pebble.port, config)), ..Place::default() })
    }

    fn at(authority: Arc<Authority>, place: Place) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stand_in = StandIn { authority, port, place: Arc::new(place) };
        let (place, config) = (Arc::clone(&stand_in.place), Arc::clone(&stand_in.authority.config));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if place.is_down.load(Ordering::Relaxed) {
                    continue;
                }
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
                let place = Arc::clone(&place);
                std::thread::spawn(move || serve(stream, &place));
            }
        });
        stand_in
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn edge(&self) -> Edge {
        Edge::new(&self.url("/dir"), self.authority.file("roots.pem"))
    }

    /// Says this at a path from now on.
    pub fn says(&self, path: &str, answer: Answer) {
        self.place.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Has no word of its own any more.
    pub fn says_nothing(&self) {
        self.place.answers.lock().unwrap().clear();
    }

    /// Whether connections end as they begin, from now on.
    pub fn is_down(&self, is_down: bool) {
        self.place.is_down.store(is_down, Ordering::Relaxed);
    }

    /// The request lines so far.
    pub fn asked(&self) -> Vec<String> {
        self.place.asked.lock().unwrap().clone()
    }

    /// How many of them begin so.
    pub fn count(&self, begin: &str) -> usize {
        self.asked().iter().filter(|line| line.starts_with(begin)).count()
    }
}

fn serve<S: Read + Write>(stream: S, place: &Place) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut headers, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok().filter(|read| *read > 0)?;
        if header.trim_end().is_empty() {
            break;
        }
        let lower = header.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if !lower.starts_with("connection:") {
            headers.push_str(&header);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let is_head = line.starts_with("HEAD ");
    place.asked.lock().unwrap().push(line.trim_end().to_owned());
    let found = place.answers.lock().unwrap().get(&path).cloned();
    let answer = match (found, &place.behind) {
        (None, Some((port, config))) => {
            let head = format!("{line}{headers}connection: close\r\n\r\n");
            passed_on(&[head.as_bytes(), &body].concat(), *port, config)?
        }
        (found, _) => found.unwrap_or_else(|| Answer::new(404, "")).octets(is_head),
    };
    stream.get_mut().write_all(&answer).ok()?;
    stream.get_mut().flush().ok()
}

/// What the CA behind says to a request.
fn passed_on(request: &[u8], port: u16, config: &Arc<ClientConfig>) -> Option<Vec<u8>> {
    let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().ok()?).ok()?;
    let mut behind = StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port)).ok()?);
    behind.write_all(request).ok()?;
    let mut answer = Vec::new();
    // The end without a word of TLS is an end.
    let _ = behind.read_to_end(&mut answer);
    Some(answer)
}
