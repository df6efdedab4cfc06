//! DoQ's own rules (RFC 9250).

use danelaw::dns::Rtype;
use danelaw::serve::Transport;
use quinn::{ConnectionError, VarInt};

use super::clients::{PATIENCE, config, doq, doq_octets, framed};
use super::common::name;
use super::common::wire::DNSSEC;
use super::equality::zero;
use super::laboratory::Laboratory;

/// The code that the server closed the connection with.
async fn closed_with(connection: &quinn::Connection) -> VarInt {
    match tokio::time::timeout(PATIENCE, connection.closed()).await.expect("closed") {
        ConnectionError::ApplicationClosed(close) => close.error_code,
        other => panic!("{other}"),
    }
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    let query = zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC);
    let mut with_id = query.clone();
    with_id[1] = 1;
    // The OPT record is the last, with an empty RDATA: an edns-tcp-keepalive goes behind it.
    let mut keepalive = query.clone();
    let at = keepalive.len() - 2;
    keepalive[at..].copy_from_slice(&[0, 4]);
    keepalive.extend_from_slice(&[0, 11, 0, 0]);
    let cases = [
        ("an ID", framed(&with_id)),
        ("two queries on one stream", [framed(&query), framed(&query)].concat()),
        ("half a query", framed(&query)[..20].to_vec()),
        ("nothing", Vec::new()),
        ("no header", framed(&query[..11])),
        ("edns-tcp-keepalive", framed(&keepalive)),
        ("more than a message", vec![0; 66_000]),
    ];
    laboratory.runtime.block_on(async {
        for (what, octets) in cases {
            let client = doq(laboratory.address(Transport::Quic), config(&trusted, b"doq")).await.unwrap();
            let good = doq_octets(&client, &framed(&query)).await.unwrap();
            assert!(good.len() > 14, "{what}");
            assert_eq!(doq_octets(&client, &octets).await, None, "{what}");
            assert_eq!(closed_with(&client).await, VarInt::from_u32(2), "{what}: DOQ_PROTOCOL_ERROR");
        }
    });
}

#[test]
fn queries_are_answered_side_by_side_and_one_that_stalls_holds_up_none() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    let query = framed(&zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC));
    laboratory.runtime.block_on(async {
        let client = doq(laboratory.address(Transport::Quic), config(&trusted, b"doq")).await.unwrap();
        let (mut stalled, mut late) = client.open_bi().await.unwrap();
        stalled.write_all(&query[..5]).await.unwrap();
        for _ in 0..100 {
            assert!(doq_octets(&client, &query).await.unwrap().len() > 14);
        }
        stalled.write_all(&query[5..]).await.unwrap();
        stalled.finish().unwrap();
        assert!(late.read_to_end(70_000).await.unwrap().len() > 14, "and it is answered when it comes");
    });
}

#[test]
fn a_shutdown_closes_without_an_error() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    let address = laboratory.address(Transport::Quic);
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connection = client.block_on(doq(address, config(&trusted, b"doq"))).unwrap();
    let query = framed(&zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC));
    assert!(client.block_on(doq_octets(&connection, &query)).unwrap().len() > 14);
    let Laboratory { runtime, encrypted, .. } = laboratory;
    drop(encrypted);
    assert_eq!(client.block_on(closed_with(&connection)), VarInt::from_u32(0), "DOQ_NO_ERROR");
    drop(runtime);
}
