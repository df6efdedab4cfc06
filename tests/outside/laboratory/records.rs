//! What dig says of the servers: what they have of the domains and of the zones above, and how they answer.

use super::tools::{each, expect};
use super::{DANELAW, Laboratory, NSD, ORG, RESOLVER, STALE, STANDINS};

/// The server, the question, and what is said, in parts between `&`.
type Asked = (&'static str, &'static str, &'static str);

const DELEGATIONS: &[Asked] = &[
    (ORG, "ds-missing.org DS", "status: NOERROR&ANSWER: 0"),
    (ORG, "ds-unknown-key.org DS", "DS 4711 13 2"),
    (STALE, "ds-stale.org DS", "DS 4711 13 2"),
    (ORG, "not-delegated.org NS", "status: NXDOMAIN"),
    (ORG, "ns-differs.org NS", "AUTHORITY: 2&ns2.org."),
    (DANELAW, "ns-differs.org NS", "ANSWER: 3&ns3.org."),
    (ORG, "glue-missing.org NS", "AUTHORITY: 2&ns.glue-missing.org.&ADDITIONAL: 2"),
    (ORG, "glue-differs.org NS", "ns.glue-differs.org.&A 95.216.1.77"),
    (DANELAW, "ns.glue-differs.org A", "A 88.198.6.53"),
    (DANELAW, "nameserver-without-address.org NS", "nowhere.org."),
    (ORG, "nowhere.org A", "status: NXDOMAIN"),
    (DANELAW, "nameserver-alias.org NS", "alias.org."),
    (ORG, "alias.org A", "CNAME ns2.org."),
    (DANELAW, "one-nameserver.org NS", "ANSWER: 1&ns1.org."),
];

const NAMESERVERS: &[Asked] = &[
    (NSD, "whole.org SOA", "status: NOERROR&flags: qr aa"),
    (NSD, "lame.org SOA", "status: REFUSED"),
    (STANDINS[0].1, "nameserver-silent.org SOA", "timed out"),
    (STANDINS[0].1, "nameserver-silent.org SOA +tcp", "timed out"),
    (STANDINS[1].1, "no-tcp.org SOA", "status: NOERROR&flags: qr aa"),
    (STANDINS[1].1, "no-tcp.org SOA +tcp", "connection refused"),
    (STANDINS[2].1, "no-udp.org SOA", "connection refused"),
    (STANDINS[2].1, "no-udp.org SOA +tcp", "status: NOERROR&flags: qr aa"),
    (STANDINS[3].1, "answers-wrongly.org SOA", "malformed"),
    (STANDINS[4].1, "tlsa-not-implemented.org MX", "status: NOERROR&flags: qr aa"),
    (STANDINS[4].1, "_25._tcp.mail.tlsa-not-implemented.org TLSA", "status: NOTIMP"),
    (NSD, "_25._tcp.mail.tlsa-stale.org TLSA", "TLSA 3 1 1 ABABABAB"),
];

const CONTENTS: &[Asked] = &[
    (DANELAW, "mx-missing.org MX", "status: NOERROR&ANSWER: 0"),
    (DANELAW, "mx-null.org MX", "ANSWER: 2&MX 0 ."),
    (DANELAW, "parked.org MX", "ANSWER: 1&MX 0 ."),
    (DANELAW, "mail.old.mx-dname.org A", "old.mx-dname.org. 300 IN DNAME mx-dname.org.&CNAME mail.mx-dname.org."),
    (NSD, "mail.old.mx-dname.org A", "old.mx-dname.org. 300 IN DNAME mx-dname.org.&CNAME mail.mx-dname.org."),
    (DANELAW, "_dmarc.below.adorned.org TXT", "status: NXDOMAIN"),
    (DANELAW, "host-insecure.org MX", "ANSWER: 1&MX 10 mail.plain."),
    (DANELAW, "mx-alias.org MX", "ANSWER: 1&MX 10 alias.mx-alias.org."),
    (DANELAW, "alias.mx-alias.org A", "CNAME mail.mx-alias.org."),
    (DANELAW, "nowhere.mx-without-address.org A", "status: NXDOMAIN"),
    (DANELAW, "mx-is-address.org MX", "ANSWER: 2&MX 20 46.4.5.25."),
    (DANELAW, "s1._domainkey.dkim-missing.org TXT", "status: NXDOMAIN"),
    (DANELAW, "s1._domainkey.dkim-revoked.org TXT", "ANSWER: 1&p=\""),
    (DANELAW, "s1._domainkey.dkim-malformed.org TXT", "ANSWER: 2&k=ed25519"),
    (DANELAW, "_25._tcp.mail.tlsa-missing.org TLSA", "ANSWER: 0"),
    (DANELAW, "_25._tcp.mail.tlsa-ttl.org TLSA", "org. 604800 IN TLSA 3 1 1"),
    (DANELAW, "_25._tcp.mail.tlsa-unusable.org TLSA", "ANSWER: 1&TLSA 0 0 1"),
    (DANELAW, "_25._tcp.mail.tlsa-too-many.org TLSA +tcp", "ANSWER: 120"),
    (DANELAW, "spf-missing.org TXT", "ANSWER: 0"),
    (DANELAW, "spf-several.org TXT", "ANSWER: 2&v=spf1 a -all&v=spf1 mx -all"),
    (DANELAW, "spf-malformed.org TXT", "ip5:192.0.2.1"),
    (DANELAW, "spf-lookups.org TXT", "a:host11.whole.org -all"),
    (DANELAW, "spf-open.org TXT", "v=spf1 +all"),
    (DANELAW, "_dmarc.dmarc-missing.org TXT", "status: NXDOMAIN"),
    (DANELAW, "_dmarc.dmarc-malformed.org TXT", "p=perhaps"),
    (DANELAW, "_mta-sts.sts-record.org TXT", "\"v=STSv1\""),
    (DANELAW, "mta-sts.sts-policy-unreachable.org A", "A 46.4.5.25"),
    (DANELAW, "_smtp._tls.tls-rpt-malformed.org TXT", "to=somebody"),
    (DANELAW, "caa-malformed.org CAA", "CAA 0 issue \"%%%%%\""),
    (DANELAW, "caa-forbids.org CAA", "CAA 0 issue \";\""),
];

/// What is said otherwise.
pub fn differences(laboratory: &Laboratory) -> Vec<String> {
    let asked = [DELEGATIONS, NAMESERVERS, CONTENTS].concat();
    let mut found: Vec<String> = each(&asked, |(server, question, wanted)| ask(laboratory, server, question, wanted))
        .into_iter()
        .flatten()
        .collect();
    for (label, wanted) in [
        ("whole", "PTR mail.whole.org."),
        ("ptr-missing", "status: NXDOMAIN"),
        ("ptr-differs", "PTR mail.elsewhere.org."),
    ] {
        let zone = laboratory.zone(label);
        let addresses = if label == "whole" { super::MAIL.map(str::to_owned) } else { zone.addresses.clone() };
        found.extend(
            addresses.iter().filter_map(|address| ask(laboratory, RESOLVER, &format!("+rec -x {address}"), wanted)),
        );
    }
    let (first, second) = (laboratory.serials(DANELAW), laboratory.serials(NSD));
    for (label, is_so) in [
        ("serial-behind", second["serial-behind"] < first["serial-behind"]),
        ("serial-ahead", second["serial-ahead"] > first["serial-ahead"]),
    ] {
        if second[label].is_none() || !is_so {
            found.push(format!("{label}: {:?} at danelaw and {:?} at NSD", first[label], second[label]));
        }
    }
    found
}

fn ask(laboratory: &Laboratory, server: &str, question: &str, wanted: &str) -> Option<String> {
    let at = format!("@{server}");
    let mut words = vec![at.as_str(), "+norecurse", "+tries=1", "+time=1"];
    words.extend(question.split(' '));
    let said = laboratory.namespace.ask("dig", &words);
    // Fields stand apart by one space or by tabs, as they are long.
    let said: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    expect(format!("dig {at} {question}"), &said.join("\n"), wanted)
}
