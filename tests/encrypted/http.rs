//! HTTP's side of DoH: which status means what, and how long an answer may be kept.

use danelaw::dns::Rtype;
use danelaw::serve::Transport;
use http::{Method, StatusCode};

use super::clients::{MEDIA_TYPE, config, doh, get, request};
use super::common::name;
use super::common::wire::{DNSSEC, PLAIN, decode};
use super::equality::zero;
use super::laboratory::Laboratory;

/// The status, method, path, content type and body.
type Case = (u16, Method, String, Option<&'static str>, Option<Vec<u8>>);

#[test]
fn what_is_no_query_gets_the_status_that_says_why() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    let query = zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC);
    let mut response = query.clone();
    response[2] |= 0x80;
    let dns = |value: &str| format!("/dns-query?dns={value}");
    let cases: Vec<Case> = vec![
        (200, Method::GET, get(&query), None, None),
        (200, Method::GET, format!("{}&ct", get(&query)), None, None),
        (200, Method::HEAD, get(&query), None, None),
        (200, Method::POST, "/dns-query".to_owned(), Some("Application/DNS-message; x=y"), Some(query.clone())),
        (404, Method::GET, get(&query).replace("dns-query", "other"), None, None),
        (404, Method::POST, "/".to_owned(), Some(MEDIA_TYPE), Some(query.clone())),
        (405, Method::PUT, "/dns-query".to_owned(), Some(MEDIA_TYPE), Some(query.clone())),
        (405, Method::DELETE, get(&query), None, None),
        (415, Method::POST, "/dns-query".to_owned(), Some("application/json"), Some(query.clone())),
        (415, Method::POST, "/dns-query".to_owned(), None, Some(query.clone())),
        (413, Method::POST, "/dns-query".to_owned(), Some(MEDIA_TYPE), Some(vec![0; 65_536])),
        (400, Method::POST, "/dns-query".to_owned(), Some(MEDIA_TYPE), Some(query[..11].to_vec())),
        (400, Method::POST, "/dns-query".to_owned(), Some(MEDIA_TYPE), Some(response)),
        (400, Method::POST, "/dns-query".to_owned(), Some(MEDIA_TYPE), None),
        (400, Method::GET, "/dns-query".to_owned(), None, None),
        (400, Method::GET, dns(""), None, None),
        (400, Method::GET, dns("AAAA"), None, None),
        (400, Method::GET, dns("not+base64url"), None, None),
        (400, Method::GET, format!("{}==", get(&query)), None, None),
        (400, Method::GET, format!("{0}&{0}", get(&query).trim_start_matches("/dns-query?")), None, None),
        (431, Method::GET, dns(&"A".repeat(20_000)), None, None),
    ];
    laboratory.runtime.block_on(async {
        let client = doh(laboratory.address(Transport::Https), config(&trusted, b"h2")).await.unwrap();
        for (expected, method, path, content_type, body) in cases {
            let path = if path.starts_with('/') { path } else { format!("/dns-query?{path}") };
            let what = format!("{method} {} {content_type:?}", &path[..path.len().min(60)]);
            let said = request(&client, method.clone(), &path, content_type, body.as_deref()).await;
            let (status, headers, body) = said.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(status, StatusCode::from_u16(expected).unwrap(), "{what}");
            let has_body = expected == 200 && method != Method::HEAD;
            assert_eq!(!body.is_empty(), has_body, "{what}");
            if expected == 200 {
                assert_eq!(headers["content-type"], MEDIA_TYPE);
                assert!(headers.contains_key("content-length"));
            }
            assert_eq!(headers.contains_key("allow"), expected == 405, "{what}");
        }
    });
}

#[test]
fn an_answer_is_fresh_as_long_as_its_least_ttl() {
    let laboratory = Laboratory::new();
    let trusted = laboratory.presented.chain().unwrap();
    laboratory.runtime.block_on(async {
        let client = doh(laboratory.address(Transport::Https), config(&trusted, b"h2")).await.unwrap();
        for (owner, rtype) in [
            ("example.org", Rtype::MX),
            ("example.org", Rtype::SOA),
            ("mail.example.org", Rtype::A),
            ("nothing.example.org", Rtype::A),
            ("mail.example.org", Rtype::MX),
            ("elsewhere.test", Rtype::A),
        ] {
            let query = zero(name(owner).as_wire(), rtype, PLAIN);
            let (_, headers, body) = request(&client, Method::GET, &get(&query), None, None).await.unwrap();
            // Decoded by other code than the server's.
            let decoded = decode(&body);
            let minimum = |rdata: &[u8]| u32::from_be_bytes(*rdata.last_chunk().unwrap());
            let soa = decoded.authority.iter().filter(|record| record.rtype == 6);
            let soa = soa.map(|record| record.ttl.min(minimum(&record.rdata)));
            let least = decoded.answer.iter().map(|record| record.ttl).chain(soa).min().unwrap_or(0);
            assert_eq!(headers["cache-control"], format!("max-age={least}"), "{owner} {rtype}");
            assert_eq!(least == 0, decoded.rcode == 5, "{owner} {rtype}");
        }
    });
}
