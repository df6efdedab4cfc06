//! How each fault is made, in its domain that is whole otherwise.

use danelaw::keys::ZoneKey;

use super::certificates::{Authority, Certificates, Made, When};
use super::faults::{ADORNED, BEYOND, PARKED, ROWS, WHOLE};
use super::zones::{Ds, Mail, Second, Zone};

const DAY: u64 = 86_400;
const SPF: &str = "@ TXT \"v=spf1 mx -all\"\n";
const DMARC: &str = "_dmarc TXT \"v=DMARC1; p=reject\"\n";
const MX: &str = "@ MX 10 mail\n";
/// Without TLS 1.2 and what came after it.
const OLD: &str = " -o smtpd_tls_protocols=TLSv1 -o smtpd_tls_mandatory_protocols=TLSv1 -o tls_high_cipherlist=ALL:@SECLEVEL=0 \
    -o tls_medium_cipherlist=ALL:@SECLEVEL=0";
/// With no more words than are needed.
const AWAY: &str = " -o smtpd_client_restrictions=reject -o smtpd_delay_reject=no";

const OFFER: &str = "250-mail\r\n250 STARTTLS\r\n";

/// All of them, and the TLSA record of the mail server that most of them share.
pub fn all(key: &ZoneKey, certificates: &Certificates) -> (Vec<Zone>, String) {
    let mut labels = vec![WHOLE, ADORNED];
    for row in ROWS.iter() {
        if !labels.contains(&row.zone) {
            labels.push(row.zone);
        }
    }
    labels.push(PARKED);
    let zones = labels.iter().enumerate().map(|(place, label)| {
        let zone = Zone::whole(label, place + 1);
        let zone = chain(zone, key);
        let zone = nameservers(zone);
        let zone = contents(zone, key);
        let zone = mail_servers(zone, certificates);
        presented(zone, certificates)
    });
    let zones: Vec<Zone> = zones.collect();
    let shared = zones.iter().filter(|zone| {
        matches!(zone.mail, Mail::Shared | Mail::Says(_) | Mail::Nobody | Mail::Silence | Mail::Unreachable)
    });
    let hosts: Vec<String> = shared.map(Zone::host).chain(["mail.plain".to_owned()]).collect();
    let made = Made::alone(&hosts, When::Now);
    certificates.watch("shared", &made);
    certificates.present("shared", &made);
    (zones, made.record())
}

fn chain(mut zone: Zone, key: &ZoneKey) -> Zone {
    match zone.label {
        "ds-missing" => zone.ds(Ds::Nothing),
        "ds-unknown-key" => zone.ds(Ds::OtherKey),
        "ds-wrong-digest" => zone.ds(Ds::WrongDigest),
        "ds-algorithm" => zone.ds(Ds::OtherDigestType),
        "parent-unsigned" => {
            zone.parent = "plain";
            zone.publishes = false;
            zone
        }
        "parent-unreachable" => {
            zone.parent = "gone";
            zone
        }
        "zone-unsigned" => {
            zone.has_ds = false;
            zone.publishes = false;
            zone.table("signing = \"none\"\n")
        }
        "zone-bogus" => zone.spoilt(key, "DNSKEY"),
        "not-delegated" => {
            zone.is_delegated_later = false;
            zone
        }
        _ => zone,
    }
}

fn nameservers(zone: Zone) -> Zone {
    let own = |zone: Zone, glue: &str| {
        let host = format!("ns.{}.", zone.name());
        zone.beside(&host).with("ns A 88.198.6.53\n").above(&format!("@ NS ns1.org.\n@ NS {host}\n{glue}"))
    };
    match zone.label {
        "ns-differs" => zone.above("@ NS ns1.org.\n@ NS ns2.org.\n"),
        "glue-missing" => own(zone, ""),
        "glue-differs" => own(zone, "ns.@ A 95.216.1.77\n"),
        "nameserver-without-address" => zone.beside("nowhere.org."),
        "nameserver-alias" => zone.beside("alias.org."),
        "one-nameserver" => zone.nameservers(&["ns1.org."]),
        "nameserver-silent" => zone.beside("silent.org."),
        "no-tcp" => zone.beside("udp.org."),
        "no-udp" => zone.beside("tcp.org."),
        "answers-wrongly" => zone.beside("garbage.org."),
        "tlsa-not-implemented" => zone.beside("old.org."),
        "mx-unknown" => zone.nameservers(&["no-mx.org."]),
        "tlsa-unknown" => zone.nameservers(&["old.org."]),
        "lame" => zone.second(Second::Nothing),
        "serial-behind" => zone.second(Second::Older).later(SPF, &format!("{SPF}new TXT new\n")),
        "serial-ahead" => zone.second(Second::Newer),
        "signature-expired" => zone.second(Second::Signed(20 * DAY)),
        "signature-expiring" => zone.second(Second::Signed(14 * DAY - DAY / 2)),
        "signature-missing" => zone.second(Second::Unsigned),
        "tlsa-stale" => zone.second(Second::OtherTlsa),
        "denial-fails" => zone.second(Second::NoDenial),
        _ => zone,
    }
}

