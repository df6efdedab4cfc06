//! Signed queries (TSIG, RFC 8945): BIND's and Knot's clients sign them, and check what comes back.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use danelaw::answer::{Context, MESSAGE_MAX, PROVEN_UDP_MAX, Signature, Transport, UDP_MAX};
use danelaw::dns::dnssec::Algorithm as ZoneAlgorithm;
use danelaw::dns::tsig::{Algorithm, Key, Keyring, Standing, sign_request};
use danelaw::serve::authentic;
use danelaw::zone::Snapshot;

use crate::common::wire::{self, DNSSEC, PLAIN, TCP};
use crate::common::{self, example, name, now, run, sign, snapshot, succeed};
use crate::house::{CONFIG, Daemon, HOST, House, ZONE, wait_until};

const ALGORITHMS: [&str; 3] = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// A house whose daemon knows a key for each algorithm, made by `danelaw keys tsig`.
fn house() -> House {
    let house = House::good();
    let files: Vec<String> = ALGORITHMS
        .iter()
        .map(|algorithm| {
            let key = format!("{algorithm}.test");
            let made = house.danelaw(&["keys", "tsig", &key, "--algorithm", algorithm]);
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            format!("\"keys/{key}.key\"")
        })
        .collect();
    house.put("danelaw.toml", format!("tsig-keys = [{}]\n{CONFIG}", files.join(", ")));
    house
}

