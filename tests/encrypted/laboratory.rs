//! The example zones behind every transport, on free ports of 127.0.0.1, with a certificate made for the occasion.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use danelaw::answer::{self, Context};
use danelaw::dns::dnssec::Algorithm;
use danelaw::serve::encrypted::{EncryptedHandle, EncryptedLimits, EncryptedListeners, Presented};
use danelaw::serve::{Answerer, Counters, Handle, Listeners, Reply, TcpLimits, Transport};
use danelaw::zone::Snapshot;
use http::{Method, StatusCode};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::clients::{Dot, HOST, MEDIA_TYPE, config, doh, doq, doq_octets, dot, framed, get, read_frame, request};
use super::common::{EXAMPLES, example, now, sign, snapshot, wire};

struct Zones(Snapshot);

impl Answerer for Zones {
    fn answer(&self, peer: SocketAddr, transport: Transport, query: &[u8], out: &mut [u8]) -> Reply {
        answer::answer(&self.0, &Context::new(peer.ip(), transport.into(), now()), query, out).into()
    }

    fn batch(&self, work: &mut dyn FnMut(&dyn Answerer)) {
        work(self);
    }
}

pub struct Laboratory {
    pub runtime: tokio::runtime::Runtime,
    pub presented: Presented,
    zones: Arc<dyn Answerer>,
    pub plain: Handle,
    pub encrypted: EncryptedHandle,
}

impl Laboratory {
    pub fn new() -> Laboratory {
        Laboratory::with(EncryptedLimits::default())
    }

    pub fn with(limits: EncryptedLimits) -> Laboratory {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let zones = EXAMPLES.iter().map(|origin| snapshot(&sign(&example(origin), Algorithm::Ed25519)));
        let zones: Arc<dyn Answerer> = Arc::new(Zones(Snapshot::new(zones, [])));
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let plain = Listeners::bind(&[any], 1).unwrap();
        let plain = plain.run_with(&zones, &Counters::default(), TcpLimits::default()).unwrap();
        let presented = Presented::default();
        let (chain, key) = certificate(HOST);
        presented.replace(chain, key).unwrap();
        let encrypted = listen(&runtime, &zones, &presented, limits);
        Laboratory { runtime, presented, zones, plain, encrypted }
    }

    /// Listens anew with another certificate holder.
    pub fn present_through(&mut self, presented: &Presented) {
        self.encrypted = listen(&self.runtime, &self.zones, presented, EncryptedLimits::default());
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        let mut addresses = self.encrypted.local_addrs().iter();
        addresses.find(|(other, _)| *other == transport).unwrap().1
    }
}

/// The connections of one client, one of each transport.
pub struct Client<'a> {
    laboratory: &'a Laboratory,
    dot: Dot,
    doh: h2::client::SendRequest<Bytes>,
    doq: quinn::Connection,
}

impl Client<'_> {
    pub fn new(laboratory: &Laboratory) -> Client<'_> {
        let trusted = laboratory.presented.chain().unwrap();
        let address = |transport| laboratory.address(transport);
        let dot = dot(address(Transport::Tls), config(&trusted, b"dot")).unwrap();
        let runtime = &laboratory.runtime;
        let doh = runtime.block_on(doh(address(Transport::Https), config(&trusted, b"h2"))).unwrap();
        let doq = runtime.block_on(doq(address(Transport::Quic), config(&trusted, b"doq"))).unwrap();
        Client { laboratory, dot, doh, doq }
    }

    /// What each transport answers to a query, UDP first.
    pub fn ask_all(&mut self, query: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let plain = self.laboratory.plain.local_addrs()[0];
        let runtime = &self.laboratory.runtime;
        let http = |method, path: &str, content_type, body| {
            let (status, _, body) = runtime.block_on(request(&self.doh, method, path, content_type, body)).unwrap();
            assert_eq!(status, StatusCode::OK);
            body
        };
        self.dot.write_all(&framed(query)).unwrap();
        let quic = runtime.block_on(doq_octets(&self.doq, &framed(query))).unwrap();
        vec![
            ("UDP", wire::exchange(plain, query, false).unwrap()),
            ("TCP", wire::exchange(plain, query, true).unwrap()),
            ("TLS", read_frame(&mut self.dot).unwrap()),
            ("HTTPS GET", http(Method::GET, &get(query), None, None)),
            ("HTTPS POST", http(Method::POST, "/dns-query", Some(MEDIA_TYPE), Some(query))),
            ("QUIC", read_frame(&mut &quic[..]).unwrap()),
        ]
    }
}

fn listen(
    runtime: &tokio::runtime::Runtime,
    zones: &Arc<dyn Answerer>,
    presented: &Presented,
    limits: EncryptedLimits,
) -> EncryptedHandle {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let wanted = [Transport::Tls, Transport::Https, Transport::Quic].map(|transport| (transport, any));
    EncryptedListeners::bind(&wanted)
        .unwrap()
        .run_with(runtime.handle(), zones, &Counters::default(), presented, limits)
        .unwrap()
}

/// A self-signed certificate and its key.
pub fn certificate(host: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    (vec![made.cert.der().clone()], PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap())
}

/// Looks again and again until it is so, for ten seconds at most.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
