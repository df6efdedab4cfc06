//! The certificate of the moment.

use std::io::Write;

use danelaw::dns::Rtype;
use danelaw::serve::Transport;
use danelaw::serve::encrypted::Presented;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::clients::{HOST, config, doh, doq, dot, framed, read_frame};
use super::common::name;
use super::common::wire::DNSSEC;
use super::equality::zero;
use super::laboratory::{Laboratory, certificate};

/// Whether each transport's client, who trusts one certificate only, gets a connection.
fn accepted(laboratory: &Laboratory, trusted: &[CertificateDer<'static>]) -> [bool; 3] {
    let address = |transport| laboratory.address(transport);
    let runtime = &laboratory.runtime;
    [
        dot(address(Transport::Tls), config(trusted, b"dot")).is_ok(),
        runtime.block_on(doh(address(Transport::Https), config(trusted, b"h2"))).is_ok(),
        runtime.block_on(doq(address(Transport::Quic), config(trusted, b"doq"))).is_ok(),
    ]
}

#[test]
fn a_new_certificate_is_shown_at_once_and_open_connections_go_on() {
    let laboratory = Laboratory::new();
    let old = laboratory.presented.chain().unwrap();
    let mut connection = dot(laboratory.address(Transport::Tls), config(&old, b"dot")).unwrap();
    let (new, key) = certificate(HOST);
    laboratory.presented.replace(new.clone(), key).unwrap();
    assert_eq!(accepted(&laboratory, &new), [true; 3]);
    assert_eq!(accepted(&laboratory, &old), [false; 3]);
    connection.write_all(&framed(&zero(name("example.org").as_wire(), Rtype::MX, DNSSEC))).unwrap();
    assert!(read_frame(&mut connection).unwrap().len() > 12, "its handshake is done");
}

#[test]
fn a_broken_one_leaves_the_last_good_one_in_force() {
    let laboratory = Laboratory::new();
    let good = laboratory.presented.chain().unwrap();
    let (other, _) = certificate(HOST);
    let (_, key) = certificate(HOST);
    let message = laboratory.presented.replace(other, key.clone_key()).unwrap_err().to_string();
    assert!(message.starts_with("the certificate can't be presented"), "{message}");
    assert!(laboratory.presented.replace(Vec::new(), key.clone_key()).is_err());
    assert!(laboratory.presented.replace(vec![CertificateDer::from(vec![0x30, 0])], key).is_err());
    let nonsense = PrivateKeyDer::Pkcs8(vec![1, 2, 3].into());
    assert!(laboratory.presented.replace(good.clone(), nonsense).is_err());
    assert_eq!(laboratory.presented.chain().unwrap(), good);
    assert_eq!(accepted(&laboratory, &good), [true; 3]);
}

#[test]
fn without_a_certificate_nobody_gets_through_and_with_one_they_do() {
    let mut laboratory = Laboratory::new();
    let presented = Presented::default();
    assert!(presented.chain().is_none());
    laboratory.present_through(&presented);
    let (chain, key) = certificate(HOST);
    assert_eq!(accepted(&laboratory, &chain), [false; 3]);
    presented.replace(chain.clone(), key).unwrap();
    assert_eq!(accepted(&laboratory, &chain), [true; 3]);
    assert_eq!(format!("{presented:?}"), "Presented(a certificate)", "no key in what may be logged");
}