/// The secret in a key's file.
fn secret(house: &House, key: &str) -> String {
    let text = String::from_utf8(house.read(&format!("keys/{key}.key"))).unwrap();
    text.split("secret \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// What a client prints that signs with this, `algorithm:name:secret`.
fn ask(daemon: &Daemon<'_>, program: &[&str], key: &str, more: &[&str]) -> String {
    let port = daemon.address.port().to_string();
    let arguments = [&program[1..], &["@127.0.0.1", "-p", &port, "-y", key, ZONE, "MX"], more].concat();
    let output = run(program[0], &arguments);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_verified(said: &str) -> bool {
    let complains =
        ["WARNING: reply", "could not be validated", "Couldn't verify"].iter().any(|word| said.contains(word));
    said.contains("TSIG PSEUDOSECTION") && said.contains("mail.example.org.") && !complains
}

#[test]
fn dig_and_kdig_verify_signed_answers_of_every_algorithm() {
    let house = house();
    let daemon = house.start();
    for algorithm in ALGORITHMS {
        let key = format!("{algorithm}:{algorithm}.test:{}", secret(&house, &format!("{algorithm}.test")));
        for program in ["dig", "kdig"] {
            for more in [&["+notcp"][..], &["+tcp"], &["+dnssec"]] {
                let said = ask(&daemon, &[program], &key, more);
                assert!(is_verified(&said), "{program} {algorithm} {more:?}: {said}");
            }
        }
        // The file as it stands is one that BIND's tools take.
        let file = house.path(&format!("keys/{algorithm}.test.key"));
        let said = daemon.dig(&["-k", file.to_str().unwrap(), ZONE, "MX"]);
        assert!(is_verified(&said), "{said}");
    }
    let tsig = &daemon.status()["statistics"]["tsig"];
    assert_eq!((&tsig["verified"], &tsig["bad-key"]), (&21.into(), &0.into()));
    let shown = String::from_utf8(house.danelaw(&["status"]).stdout).unwrap();
    assert!(shown.contains("signed queries: 21 verified, 0 refused"), "{shown}");
    // What is not allowed is refused to somebody who can believe it.
    let update =
        format!("server 127.0.0.1 {}\nzone {ZONE}\nupdate add x.{ZONE} 60 A 192.0.2.1\nsend\n", daemon.address.port());
    house.put("update", update);
    let file = house.path("keys/hmac-sha256.test.key");
    let output = run("nsupdate", &["-k", file.to_str().unwrap(), house.path("update").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("update failed: REFUSED"), "{output:?}");
    assert_eq!(daemon.status()["statistics"]["tsig"]["verified"], 22);
}

#[test]
fn wrong_keys_secrets_times_and_short_macs_are_told_apart() {
    let house = house();
    let daemon = house.start();
    let (right, other) = (secret(&house, "hmac-sha256.test"), secret(&house, "hmac-sha384.test"));
    let cases = [
        ("BADSIG", "hmac-sha256", "hmac-sha256.test", &other, &[][..]),
        ("BADKEY", "hmac-sha256", "nobody.test", &right, &[]),
        ("BADKEY", "hmac-sha512", "hmac-sha256.test", &right, &[]),
        ("BADKEY", "hmac-sha1", "hmac-sha256.test", &right, &[]),
        ("BADTIME", "hmac-sha256", "hmac-sha256.test", &right, &["faketime", "-f", "-3600s"]),
        ("BADTIME", "hmac-sha256", "hmac-sha256.test", &right, &["faketime", "-f", "+3600s"]),
    ];
    for (error, algorithm, key, secret, before) in cases {
        for transport in ["+notcp", "+tcp"] {
            let key = format!("{algorithm}:{key}:{secret}");
            let said = ask(&daemon, &[before, &["kdig"]].concat(), &key, &["+retry=0", transport]);
            assert!(said.contains(&format!("status: {error}")) && !said.contains("ANSWER SECTION"), "{error}: {said}");
            if before.is_empty() {
                let said = ask(&daemon, &["dig"], &key, &["+tries=1", transport]);
                assert!(said.contains("status: NOTAUTH") && said.contains(&format!(" {error} 0")), "{error}: {said}");
            }
        }
    }
    let said = ask(&daemon, &["dig"], &format!("hmac-sha256-128:hmac-sha256.test:{right}"), &["+tries=1"]);
    assert!(said.contains("status: NOTAUTH") && said.contains(" BADTRUNC 0"), "{said}");
    let status = daemon.status();
    let expected = serde_json::json!(
        {"verified": 0, "malformed": 0, "bad-sig": 4, "bad-key": 12, "bad-time": 4, "bad-trunc": 1}
    );
    assert_eq!((&status["statistics"]["tsig"], &status["statistics"]["responses"]["NOTAUTH"]), (&expected, &21.into()));
    let log = daemon.log();
    for (error, key) in
        [("BADSIG", "hmac-sha256"), ("BADKEY", "nobody"), ("BADTIME", "hmac-sha256"), ("BADTRUNC", "hmac-sha256")]
    {
        assert_eq!(log.matches(&format!("TSIG: {error}")).count(), 1, "once a minute: {log}");
        assert!(log.contains(&format!("TSIG: {error} to 127.0.0.1, key {key}.test. (0 times before)")), "{log}");
    }
    assert!(!log.contains(&right) && !log.contains(&other), "a secret in the log");
}

#[test]
fn a_replaced_key_counts_at_once_and_a_broken_file_changes_nothing() {
    let house = house();
    let daemon = house.start();
    let file = house.path("keys/hmac-sha256.test.key");
    let old = format!("hmac-sha256:hmac-sha256.test:{}", secret(&house, "hmac-sha256.test"));
    assert!(is_verified(&ask(&daemon, &["dig"], &old, &[])));
    let put = |text: &str| {
        let fresh = house.path("keys/.fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&fresh, &file).unwrap();
    };
    put("key \"hmac-sha256.test\" {\n  algorithm hmac-sha256;\n  secret \"aGFsZiB3cml0\n");
    wait_until("it is told of", || daemon.problems().contains("hmac-sha256.test.key:3:10: expected another `\"`"));
    assert!(daemon.problems().contains("its last good keys stay in force") && !daemon.problems().contains("aGFs"));
    assert!(is_verified(&ask(&daemon, &["dig"], &old, &[])));
    // As Knot writes it, and with shorter MACs taken.
    put("key:\n  - id: hmac-sha256.test\n    algorithm: hmac-sha256-128\n    secret: YW5vdGhlciBzZWNyZXQ=\n");
    let new = "hmac-sha256-128:hmac-sha256.test:YW5vdGhlciBzZWNyZXQ=";
    wait_until("the new one counts", || is_verified(&ask(&daemon, &["dig"], new, &[])));
    assert!(ask(&daemon, &["dig"], &old, &[]).contains("BADSIG"));
    assert!(!daemon.problems().contains("TSIG"), "{}", daemon.problems());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(!house.danelaw(&["reload"]).stdout.is_empty());
    assert!(daemon.problems().contains("chmod 600"), "{}", daemon.problems());
    assert!(is_verified(&ask(&daemon, &["dig"], new, &[])));
}

#[test]
fn what_keys_tsig_prints_is_what_others_take() {
    let house = House::empty();
    let made = house.danelaw(&["keys", "tsig", "transfer.example.org", "--algorithm", "hmac-sha384"]);
    let said = String::from_utf8(made.stdout).unwrap();
    let file = house.path("keys/transfer.example.org.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(said.starts_with(file.to_str().unwrap()), "{said}");
    assert!(said.contains("tsig-keys = [\"keys/transfer.example.org.key\"]"), "{said}");
    let part = |head: &str| {
        let rest = said.split(head).nth(1).unwrap_or_else(|| panic!("{head} in {said}"));
        let part: Vec<&str> = rest.lines().skip(1).take_while(|line| !line.starts_with('#')).collect();
        let path = house.path("part");
        std::fs::write(&path, part.join("\n") + "\n").unwrap();
        path
    };
    succeed("named-checkconf", &[part("# BIND").to_str().unwrap()]);
    succeed("knotc", &["-c", part("# Knot").to_str().unwrap(), "conf-check"]);
    succeed("nsd-checkconf", &[part("# NSD").to_str().unwrap()]);
    let again = house.danelaw(&["keys", "tsig", "transfer.example.org"]);
    assert_eq!(again.status.code(), Some(1), "never over another");
    for wrong in ["..", "a/b", "."] {
        assert_eq!(house.danelaw(&["keys", "tsig", wrong]).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn who_has_no_key_gets_no_more_octets_than_he_sends() {
    let house = house();
    let daemon = house.start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let exchange = |query: &[u8]| {
        socket.send_to(query, daemon.address).unwrap();
        let mut response = vec![0; 65_535];
        let (length, _) = socket.recv_from(&mut response).unwrap();
        response.truncate(length);
        response
    };
    for how in [PLAIN, DNSSEC] {
        let query = wire::query(name(HOST).as_wire(), 255, how);
        for key in ["hmac-sha256.test.", "nobody.test."] {
            let key = Arc::new(Key::new(&name(key), Algorithm::HmacSha256, b"wrong").unwrap());
            let (signed, mut responses) = signed(&key, &query, now());
            let response = exchange(&signed);
            assert!(response.len() < signed.len(), "{} to {}", response.len(), signed.len());
            assert!(responses.verify(&response, now()).is_err());
            let mut twice = signed.clone();
            twice.extend_from_slice(&signed[query.len()..]);
            twice[11] += 1;
            let response = exchange(&twice);
            assert_eq!((wire::decode(&response).rcode, response.len()), (1, query.len()), "FORMERR, without TSIG");
        }
    }
    assert_eq!(daemon.status()["statistics"]["tsig"]["malformed"], 4);
}

fn signed(key: &Arc<Key>, query: &[u8], now: u64) -> (Vec<u8>, danelaw::dns::tsig::Responses) {
    let mut out = query.to_vec();
    out.resize(query.len() + 400, 0);
    let (length, responses) = sign_request(key, &mut out, query.len(), now).unwrap();
    out.truncate(length);
    (out, responses)
}

/// Truncation leaves room for the signature, whatever the limit and however long the key's name.
#[test]
fn a_signed_answer_keeps_to_its_limit_and_is_the_unsigned_one() {
    let zones = common::EXAMPLES.iter().map(|origin| snapshot(&sign(&example(origin), ZoneAlgorithm::Ed25519)));
    let snapshot = Snapshot::new(zones, []);
    let long = format!("{0}.{0}.{0}.{1}.", "k".repeat(63), "k".repeat(61));
    for (key, algorithm) in [("a.", Algorithm::HmacSha256), (long.as_str(), Algorithm::HmacSha512)] {
        let key = Arc::new(Key::new(&name(key), algorithm, b"secret").unwrap());
        let keyring = Keyring::new([Arc::clone(&key)]);
        for (owner, rtype) in [
            ("large.corners.example", 16),
            ("www.large.corners.example", 1),
            ("example.org", 255),
            ("nowhere.example.org", 1),
        ] {
            for (payload, transport) in [
                (None, Transport::Udp),
                (Some(512), Transport::Udp),
                (Some(900), Transport::Udp),
                (Some(4096), Transport::Udp),
                (Some(512), Transport::Tcp),
                (Some(512), Transport::Tls),
            ] {
                let how = wire::Ask { edns: payload, dnssec: payload.is_some(), ..TCP };
                let mut query = wire::query(name(owner).as_wire(), rtype, how);
                if transport == Transport::Tls {
                    let at = query.len() - 2;
                    query.splice(at.., [0, 4, 0, 12, 0, 0]);
                }
                let (signed, mut responses) = signed(&key, &query, now());
                let context = Context::new([127, 0, 0, 1].into(), transport, now());
                let ask = |query: &[u8]| {
                    let mut out = vec![0xee; MESSAGE_MAX];
                    let (length, seen) = authentic::respond(&snapshot, &context, &keyring, query, &mut out).unwrap();
                    out.truncate(length);
                    (out, seen)
                };
                let ((plain, unseen), (response, seen)) = (ask(&query), ask(&signed));
                assert_eq!((unseen.signature, seen.signature), (Signature::None, Signature::Verified));
                assert_eq!(responses.verify(&response, now()), Ok(Standing::Proven), "{owner} {payload:?}");
                let (plain, decoded) = (wire::decode(&plain), wire::decode(&response));
                match transport {
                    Transport::Udp => {
                        let limit = usize::from(payload.unwrap_or(512)).min(PROVEN_UDP_MAX);
                        let least = signed.len() + 6;
                        assert!(response.len() <= limit.max(least), "{owner} {payload:?}: {}", response.len());
                        assert!(decoded.tc || !plain.tc || response.len() > UDP_MAX);
                    }
                    Transport::Tls => assert_eq!(response.len() % 468, 0, "padded with its signature"),
                    _ => assert!(!decoded.tc),
                }
                assert!(decoded.answer.is_subset(&plain.answer) || !decoded.tc);
                if !decoded.tc && !plain.tc {
                    assert_eq!(
                        (decoded.rcode, &decoded.answer, &decoded.authority),
                        (plain.rcode, &plain.answer, &plain.authority)
                    );
                }
            }
        }
    }
}
