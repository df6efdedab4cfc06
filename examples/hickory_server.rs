//! A hickory server that gains a DANE zone: `cargo run --example hickory_server -- 5301`, then
//! `dig @127.0.0.1 -p 5301 _25._tcp.mail.example.org TLSA +dnssec`.
//!
//! It makes a new key at each start, which is right for an example only.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use danelaw::dns::{Name, Record, Rtype, dnssec::Algorithm};
use danelaw::keys::ZoneKey;
use danelaw::plugin::{self, SharedSnapshot, ZoneSigner};
use danelaw::zone::Contents;
use hickory_server::Server;
use hickory_server::zone_handler::Catalog;
use tokio::net::{TcpListener, UdpSocket};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let port = std::env::args().nth(1).map_or(Ok(5301), |port| port.parse())?;
    let (mut server, address) = serve(port).await?;
    eprintln!("dig @{} -p {} _25._tcp.mail.example.org TLSA +dnssec", address.ip(), address.port());
    Ok(server.block_until_done().await?)
}

/// Serves on a port of 127.0.0.1, UDP and TCP; 0 takes a free one. Gives where.
pub async fn serve(port: u16) -> Outcome<(Server<Catalog>, SocketAddr)> {
    let (key, _pem) = ZoneKey::generate(Algorithm::EcdsaP256Sha256)?;
    let mut signer = ZoneSigner::new(vec![key]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let snapshot = SharedSnapshot::default();
    snapshot.publish(signer.sign(&contents()?, now)?);

    // The server's own zones stand in the same catalog.
    let mut catalog = Catalog::new();
    plugin::upsert(&mut catalog, &snapshot)?;

    let mut server = Server::new(catalog);
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = tcp.local_addr()?;
    server.register_socket(UdpSocket::bind(address).await?);
    server.register_listener(tcp, Duration::from_secs(5), 1024);
    Ok((server, address))
}

/// The zone: a mail host and its TLSA record, `3 1 1` and the SHA-256 digest of the certificate's public key.
fn contents() -> Outcome<Contents> {
    let apex: Name = "example.org.".parse()?;
    let name = |text: &str| Name::parse(text, Some(&apex));
    let (ns, mail) = (name("ns")?, name("mail")?);
    let numbers = [1u32, 7200, 3600, 1_209_600, 300].map(u32::to_be_bytes).concat();
    let digest: Vec<u8> = (0..32).collect();
    let records = [
        (name("@")?, Rtype::SOA, [ns.as_wire(), name("hostmaster")?.as_wire(), &numbers].concat()),
        (name("@")?, Rtype::NS, ns.as_wire().to_vec()),
        (name("@")?, Rtype::MX, [&[0, 10], mail.as_wire()].concat()),
        (ns, Rtype::A, vec![127, 0, 0, 1]),
        (mail, Rtype::A, vec![127, 0, 0, 1]),
        (name("_25._tcp.mail")?, Rtype::TLSA, [&[3, 1, 1], &digest[..]].concat()),
    ];
    let mut contents = Contents::new(apex);
    for (owner, rtype, rdata) in records {
        contents.insert(Record { owner, ttl: 3600, rtype, rdata: rdata.into() });
    }
    Ok(contents)
}