fn contents(zone: Zone, key: &ZoneKey) -> Zone {
    let dkim = crate::house::DKIM;
    let (before, after) = dkim.split_at(dkim.find("p=11").unwrap() + 10);
    match zone.label {
        BEYOND => zone.having(MX, ""),
        "mx-missing" => zone.later(MX, ""),
        "mx-null" => zone.later(MX, &format!("{MX}@ MX 0 .\n")),
        PARKED => {
            let zone = zone.later(MX, "@ MX 0 .\n").later(SPF, "@ TXT \"v=spf1 -all\"\n");
            zone.later(dkim, "*._domainkey TXT \"v=DKIM1; p=\"\n")
        }
        "mx-dname" => zone.with("old DNAME @\n").later(MX, "@ MX 10 mail.old\n"),
        "mx-bogus" => zone.hand(&["3 1 1 ".to_owned() + &"CD".repeat(32)]).spoilt(key, "MX"),
        "tlsa-bogus" => zone.hand(&["3 1 1 ".to_owned() + &"CD".repeat(32)]).spoilt(key, "TLSA"),
        "host-insecure" => zone.later(MX, "@ MX 10 mail.plain.\n"),
        "host-unknown" => zone.later(MX, "@ MX 10 mail.parent-unreachable.gone.\n"),
        "dkim-unknown" => zone.later(dkim, "s1._domainkey CNAME s1.parent-unreachable.gone.\n"),
        "mx-alias" => zone.with("alias CNAME mail\n").later(MX, "@ MX 10 alias\n"),
        "mx-without-address" => zone.later(MX, &format!("{MX}@ MX 20 nowhere\n")),
        "mx-is-address" => zone.later(MX, &format!("{MX}@ MX 20 46.4.5.25.\n")),
        "dkim-missing" => zone.later(dkim, ""),
        "dkim-revoked" => zone.later(dkim, "s1._domainkey TXT \"v=DKIM1; k=ed25519; p=\"\n"),
        "dkim-malformed" => {
            let split = format!("{before}\"\ns1._domainkey TXT \"{after}");
            zone.later(dkim, &split)
        }
        "spf-missing" => zone.later(SPF, ""),
        "spf-several" => zone.later(SPF, &format!("{SPF}@ TXT \"v=spf1 a -all\"\n")),
        "spf-malformed" => zone.later(SPF, "@ TXT \"v=spf1 ip5:192.0.2.1 -all\"\n"),
        "spf-lookups" => {
            let hosts: String = (0..12).map(|number| format!("a:host{number}.whole.org ")).collect();
            zone.later(SPF, &format!("@ TXT \"v=spf1 {}\" \"{}-all\"\n", &hosts[..120], &hosts[120..]))
        }
        "spf-open" => zone.later(SPF, "@ TXT \"v=spf1 +all\"\n"),
        "dmarc-missing" => zone.later(DMARC, ""),
        "dmarc-malformed" => zone.later(DMARC, "_dmarc TXT \"v=DMARC1; p=perhaps\"\n"),
        "sts-record" => zone.later(SPF, &format!("{SPF}_mta-sts TXT \"v=STSv1\"\n")),
        "sts-policy-unreachable" => {
            zone.later(SPF, &format!("{SPF}_mta-sts TXT \"v=STSv1; id=1;\"\nmta-sts A 46.4.5.25\n"))
        }
        "sts-policy-malformed" => zone.policy("perhaps", "mail.sts-policy-malformed.org"),
        "sts-mx-differs" => zone.policy("enforce", "mail.elsewhere.org"),
        ADORNED => zone
            .policy("enforce", "mail.adorned.org")
            .with("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@adorned.org\"\n@ CAA 0 issue \"authority.example\"\n")
            .with("s0._domainkey TXT \"v=DKIM1; p=\"\nbelow MX 10 mail\nbelow TXT \"v=spf1 mx -all\"\n")
            .with(&dkim.replace("_domainkey", "_domainkey.below")),
        "tls-rpt-malformed" => zone.later(SPF, &format!("{SPF}_smtp._tls TXT \"v=TLSRPTv1; to=somebody\"\n")),
        "caa-malformed" => zone.later(SPF, &format!("{SPF}@ CAA 0 issue \"%%%%%\"\n")),
        "caa-forbids" => zone.later(SPF, &format!("{SPF}@ CAA 0 issue \";\"\n")),
        "tlsa-missing" => {
            let zone = zone.table("[zone.\"tlsa-missing.org\".dane]\nenabled = false\n");
            Zone { publishes: false, ..zone }
        }
        "tlsa-ttl" => zone.table("[zone.\"tlsa-ttl.org\".dane]\nttl = \"7d\"\n"),
        _ => zone,
    }
}

