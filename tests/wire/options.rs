//! EDNS options octet for octet, cookies, class CH, and reasons.

use danelaw::answer::cookie::Secrets;
use danelaw::answer::{self, Context, Cookie, MESSAGE_MAX, Settings, Transport, answer, challenge};
use danelaw::dns::Rtype;
use data_encoding::HEXLOWER;

use super::common::wire::{self, Ask, DNSSEC};
use super::common::{name, now};
use super::packets::examples;

const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
const TIME: u64 = 1_559_731_985;
const NOBODY: &str = "elsewhere.test";

fn settings() -> Settings {
    let secret = HEXLOWER.decode(b"e5e973e5a6b2a43f48e7dc849e37bfcf").unwrap().try_into().unwrap();
    Settings {
        nsid: b"ns1".to_vec(),
        version: b"danelaw".to_vec(),
        identity: b"ns1.example.org".to_vec(),
        cookies: Secrets::new([secret]),
        keepalive: Some(300),
    }
}

fn context(transport: Transport, settings: &Settings) -> Context<'_> {
    Context::new("198.51.100.100".parse().unwrap(), transport, TIME).with(settings)
}

fn option(code: u16, content: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
}

/// A query without DO, with these options.
fn query(owner: &str, rtype: u16, payload: u16, options: &[u8]) -> Vec<u8> {
    let ask = Ask { edns: Some(payload), dnssec: false, tcp: false };
    let mut query = wire::query(name(owner).as_wire(), rtype, ask);
    let at = query.len() - 2;
    query[at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
    query.extend_from_slice(options);
    query
}

fn respond(query: &[u8], context: &Context<'_>) -> Vec<u8> {
    let mut out = vec![0xee; MESSAGE_MAX];
    let len = answer(&examples(), context, query, &mut out).unwrap();
    out.truncate(len);
    out
}

/// The response's last octets, from its OPT record on, for a question without answer.
fn opt_of(query: &[u8], transport: Transport) -> String {
    let settings = settings();
    let response = respond(query, &context(transport, &settings));
    let question = name(NOBODY).as_wire().len() + 4;
    HEXLOWER.encode(&response[12 + question..])
}

fn rcode(response: &[u8]) -> u16 {
    wire::decode(response).rcode
}

#[test]
fn opt_records_octet_for_octet() {
    let cookie = "000a00182464c4abcf10c957010000005cf79f111f8130c3eee29480";
    let ede = "000f00020014";
    // Root, type 41, 1232 octets, extended response code, version 0, no flags.
    let opt = |length: &str| format!("00002904d000000000{length}");
    let (nsid, keepalive, padding) = (option(3, b""), option(11, b""), option(12, &[0; 5]));
    let asked = option(10, &CLIENT);
    let all = [&nsid[..], &asked, &keepalive, &padding, &option(65_001, b"x")].concat();
    let ask = |options: &[u8]| query(NOBODY, 1, 1232, options);
    assert_eq!(opt_of(&ask(&[]), Transport::Udp), format!("{}{ede}", opt("0006")));
    assert_eq!(opt_of(&ask(&nsid), Transport::Udp), format!("{}00030003{}{ede}", opt("000d"), "6e7331"));
    assert_eq!(opt_of(&ask(&asked), Transport::Udp), format!("{}{cookie}{ede}", opt("0022")));
    assert_eq!(opt_of(&ask(&all), Transport::Udp), format!("{}000300036e7331{cookie}{ede}", opt("0029")));
    assert_eq!(opt_of(&ask(&all), Transport::Tcp), format!("{}000300036e7331{cookie}000b0002012c{ede}", opt("002f")));
    assert_eq!(opt_of(&ask(&keepalive), Transport::Quic), format!("{}{ede}", opt("0006")), "RFC 9250 section 5.5.2");
    let padded = opt_of(&ask(&all), Transport::Tls);
    assert!(padded.starts_with(&format!("{}000300036e7331{cookie}000b0002012c{ede}000c01", opt("01a9"))), "{padded}");
}

#[test]
fn encrypted_responses_are_padded_to_468_octets_when_asked_to() {
    let settings = settings();
    let padding = option(12, &[]);
    for (owner, rtype) in [(NOBODY, 1), ("example.org", 6), ("large.corners.example", 16)] {
        for transport in [Transport::Tls, Transport::Https, Transport::Quic] {
            let context = context(transport, &settings);
            let response = respond(&query(owner, rtype, 1232, &padding), &context);
            assert_eq!(response.len() % 468, 0, "{owner} {transport:?}: {}", response.len());
            let whole = respond(&query(owner, rtype, 1232, &[]), &context);
            assert!(response.len() < whole.len() + 6 + 468);
        }
        for transport in [Transport::Udp, Transport::Tcp] {
            let context = context(transport, &settings);
            let unpadded = respond(&query(owner, rtype, 1232, &[]), &context);
            assert_eq!(respond(&query(owner, rtype, 1232, &padding), &context), unpadded, "RFC 7830 section 6");
        }
    }
}

#[test]
fn malformed_options_are_formerr_and_the_rest_is_not() {
    let settings = settings();
    let context = context(Transport::Tcp, &settings);
    let of = |options: &[u8]| rcode(&respond(&query("example.org", 6, 1232, options), &context));
    for length in 0..=45 {
        let good = length == 8 || (16..=40).contains(&length);
        assert_eq!(
            of(&option(10, &vec![1; length])),
            u16::from(!good),
            "a COOKIE of {length} octets (RFC 7873 section 5.2.2)"
        );
    }
    assert_eq!(of(&[0, 10, 0]), 1, "three octets are no option");
    assert_eq!(of(&[0, 100, 0, 1]), 1, "an option longer than OPT");
    assert_eq!(of(&option(11, &[0, 1])), 1, "a client's keepalive has no time (RFC 7828 section 3.2.1)");
    assert_eq!(of(&option(3, b"x")), 0, "what stands in NSID is ignored (RFC 5001 section 2.1)");
    assert_eq!(of(&[option(10, &CLIENT), option(10, &[1; 3])].concat()), 0, "the first COOKIE counts");
}

#[test]
fn a_query_without_question_asks_for_a_cookie_or_tries_one() {
    let settings = settings();
    let context = context(Transport::Udp, &settings);
    let without_question = |options: &[u8]| {
        let mut query = query(".", 1, 1232, options);
        query[5] = 0;
        query.drain(12..17);
        respond(&query, &context)
    };
    let given = without_question(&option(10, &CLIENT));
    assert_eq!((rcode(&given), given.len()), (0, 12 + 11 + 28), "RFC 7873 section 5.4");
    let cookie = given[12 + 15..].to_vec();
    assert_eq!(rcode(&without_question(&option(10, &cookie))), 0);
    let mut forged = cookie.clone();
    forged[20] ^= 1;
    let refused = without_question(&option(10, &forged));
    assert_eq!(rcode(&refused), 23, "BADCOOKIE");
    assert_eq!(refused[12 + 15..], cookie);
    assert_eq!(rcode(&without_question(&[])), 1);
    let mut query = query(".", 1, 1232, &option(10, &CLIENT));
    query[5] = 0;
    query.drain(12..17);
    let silent = Context::new([127, 0, 0, 1].into(), Transport::Udp, TIME);
    assert_eq!(rcode(&respond(&query, &silent)), 1, "where no cookies are spoken");
}

#[test]
fn more_than_1232_octets_go_to_proven_addresses_only() {
    let settings = settings();
    let context = context(Transport::Udp, &settings);
    let mut longest = [0, 0];
    let text = format!(
        "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\nlarge TXT {}\n",
        "\"0123456789012345678901234567890123456789\" ".repeat(30)
    );
    let large = super::common::zone("large.test", &text);
    let large = danelaw::zone::Snapshot::new(
        [super::common::snapshot(&super::common::sign(&large, danelaw::dns::dnssec::Algorithm::Ed25519))],
        [],
    );
    let respond = |query: &[u8], context: &Context<'_>| {
        let mut out = vec![0xee; MESSAGE_MAX];
        let len = answer(&large, context, query, &mut out).unwrap();
        out.truncate(len);
        out
    };
    let fresh = respond(&query(NOBODY, 1, 1232, &option(10, &CLIENT)), &context);
    let cookie = fresh[fresh.len() - 30..fresh.len() - 6].to_vec();
    for (proven, cookie) in [(0, &CLIENT[..]), (1, &cookie)] {
        let ask = |payload, rtype| {
            let query = query("large.large.test", rtype, payload, &option(10, cookie));
            let seen = answer::respond(&large, &context, &query, &mut vec![0; MESSAGE_MAX]).unwrap().1;
            assert_eq!(seen.cookie, [Cookie::New, Cookie::Valid][proven]);
            respond(&query, &context)
        };
        for payload in [0, 512, 1232, 1300, 1400, 4096, 65_535] {
            for rtype in [16, 1, 6, 255] {
                let limit = usize::from(payload).clamp(512, [1232, 1400][proven]);
                let length = ask(payload, rtype).len();
                assert!(length <= limit, "{length} octets for {payload}");
                longest[proven] = longest[proven].max(length);
            }
        }
    }
    assert!(longest[0] <= 1232 && longest[1] > 1232, "{longest:?}");
}

