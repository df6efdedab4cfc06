//! A webhook that does what a test says.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The request line and the headers, those in lower case.
    pub head: Vec<String>,
    pub json: Value,
    pub status: u16,
}

#[derive(Default)]
struct Shared {
    posted: Vec<Posted>,
    answers: VecDeque<u16>,
}

#[derive(Clone)]
pub struct Http {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Http {
    /// Serves until the test program ends, over TLS where there is a configuration.
    pub fn start(config: Option<&Arc<ServerConfig>>) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = Http { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let (serving, config) = (http.clone(), config.cloned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (http, config, stream) = (serving.clone(), config.clone(), stream.unwrap());
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                std::thread::spawn(move || match config {
                    Some(config) => http.serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
                    None => http.serve(stream),
                });
            }
        });
        http
    }

    /// What the next requests are answered, and nothing to a 0; 204 when there is nothing left.
    pub fn answer(&self, answers: &[u16]) {
        self.shared.lock().unwrap().answers.extend(answers);
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.shared.lock().unwrap().posted.clone()
    }

    fn serve<S: Read + Write>(&self, stream: S) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim_end() {
                "" => break,
                line if head.is_empty() => head.push(line.to_owned()),
                line => {
                    head.push(line.split_once(": ").map(|(name, value)| format!("{}: {value}", name.to_lowercase()))?)
                }
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let mut shared = self.shared.lock().unwrap();
        let status = shared.answers.pop_front().unwrap_or(204);
        shared.posted.push(Posted { head, json: serde_json::from_slice(&body).unwrap(), status });
        drop(shared);
        if status == 0 {
            std::thread::sleep(Duration::from_secs(60));
        }
        let location = if status / 100 == 3 { "location: /elsewhere\r\n" } else { "" };
        let answer = format!("HTTP/1.1 {status} x\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
        stream.get_mut().flush().ok()
    }
}
