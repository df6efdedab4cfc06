//! Stands in a CA's place, and says what a test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::authority::Authority;
use super::edge::Edge;

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

    pub fn with(mut self, header: &str) -> Answer {
        self.headers.push(header.to_owned());
        self
    }
}

pub struct StandIn {
    authority: Authority,
    port: u16,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// One that has a directory with everything, gives nonces, and makes accounts.
    pub fn start() -> StandIn {
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stand_in = StandIn { authority, port, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (Arc::clone(&stand_in.answers), Arc::clone(&stand_in.asked));
        let config = Arc::clone(&stand_in.authority.config);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream, &answers, &asked));
            }
        });
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

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn edge(&self) -> Edge {
        Edge::new(&self.url("/dir"), self.authority.file("roots.pem"))
    }

    /// Says this at a path from now on.
    pub fn says(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// The request lines so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve<S: Read + Write>(
    stream: S,
    answers: &Mutex<HashMap<String, Answer>>,
    asked: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    stream.read_line(&mut head).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length]).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let is_head = head.starts_with("HEAD ");
    asked.lock().unwrap().push(head.trim_end().to_owned());
    let found = answers.lock().unwrap().get(&path).cloned();
    let Answer { status, headers, body } = found.unwrap_or_else(|| Answer::new(404, ""));
    let mut answer = format!("HTTP/1.1 {status} x\r\nreplay-nonce: bm9uY2U\r\nconnection: close\r\n");
    headers.iter().for_each(|header| answer.push_str(&format!("{header}\r\n")));
    answer.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.get_mut().write_all(answer.as_bytes()).ok()?;
    if !is_head {
        stream.get_mut().write_all(&body).ok()?;
    }
    stream.get_mut().flush().ok()
}