#[test]
fn who_asks_too_much_has_to_prove_his_address() {
    let settings = settings();
    let context = context(Transport::Udp, &settings);
    let challenged = |query: &[u8]| {
        let mut out = vec![0xee; MESSAGE_MAX];
        let (len, rcode_high) = challenge(&context, query, &mut out).unwrap();
        out.truncate(len);
        assert!(len <= query.len() + 16, "{len} octets for {}", query.len());
        assert_eq!(usize::from(rcode_high), wire::decode(&out).rcode as usize >> 4);
        out
    };
    let with_cookie = query("large.corners.example", 16, 1232, &option(10, &CLIENT));
    let response = wire::decode(&challenged(&with_cookie));
    assert_eq!((response.rcode, response.tc, response.answer.len()), (23, false, 0));
    for query in
        [query("example.org", 6, 1232, &option(3, b"")), wire::query(name("example.org").as_wire(), 6, wire::PLAIN)]
    {
        let response = wire::decode(&challenged(&query));
        assert_eq!((response.rcode, response.tc, response.answer.len()), (0, true, 0));
    }
    let mut out = vec![0; MESSAGE_MAX];
    assert_eq!(challenge(&context, &[0; 11], &mut out), None);
}

#[test]
fn class_ch_says_what_the_operator_lets_it_say() {
    let settings = settings();
    let context = context(Transport::Udp, &settings);
    let ask = |owner: &str, rtype: u16, class: u8, context: &Context<'_>| {
        let mut query = wire::query(name(owner).as_wire(), rtype, wire::PLAIN);
        *query.last_mut().unwrap() = class;
        respond(&query, context)
    };
    let expected = [
        ("version.bind", "\x07danelaw"),
        ("VERSION.server", "\x07danelaw"),
        ("id.server", "\x0fns1.example.org"),
        ("hostname.bind", "\x0fns1.example.org"),
    ];
    for (owner, text) in expected {
        let octets = ask(owner, 16, 3, &context);
        let response = wire::decode(&octets);
        let answer = response.answer.first().unwrap();
        assert_eq!(
            (response.rcode, response.aa, answer.ttl, &answer.rdata[..]),
            (0, true, 0, text.as_bytes()),
            "{owner}"
        );
        let class = 12 + name(owner).as_wire().len() + 4 + 4;
        assert_eq!(octets[class..class + 2], [0, 3], "class CH");
        assert_eq!(rcode(&ask(owner, 255, 3, &context)), 0, "ANY");
        assert_eq!(rcode(&ask(owner, 1, 3, &context)), 5, "A");
        assert_eq!(rcode(&ask(owner, 16, 1, &context)), 5, "class IN");
        let silent = Context::new([127, 0, 0, 1].into(), Transport::Udp, now());
        assert_eq!(rcode(&ask(owner, 16, 3, &silent)), 5, "hidden");
    }
    assert_eq!(rcode(&ask("example.org", 16, 3, &context)), 5);
    assert_eq!(rcode(&ask("example.org", 6, 4, &context)), 5, "class HS");
    let any = wire::decode(&ask("example.org", 6, 255, &context));
    assert_eq!(
        (any.rcode, any.aa, any.answer.len()),
        (0, false, 1),
        "class ANY is never authoritative (RFC 1035 section 6.2)"
    );
}

