//! BIND as the primary of a zone that one key may update.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use danelaw::dns::Name;
use danelaw::dns::tsig::{Algorithm, Key, sign_request};

use super::common::program::Program;
use super::common::wire::{self, Rr};
use super::common::{free_port, name, now};

const KEY: &str = "update.test";
const SECRET: &[u8] = b"a secret of the tests, 32 octets";

/// It runs until this is dropped.
pub struct Bind {
    program: Program,
    address: SocketAddr,
    zone: Name,
    key: Arc<Key>,
    stream: Option<TcpStream>,
}

impl Bind {
    /// Starts it with a zone's text; waits until it answers.
    pub fn start(zone: &Name, text: &str) -> Bind {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("zone"), text).unwrap();
        let (port, path) = (free_port(), folder.path().display().to_string());
        let secret = data_encoding::BASE64.encode(SECRET);
        // What RFC 2136 does not ask for is off: host names of letters and digits only, addresses for every MX's exchange.
        let config = format!(
            "options {{\n  directory \"{path}\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
             pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  notify no;\n  \
             allow-transfer {{ any; }};\n  check-names primary ignore;\n  check-integrity no;\n}};\ncontrols {{ }};\n\
             key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
             zone \"{zone}\" {{ type primary; file \"zone\"; allow-update {{ key \"{KEY}\"; }}; }};\n"
        );
        let program = Program::start(folder, "named", &["-g", "-n", "1", "-c"], &config);
        let key = Key::new(&name(KEY), Algorithm::HmacSha256, SECRET).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut bind = Bind { program, address, zone: zone.clone(), key: Arc::new(key), stream: None };
        bind.wait();
        bind
    }

    fn wait(&mut self) {
        let since = Instant::now();
        let is_served = || {
            let query = wire::query(self.zone.as_wire(), 6, wire::PLAIN);
            wire::exchange(self.address, &query, true).is_some_and(|said| wire::decode(&said).rcode == 0)
        };
        while !is_served() {
            assert!(since.elapsed() < Duration::from_secs(20), "named does not answer: {}", self.program.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(self.program.is_running());
    }

    /// Sends an update, signed; gives the response code.
    pub fn update(&mut self, message: &[u8]) -> u8 {
        let mut signed = message.to_vec();
        signed.resize(message.len() + 300, 0);
        let (length, mut responses) = sign_request(&self.key, &mut signed, message.len(), now()).unwrap();
        let said = self.exchange(&signed[..length]);
        assert_eq!(said[..2], message[..2], "the answer is to another request");
        let rcode = said[3] & 15;
        // What it could not read it can't sign an answer to.
        if rcode != 1 {
            let standing = responses.verify(&said, now());
            assert!(standing.is_ok(), "response code {rcode}: {standing:?}: {}", self.log());
        }
        rcode
    }

    fn exchange(&mut self, message: &[u8]) -> Vec<u8> {
        let stream = self.stream.take();
        let mut stream = stream.unwrap_or_else(|| TcpStream::connect(self.address).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat()).unwrap();
        let said = wire::read_message(&mut stream);
        let said = said.unwrap_or_else(|error| panic!("{error}: {}", self.program.log()));
        // It hangs up on those who send what can't be read.
        if said[3] & 15 != 1 {
            self.stream = Some(stream);
        }
        said
    }

    /// The zone's records.
    pub fn zone(&self) -> BTreeSet<Rr> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let query = wire::query(self.zone.as_wire(), 252, wire::PLAIN);
        stream.write_all(&[&(query.len() as u16).to_be_bytes(), &query[..]].concat()).unwrap();
        let (mut records, mut soas) = (BTreeSet::new(), 0);
        // It begins and ends with the SOA; in one message that is a record that stands there twice.
        while soas < 2 {
            let said = wire::read(&wire::read_message(&mut stream).unwrap()).unwrap();
            assert_eq!(said.rcode, 0);
            soas += said.doubled + said.answer.iter().filter(|record| record.rtype == 6).count();
            records.extend(said.answer);
        }
        records
    }

    pub fn log(&self) -> String {
        self.program.log()
    }
}
