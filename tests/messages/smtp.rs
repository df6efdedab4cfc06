//! A smarthost that does what a test says: STARTTLS or TLS from the beginning, AUTH PLAIN, and an answer for each mail.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub const USER: &str = "danelaw-user";
pub const PASSWORD: &str = "correct horse";

/// A mail that was offered.
#[derive(Clone, Debug)]
pub struct Offer {
    pub envelope: String,
    pub text: String,
    pub encrypted: bool,
    pub authenticated: bool,
    pub taken: bool,
}

impl Offer {
    /// A header's value, unfolded.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.split("\n\n").next().unwrap().replace("\n ", " ");
        let value = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        value.unwrap_or_else(|| panic!("no {name} in\n{}", self.text)).to_owned()
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Encryption {
    Starttls,
    Implicit,
    Never,
}

#[derive(Default)]
struct Shared {
    offers: Vec<Offer>,
    /// What the next mails are answered; 250 when there is nothing left.
    answers: VecDeque<&'static str>,
    /// Logins that were refused.
    refused: usize,
}

#[derive(Clone)]
pub struct Smtp {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Smtp {
    /// Serves until the test program ends.
    pub fn start(config: &Arc<ServerConfig>, encryption: Encryption) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let smtp = Smtp { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let (serving, config) = (smtp.clone(), Arc::clone(config));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (smtp, config) = (serving.clone(), Arc::clone(&config));
                // Who breaks off is gone.
                std::thread::spawn(move || smtp.serve(stream.unwrap(), config, encryption));
            }
        });
        smtp
    }

    pub fn answer(&self, answers: &[&'static str]) {
        self.shared.lock().unwrap().answers.extend(answers);
    }

    pub fn offers(&self) -> Vec<Offer> {
        self.shared.lock().unwrap().offers.clone()
    }

    pub fn taken(&self) -> Vec<Offer> {
        self.offers().into_iter().filter(|offer| offer.taken).collect()
    }

    pub fn refused(&self) -> usize {
        self.shared.lock().unwrap().refused
    }

    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>, encryption: Encryption) -> Option<()> {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let secure = |stream: TcpStream| StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        if encryption == Encryption::Implicit {
            return self.talk(secure(stream), encryption, true, true).map(drop);
        }
        let stream = self.talk(stream, encryption, false, true)?;
        self.talk(secure(stream), encryption, true, false).map(drop)
    }

    /// Talks until the client wants TLS or has enough; gives the stream back for the former.
    fn talk<S: Read + Write>(&self, stream: S, encryption: Encryption, encrypted: bool, greets: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if greets {
            say(&mut stream, "220 localhost ESMTP")?;
        }
        let (mut envelope, mut authenticated) = (String::new(), false);
        loop {
            let line = hear(&mut stream)?;
            let word = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            match word.as_str() {
                "EHLO" if encrypted => say(&mut stream, "250-localhost\r\n250 AUTH PLAIN LOGIN")?,
                "EHLO" if encryption == Encryption::Starttls => say(&mut stream, "250-localhost\r\n250 STARTTLS")?,
                "EHLO" => say(&mut stream, "250-localhost\r\n250 AUTH PLAIN LOGIN")?,
                "STARTTLS" if encryption == Encryption::Starttls && !encrypted => {
                    say(&mut stream, "220 go ahead")?;
                    return Some(stream.into_inner());
                }
                "AUTH" => {
                    let right = data_encoding::BASE64.encode(format!("\0{USER}\0{PASSWORD}").as_bytes());
                    authenticated = line == format!("AUTH PLAIN {right}");
                    if authenticated {
                        say(&mut stream, "235 welcome")?;
                    } else {
                        self.shared.lock().unwrap().refused += 1;
                        // Some servers repeat what they were told.
                        let said = line.rsplit(' ').next().unwrap();
                        say(&mut stream, &format!("535 5.7.8 authentication failed: {said}"))?;
                    }
                }
                "MAIL" | "RCPT" => {
                    envelope = format!("{envelope}{line}\n");
                    say(&mut stream, "250 ok")?;
                }
                "DATA" => {
                    say(&mut stream, "354 go on")?;
                    let mut text = String::new();
                    loop {
                        match hear(&mut stream)?.as_str() {
                            "." => break,
                            line => text.push_str(&format!("{}\n", line.strip_prefix('.').unwrap_or(line))),
                        }
                    }
                    let mut shared = self.shared.lock().unwrap();
                    let answer = shared.answers.pop_front().unwrap_or("250 taken");
                    let (envelope, taken) = (std::mem::take(&mut envelope), answer.starts_with('2'));
                    shared.offers.push(Offer { envelope, text, encrypted, authenticated, taken });
                    drop(shared);
                    say(&mut stream, answer)?;
                }
                "QUIT" => {
                    say(&mut stream, "221 bye")?;
                    return None;
                }
                _ => say(&mut stream, "500 what?")?,
            }
        }
    }
}

fn say<S: Read + Write>(stream: &mut BufReader<S>, line: &str) -> Option<()> {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()?;
    stream.get_mut().flush().ok()
}

fn hear<S: Read>(stream: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