/// The extended error's code, if there is one.
fn reason(response: &[u8]) -> Option<u16> {
    let tail = response.len().checked_sub(6)?;
    (response[tail..tail + 4] == [0, 15, 0, 2]).then(|| u16::from_be_bytes([response[tail + 4], response[tail + 5]]))
}

#[test]
fn stale_zones_and_expired_signatures_say_so() {
    let settings = settings();
    let snapshot = examples().with_stale(vec![name("Example.org")]);
    let answer_at = |owner: &str, dnssec: bool, time: u64| {
        let query = wire::query(name(owner).as_wire(), 6, Ask { edns: Some(1232), dnssec, tcp: true });
        let mut out = vec![0; MESSAGE_MAX];
        let context = Context::new([127, 0, 0, 1].into(), Transport::Tcp, time).with(&settings);
        let len = answer(&snapshot, &context, &query, &mut out).unwrap();
        out.truncate(len);
        (rcode(&out), reason(&out))
    };
    let (present, late) = (now(), now() + 15 * 86_400);
    assert_eq!(answer_at("example.org", true, present), (0, Some(3)));
    assert_eq!(answer_at("corners.example", true, present), (0, None));
    assert_eq!(answer_at("corners.example", true, late), (0, Some(7)));
    assert_eq!(answer_at("corners.example", false, late), (0, None), "who wants no signatures does not miss them");
}

#[test]
fn what_is_not_answered_says_why() {
    let settings = settings();
    let context = context(Transport::Tcp, &settings);
    let ask = |owner: &str, rtype: u16| respond(&query(owner, rtype, 1232, &[]), &context);
    for (owner, rtype, rcode_, why) in [
        (NOBODY, 1, 5, Some(20)),
        ("www.broken.test", 1, 2, Some(24)),
        ("example.org", Rtype::AXFR.0, 5, Some(18)),
        ("example.org", Rtype::IXFR.0, 5, Some(18)),
        ("example.org", 6, 0, None),
        ("nowhere.example.org", 6, 3, None),
    ] {
        let response = ask(owner, rtype);
        assert_eq!((rcode(&response), reason(&response)), (rcode_, why), "{owner} {rtype} (RFC 8914 section 4)");
    }
    let mut update = query("example.org", 6, 1232, &[]);
    update[2] = 5 << 3;
    assert_eq!(reason(&respond(&update, &context)), Some(21));
    let plain = wire::query(name(NOBODY).as_wire(), 1, wire::PLAIN);
    assert_eq!(respond(&plain, &context).len(), plain.len(), "without EDNS there is no place for it");
    assert_eq!(
        wire::decode(&respond(&wire::query(name(NOBODY).as_wire(), 1, DNSSEC), &context)).edns,
        Some((1232, true))
    );
}