fn mail_servers(zone: Zone, certificates: &Certificates) -> Zone {
    let own = |zone: Zone, of_v4: &str, of_v6: &str| {
        let made = Made::alone(&[zone.host()], When::Now);
        certificates.watch(zone.label, &made);
        let option = certificates.present(zone.label, &made);
        zone.mail(Mail::Postfix([option.clone() + of_v4, option + of_v6]))
    };
    match zone.label {
        "refused" => zone.mail(Mail::Nobody),
        "unreachable" => zone.mail(Mail::Unreachable),
        "outgoing-blocked" => zone.mail(Mail::Silence),
        "unanswered" => {
            let made = Made::alone(&[zone.host()], When::Now);
            certificates.watch(zone.label, &made);
            zone.mail(Mail::Half(certificates.present("unanswered", &made)))
        }
        "timed-out" => zone.mail(Mail::Says(&[])),
        "broken" => zone.mail(Mail::Says(&["220 mail ESMTP\r\n"])),
        "wrong-protocol" => zone.mail(Mail::Says(&["HTTP/1.1 400 Bad Request\r\n\r\n"])),
        "starttls-injected" => {
            zone.mail(Mail::Says(&["220 mail ESMTP\r\n", OFFER, "220 go on\r\n250 said by somebody else\r\n"]))
        }
        "tls-fails" => zone.mail(Mail::Says(&["220 mail ESMTP\r\n", OFFER, "220 go on\r\n", "this is not TLS\r\n"])),
        "turned-away" => own(zone, AWAY, AWAY),
        "starttls-missing" => own(zone, "", " -o smtpd_tls_security_level=none"),
        "tls-refused" => own(zone, OLD, OLD),
        "ptr-missing" | "ptr-differs" => own(zone, "", ""),
        "imap" => {
            own(zone, "", "").other(143, &["* OK ready\r\n", "* CAPABILITY IMAP4rev1\r\na OK done\r\n", "* BYE\r\n"])
        }
        "pop3" => {
            own(zone, "", "").other(110, &["+OK ready\r\n", "+OK\r\nSTLS\r\n.\r\n", "+OK go on\r\n+OK by somebody\r\n"])
        }
        "sieve" => own(zone, "", "").other(4190, &["* OK this is IMAP\r\n"]),
        _ => zone,
    }
}

/// What is presented is what danelaw does not see, or TLSA is made by hand.
fn presented(zone: Zone, certificates: &Certificates) -> Zone {
    let (label, host) = (zone.label, zone.host());
    let alone = |when| Made::alone(std::slice::from_ref(&host), when);
    let by_hand = |zone: Zone, made: &Made, records: &[String]| {
        let option = certificates.present(label, made);
        zone.hand(records).mail(Mail::Postfix([option.clone(), option]))
    };
    let authority = || Authority::new("an authority");
    match label {
        "tlsa-mismatch" | "addresses-differ" => {
            let (first, second) = (alone(When::Now), alone(When::Now));
            certificates.watch(label, &first);
            if label == "addresses-differ" {
                certificates.watch("addresses-differ-6", &second);
            }
            let second = certificates.present(&format!("{label}-6"), &second);
            zone.mail(Mail::Postfix([certificates.present(label, &first), second]))
        }
        "rsa-unpublished" => {
            let (first, second) = (alone(When::Now), Made::rsa(&[host]));
            certificates.watch(label, &first);
            let option = certificates.present_both(label, &first, &second);
            zone.mail(Mail::Postfix([option.clone(), option]))
        }
        "tlsa-partial" => {
            let made = authority().issue(&host, When::Now);
            by_hand(zone, &made, &[made.record(), authority().record()])
        }
        "tlsa-unusable" => {
            let made = alone(When::Now);
            by_hand(zone, &made, &[made.record().replace("3 1 1", "0 0 1")])
        }
        "tlsa-too-many" => {
            let made = alone(When::Now);
            let others = (0..119_u8).map(|number| format!("3 1 1 {}", format!("{number:02X}").repeat(32)));
            by_hand(zone, &made, &others.chain([made.record()]).collect::<Vec<_>>())
        }
        "chain-without-anchor" => {
            let above = authority();
            let mut made = above.issue(&host, When::Now);
            made.chain.truncate(1);
            by_hand(zone, &made, &[above.record()])
        }
        "chain-broken" => {
            let above = authority();
            let mut made = authority().issue(&host, When::Now);
            made.chain[1] = above.pem();
            by_hand(zone, &made, &[above.record()])
        }
        "certificate-name" => {
            let above = authority();
            by_hand(zone, &above.issue("mail.elsewhere.org", When::Now), &[above.record()])
        }
        "certificate-time" => {
            let above = authority();
            by_hand(zone, &above.issue(&host, When::Past), &[above.record()])
        }
        "certificate-expired" => {
            let made = alone(When::Past);
            by_hand(zone, &made, &[made.record()])
        }
        _ => zone,
    }
}
