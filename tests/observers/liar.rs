//! A nameserver that says what it is told to.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use super::common::name;
use super::common::wire::read_message;

pub const ZONE: &str = "lied.test";
pub const OWNER: &str = "_25._tcp.mail.lied.test";
pub const SOA: u16 = 6;
pub const TLSA: u16 = 52;
pub const AA: u8 = 0x84;
pub const TC: u8 = 0x02;

/// A question that came.
#[derive(Clone)]
pub struct Query {
    pub octets: Vec<u8>,
    pub tcp: bool,
    pub from: SocketAddr,
    /// How many came before.
    pub number: usize,
}

impl Query {
    pub fn qtype(&self) -> u16 {
        let end = self.question().len() + 12;
        u16::from_be_bytes([self.octets[end - 4], self.octets[end - 3]])
    }

    /// Its question; an OPT record of 11 octets stands behind it.
    fn question(&self) -> &[u8] {
        &self.octets[12..self.octets.len() - 11]
    }

    /// A response: third octet, response code, answer and authority.
    pub fn response(&self, flags: u8, rcode: u8, answer: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
        let counts = [0, 1, 0, answer.len() as u8, 0, authority.len() as u8, 0, 0];
        [&self.octets[..2], &[flags, rcode], &counts, self.question(), &answer.concat(), &authority.concat()].concat()
    }

    /// What a good server says: this serial, one record.
    pub fn good(&self, serial: u32) -> Vec<u8> {
        match self.qtype() {
            SOA => self.response(AA, 0, &[soa(serial)], &[]),
            _ => self.response(AA, 0, &[tlsa(OWNER, 3)], &[]),
        }
    }
}

pub fn record(owner: &str, rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let fixed = [&rtype.to_be_bytes()[..], &[0, 1, 0, 0, 1, 44], &(rdata.len() as u16).to_be_bytes()].concat();
    [name(owner).as_wire(), &fixed, rdata].concat()
}

pub fn soa(serial: u32) -> Vec<u8> {
    soa_of(ZONE, serial)
}

pub fn soa_of(zone: &str, serial: u32) -> Vec<u8> {
    record(zone, SOA, &[&[0, 0][..], &[serial, 1, 1, 1, 1].map(u32::to_be_bytes).concat()].concat())
}

pub fn tlsa(owner: &str, usage: u8) -> Vec<u8> {
    record(owner, TLSA, &[&[usage, 1, 1][..], &[7; 32]].concat())
}

pub fn cname(owner: &str, target: &str) -> Vec<u8> {
    record(owner, 5, name(target).as_wire())
}

type Answer = dyn Fn(&Query) -> Option<Vec<u8>> + Send + Sync;

/// A server that answers as it is told, or not; and what it was asked.
pub struct Liar {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Query>>>,
}

impl Liar {
    pub fn start(tcp: bool, answer: impl Fn(&Query) -> Option<Vec<u8>> + Send + Sync + 'static) -> Liar {
        let (udp, listener) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(listener) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, listener);
            }
        };
        let liar = Liar { address: udp.local_addr().unwrap(), asked: Arc::default() };
        let answer: Arc<Answer> = Arc::new(answer);
        let reply = {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&liar.asked));
            move |octets: Vec<u8>, from: SocketAddr, tcp: bool| {
                let mut asked = asked.lock().unwrap();
                let query = Query { octets, tcp, from, number: asked.len() };
                asked.push(query.clone());
                drop(asked);
                answer(&query)
            }
        };
        let over_udp = reply.clone();
        std::thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut query) {
                if let Some(response) = over_udp(query[..length].to_vec(), from, false) {
                    udp.send_to(&response, from).unwrap();
                }
            }
        });
        if tcp {
            std::thread::spawn(move || {
                let mut silent = Vec::new();
                for mut stream in listener.incoming().map(Result::unwrap) {
                    let Ok(query) = read_message(&mut stream) else { continue };
                    match reply(query, stream.peer_addr().unwrap(), true) {
                        None => silent.push(stream),
                        Some(response) => {
                            let framed = [&(response.len() as u16).to_be_bytes(), &response[..]].concat();
                            stream.write_all(&framed).unwrap();
                        }
                    }
                }
            });
        }
        liar
    }

    pub fn asked(&self) -> Vec<Query> {
        self.asked.lock().unwrap().clone()
    }
}
