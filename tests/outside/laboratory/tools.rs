//! What other tools take the faults for: delv for the chain of trust, posttls-finger, ldns-dane and danetool for mail servers with their
//! TLSA, ldns-verify-zone for what secondaries have. So the laboratory is what it says it is, whoever looks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use super::faults::{BEYOND, CUSTOMER, WHOLE};
use super::zones::{Second, Zone};
use super::{Laboratory, RESOLVER};

/// How many are looked at at the same time.
const WORKERS: usize = 8;

/// Does something for each, a few at a time; gives what came of them, in their order.
pub fn each<I: Sync, T: Send>(items: &[I], doing: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    let came = doing(item);
                    done.lock().unwrap().insert(place, came);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// How the tools take the laboratory otherwise than is expected.
pub fn differences(laboratory: &Laboratory) -> Vec<String> {
    let chain = lay_anchor(laboratory);
    let mut found: Vec<String> = each(&laboratory.zones, |zone| {
        let web = policy(laboratory, zone).into_iter().collect();
        [trust(laboratory, zone, &chain), mail(laboratory, zone), certificate(laboratory, zone), web].concat()
    })
    .concat();
    found.extend(each(&laboratory.zones, |zone| copy(laboratory, zone)).into_iter().flatten());
    found
}

/// `wanted`: what it says, in parts between `&`; empty where it says nothing.
pub fn expect(what: String, said: &str, wanted: &str) -> Option<String> {
    let is_it = wanted.split('&').all(|part| said.contains(part)) && wanted.is_empty() == said.trim().is_empty();
    (!is_it).then(|| format!("{what}: {wanted} was expected, and it says: {}", said.trim()))
}

/// The root's keys as delv reads them.
fn lay_anchor(laboratory: &Laboratory) -> String {
    let keys = fs::read_to_string(laboratory.folder.path().join("above/anchor")).unwrap();
    let read = |line: &str| {
        let words: Vec<&str> = line.split(' ').skip(4).collect();
        format!("  . static-key {} \"{}\";\n", words[..3].join(" "), words[3..].concat())
    };
    let path = laboratory.folder.path().join("delv.keys");
    fs::write(&path, format!("trust-anchors {{\n{}}};\n", keys.lines().map(read).collect::<String>())).unwrap();
    path.display().to_string()
}

/// delv validates by itself, through the resolver.
fn trust(laboratory: &Laboratory, zone: &Zone, anchor: &str) -> Vec<String> {
    const SECURE: &str = "; fully validated";
    const INSECURE: &str = "; unsigned answer";
    const FAILED: &str = ";; resolution failed";
    let (name, tlsa) = (zone.name(), zone.tlsa());
    let questions: &[(&str, &str, &str)] = match zone.label {
        "ds-missing" | "ds-algorithm" | "parent-unsigned" | "zone-unsigned" => &[(&name, "SOA", INSECURE)],
        "ds-unknown-key" | "ds-wrong-digest" | "zone-bogus" | "parent-unreachable" => &[(&name, "SOA", FAILED)],
        "not-delegated" => &[(&name, "SOA", "negative response, fully validated")],
        "mx-bogus" => &[(&name, "SOA", SECURE), (&name, "MX", FAILED)],
        "mx-dname" => &[
            (&name, "MX", SECURE),
            ("mail.old.mx-dname.org", "A", SECURE),
            ("_25._tcp.mail.old.mx-dname.org", "TLSA", SECURE),
        ],
        "mx-missing" => &[(&name, "MX", "negative response, fully validated")],
        BEYOND => &[(CUSTOMER, "MX", SECURE), (&tlsa, "TLSA", SECURE)],
        "host-insecure" => &[(&name, "MX", SECURE), ("_25._tcp.mail.plain", "TLSA", INSECURE)],
        "tlsa-bogus" => &[(&name, "MX", SECURE), (&tlsa, "TLSA", FAILED)],
        "mx-unknown" => &[(&name, "SOA", SECURE), (&name, "MX", FAILED)],
        "tlsa-unknown" => &[(&name, "MX", SECURE), (&tlsa, "TLSA", FAILED)],
        "tlsa-missing" => &[(&tlsa, "TLSA", "negative response, fully validated")],
        // The resolver may ask the server that has something else.
        "signature-expired" | "signature-missing" | "denial-fails" => &[],
        _ => &[(&name, "MX", SECURE), (&tlsa, "TLSA", SECURE)],
    };
    let ask = |(name, rtype, wanted): &(&str, &str, &str)| {
        let server = format!("@{RESOLVER}");
        let said = laboratory.namespace.ask("delv", &[&server, "-a", anchor, "+root=.", name, rtype]);
        expect(format!("delv {name} {rtype}"), &said, wanted)
    };
    questions.iter().filter_map(ask).collect()
}

/// Postfix's client, by IPv4 and IPv6.
fn mail(laboratory: &Laboratory, zone: &Zone) -> Vec<String> {
    const VERIFIED: &str = "Verified TLS connection established";
    const UNTRUSTED: &str = "Untrusted TLS connection established";
    const NOT_FOUND: &str = "Destination address lookup failed";
    let mismatch = "no matching DANE TLSA records";
    let wanted = match zone.label {
        // No TLSA that counts: TLS with whomever.
        "ds-missing" | "ds-algorithm" | "parent-unsigned" | "zone-unsigned" | "host-insecure" | "tlsa-missing"
        | "tlsa-unusable" => [UNTRUSTED; 2],
        "ds-unknown-key"
        | "ds-wrong-digest"
        | "zone-bogus"
        | "parent-unreachable"
        | "not-delegated"
        | "mx-bogus"
        | "mx-missing"
        | "mx-null"
        | super::faults::PARKED => [NOT_FOUND; 2],
        "host-unknown" | "mx-unknown" => [NOT_FOUND; 2],
        "tlsa-bogus" | "tlsa-unknown" => ["TLSA lookup error"; 2],
        "refused" => ["Connection refused"; 2],
        "unreachable" => ["No route to host"; 2],
        "outgoing-blocked" => ["Connection timed out"; 2],
        "unanswered" => [VERIFIED, "Connection timed out"],
        "timed-out" => ["timeout while reading server greeting"; 2],
        "broken" => ["lost connection while sending EHLO"; 2],
        "wrong-protocol" => ["HTTP/1.1 400"; 2],
        "turned-away" => ["554 5.7.1"; 2],
        // Without STARTTLS it has nothing to say.
        "starttls-missing" => [VERIFIED, ""],
        "starttls-injected" | "tls-fails" | "tls-refused" => ["SSL_connect error"; 2],
        "tlsa-mismatch" => [VERIFIED, mismatch],
        "chain-without-anchor" => [mismatch; 2],
        "chain-broken" => ["certificate signature failure"; 2],
        "certificate-name" => ["hostname mismatch"; 2],
        "certificate-time" => ["certificate has expired"; 2],
        // Depends on whom the resolver asks, and on which records are among the first hundred.
        "tlsa-stale" | "tlsa-too-many" | "denial-fails" | "signature-missing" => return Vec::new(),
        _ => [VERIFIED; 2],
    };
    let name = if zone.label == BEYOND { CUSTOMER.to_owned() } else { zone.name() };
    let look = |(family, wanted): (&str, &str)| {
        let options = ["-c", "-t", "2", "-T", "2", "-l", "dane", "-o", &format!("inet_protocols={family}"), &name];
        let said = laboratory.namespace.ask("posttls-finger", &options);
        expect(format!("posttls-finger {name} by {family}"), &said, wanted)
    };
    ["ipv4", "ipv6"].into_iter().zip(wanted).filter_map(look).collect()
}

/// ldns-dane and danetool, with what openssl is presented.
fn certificate(laboratory: &Laboratory, zone: &Zone) -> Vec<String> {
    // danetool does not look at names, nor at all of so many records.
    let [ldns, danetool] = match zone.label {
        WHOLE | "certificate-expired" | "tlsa-partial" | "addresses-differ" => {
            ["dane-validated successfully", "Certificate matches"]
        }
        "tlsa-too-many" => ["dane-validated successfully", "Verification:"],
        "tlsa-mismatch" => ["no matching DANE TLSA records", "Verification failed"],
        "chain-without-anchor" => ["no matching DANE TLSA records", "requested data are not available"],
        "chain-broken" => ["certificate signature failure", "Certificate"],
        "certificate-name" => ["hostname mismatch", "Certificate matches"],
        "certificate-time" => ["certificate has expired", "CA constrains were violated"],
        _ => return Vec::new(),
    };
    let address = match zone.label {
        WHOLE => super::MAIL[0].to_owned(),
        "tlsa-mismatch" => format!("[{}]", zone.addresses[1]),
        _ => zone.addresses[0].clone(),
    };
    let (host, address) = (zone.host(), format!("{address}:25"));
    let how = ["s_client", "-starttls", "smtp", "-showcerts", "-servername", &host, "-connect", &address];
    let said = laboratory.namespace.ask("openssl", &how);
    let blocks = said.split("-----BEGIN").skip(1).filter_map(|block| block.split("-----END").next());
    let chain: String = blocks.map(|block| format!("-----BEGIN{block}-----END CERTIFICATE-----\n")).collect();
    let path = laboratory.folder.path().join(format!("{}.presented", zone.label)).display().to_string();
    fs::write(&path, chain).unwrap();
    let said_by_ldns = laboratory.namespace.ask("ldns-dane", &["-r", RESOLVER, "-c", &path, "verify", &host, "25"]);
    let options =
        ["--check", &host, "--proto", "tcp", "--port", "25", "--local-dns", "--insecure", "--load-certificate"];
    let said_by_danetool = laboratory.namespace.ask("danetool", &[&options[..], &[&path]].concat());
    let said = [("ldns-dane", said_by_ldns, ldns), ("danetool", said_by_danetool, danetool)];
    said.into_iter().filter_map(|(tool, said, wanted)| expect(format!("{tool} {host}"), &said, wanted)).collect()
}

/// The web server that has the MTA-STS policy is believed.
fn policy(laboratory: &Laboratory, zone: &Zone) -> Option<String> {
    zone.policy.as_ref()?;
    let (host, roots) = (format!("mta-sts.{}", zone.name()), laboratory.folder.path().join("roots.pem"));
    let address = format!("{}:443", zone.addresses[0]);
    let roots = shown(&roots);
    let how = [
        "s_client",
        "-brief",
        "-CAfile",
        &roots,
        "-verify_hostname",
        &host,
        "-servername",
        &host,
        "-connect",
        &address,
    ];
    expect(format!("openssl {host}"), &laboratory.namespace.ask("openssl", &how), "Verification: OK")
}

/// The zones that NSD has by itself.
fn copy(laboratory: &Laboratory, zone: &Zone) -> Vec<String> {
    let path = laboratory.folder.path().join(format!("second/{}.copy", zone.name()));
    let verify = |more: &[&str]| laboratory.namespace.ask("ldns-verify-zone", &[more, &[&shown(&path)]].concat());
    let (options, wanted): (&[&str], _) = match zone.second {
        Second::Follows | Second::Nothing => return Vec::new(),
        Second::Older | Second::Newer | Second::OtherTlsa => (&[], "verified and complete"),
        Second::Signed(ago) if ago < 14 * 86_400 => {
            // Now, and not for two days more.
            let soon = expect(format!("ldns-verify-zone {}", zone.name()), &verify(&["-e", "P2D"]), "errors");
            return soon.into_iter().chain(expect(zone.name(), &verify(&[]), "verified and complete")).collect();
        }
        Second::Signed(_) => (&[], "DNSSEC signature has expired"),
        Second::Unsigned => (&[], "No DNSKEY"),
        Second::NoDenial => (&[], "there is no NSEC(3)"),
    };
    expect(format!("ldns-verify-zone {}", zone.name()), &verify(options), wanted).into_iter().collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
