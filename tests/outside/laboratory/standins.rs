//! Servers that do what no real one does when it is asked to: they are silent, break off, or speak nonsense; and a
//! web server that has one page.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::spawn;

use danelaw::dns::Rtype;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::Made;
use crate::common::wire::{exchange, read_message};
use crate::namespace::Namespace;

/// What becomes of a question to a nameserver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// It is answered over UDP alone.
    UdpAlone,
    /// It is answered over TCP alone.
    TcpAlone,
    /// Nothing ever comes.
    Silence,
    /// The answer says that it has records, and has none.
    Garbage,
    /// It is answered, unless it is about this type.
    Not(Rtype),
}

/// A nameserver that has its answers from another one.
pub fn nameserver(namespace: &Namespace, address: &str, behind: &str, twist: Twist) {
    let [at, behind] = [address, behind].map(|address| SocketAddr::new(address.parse().unwrap(), 53));
    namespace.within(move || {
        if twist != Twist::TcpAlone {
            let socket = UdpSocket::bind(at).unwrap();
            spawn(move || datagrams(&socket, behind, twist));
        }
        if twist != Twist::UdpAlone {
            let listener = TcpListener::bind(at).unwrap();
            spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    spawn(move || while answer_stream(&mut stream, behind, twist).is_some() {});
                }
            });
        }
    });
}

fn datagrams(socket: &UdpSocket, behind: SocketAddr, twist: Twist) {
    let mut query = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut query).unwrap();
        if let Some(response) = respond(&query[..length], behind, twist, false) {
            // Who has gone needs no answer.
            let _ = socket.send_to(&response, peer);
        }
    }
}

fn answer_stream(stream: &mut TcpStream, behind: SocketAddr, twist: Twist) -> Option<()> {
    let query = read_message(stream).ok()?;
    // A silent one leaves the connection as it is, until the client goes.
    if let Some(response) = respond(&query, behind, twist, true) {
        stream.write_all(&[&(response.len() as u16).to_be_bytes(), &response[..]].concat()).ok()?;
    }
    Some(())
}

fn respond(query: &[u8], behind: SocketAddr, twist: Twist, over_tcp: bool) -> Option<Vec<u8>> {
    const NOTIMP: u8 = 4;
    match twist {
        Twist::Silence => None,
        // QR and AA, one record in the answer.
        Twist::Garbage => Some([&query[..2], &[0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]].concat()),
        Twist::Not(rtype) if asks_for(query, rtype)? => {
            let end = 12 + question_length(query)?;
            let mut response = query[..end].to_vec();
            response[2] = 0x80 | query[2];
            response[3] = NOTIMP;
            response[6..12].fill(0);
            Some(response)
        }
        Twist::Not(_) | Twist::UdpAlone | Twist::TcpAlone => exchange(behind, query, over_tcp),
    }
}

fn question_length(query: &[u8]) -> Option<usize> {
    let mut at = 12;
    while *query.get(at)? != 0 {
        at += 1 + usize::from(query[at]);
    }
    (query.len() >= at + 5).then_some(at + 5 - 12)
}

fn asks_for(query: &[u8], rtype: Rtype) -> Option<bool> {
    let end = 12 + question_length(query)?;
    Some(query[end - 4..end - 2] == rtype.0.to_be_bytes())
}

/// A web server that gives the same page, whatever is asked for, over TLS.
pub fn web_server(namespace: &Namespace, address: IpAddr, made: &Made, page: &str) {
    let chain = made.chain.concat();
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::try_from(made.key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let config = Arc::new(config.unwrap());
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    namespace.within(move || {
        let listener = TcpListener::bind((address, 443)).unwrap();
        spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                // Who goes away has seen what it wanted.
                let _ = give(StreamOwned::new(connection, stream.unwrap()), &response);
            }
        });
    });
}

fn give(stream: StreamOwned<ServerConnection, TcpStream>, response: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut stream = reader.into_inner();
    stream.write_all(response.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// A mail server that says these, the first at once and each other one after a line of the client's, and then breaks off; one that
/// says nothing listens for ever.
pub fn mail_server(namespace: &Namespace, addresses: &[IpAddr], port: u16, says: &'static [&'static str]) {
    for &address in addresses {
        namespace.within(move || {
            let listener = TcpListener::bind((address, port)).unwrap();
            spawn(move || {
                for stream in listener.incoming() {
                    let stream = stream.unwrap();
                    spawn(move || converse(stream, says));
                }
            });
        });
    }
}

/// None when the client has gone.
fn converse(stream: TcpStream, says: &[&str]) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    let mut line = Vec::new();
    for (number, reply) in says.iter().enumerate() {
        if number > 0 {
            reader.read_until(b'\n', &mut line).ok()?;
        }
        stream.write_all(reply.as_bytes()).ok()?;
    }
    reader.read_until(b'\n', &mut line).ok()?;
    while says.is_empty() && reader.read_until(b'\n', &mut line).ok()? > 0 {}
    Some(())
}
