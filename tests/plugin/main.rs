//! The plugin inside a real hickory server, asked over UDP and TCP by raw sockets, `dig` and `delv`.

#![expect(clippy::unwrap_used, reason = "a failure in a helper is the test's failure")]

#[path = "../../examples/hickory_server.rs"]
#[expect(dead_code, reason = "the example's main is run by cargo; here its server is")]
mod example;

#[path = "../common/hickory.rs"]
mod hickory;
#[path = "../common/parsed.rs"]
#[expect(dead_code, reason = "shared with the tests that compare all surfaces")]
mod parsed;

mod catalog;
mod client;
mod garbled;
mod handler;
mod signer;
mod zone;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use danelaw::dns::dnssec::{Algorithm, Signer};
use danelaw::plugin::{self, DaneHandler, SharedSnapshot, ZoneSigner};
use hickory_server::server::RequestHandler;
use hickory_server::zone_handler::Catalog;
use tokio::runtime::Runtime;

/// Three zones, and a hickory server on a free port; all end with the value.
struct Served {
    address: SocketAddr,
    snapshot: SharedSnapshot,
    parent: ZoneSigner,
    child: ZoneSigner,
    _runtime: Runtime,
}

impl Served {
    fn by_handler() -> Served {
        Served::start(|snapshot| DaneHandler::new(snapshot.clone()))
    }

    fn by_catalog() -> Served {
        Served::start(|snapshot| {
            let mut catalog = Catalog::new();
            plugin::upsert(&mut catalog, snapshot).unwrap();
            catalog
        })
    }

    fn start<H: RequestHandler>(handler: impl FnOnce(&SharedSnapshot) -> H) -> Served {
        let mut parent = zone::signer(Algorithm::EcdsaP256Sha256);
        let mut child = zone::signer(Algorithm::Ed25519);
        let snapshot = SharedSnapshot::default();
        let contents = zone::parent(zone::DIGEST, &child.keys()[0]);
        snapshot.publish(parent.sign(&contents, now()).unwrap());
        snapshot.publish(child.sign(&zone::child("child"), now()).unwrap());
        // Signed, but its parent has no DS for it.
        snapshot.publish(zone::signer(Algorithm::Ed25519).sign(&zone::child("island"), now()).unwrap());
        let (address, runtime) = hickory::serve(handler(&snapshot));
        Served { address, snapshot, parent, child, _runtime: runtime }
    }

    fn dnskey(&self) -> &[u8] {
        self.parent.keys()[0].dnskey()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_example_serves_a_signed_tlsa() {
    let runtime = Runtime::new().unwrap();
    let (server, address) = runtime.block_on(example::serve(0)).unwrap();
    let output = client::dig(address, &["+dnssec", "_25._tcp.mail.example.org", "TLSA"]);
    assert!(output.contains("status: NOERROR"), "{output}");
    assert!(output.contains("TLSA\t3 1 1 000102"), "{output}");
    assert!(output.contains("RRSIG\tTLSA 13 5 3600"), "{output}");
    let dnskey =
        client::parse(&client::tcp(address, &client::query(&zone::wire("@"), danelaw::dns::Rtype::DNSKEY, None)));
    let dnskey = &dnskey.sections[0][0].rdata;
    let output = client::delv(address, zone::APEX, dnskey, &["_25._tcp.mail.example.org", "TLSA"]);
    assert!(output.contains("; fully validated"), "{output}");
    drop(server);
}
