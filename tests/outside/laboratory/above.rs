//! The zones above the domains, from the root on, and the names of addresses.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use danelaw::keys::ZoneKey;

use super::faults::BEYOND;
use super::zones::Zone;
use super::{DANELAW, GONE, KNOT, MAIL, NSD, ORG, ROOT, STALE, STANDINS};
use crate::common::{sign_again, sign_elsewhere};
use crate::house::DKIM;

const PARENTS: [(&str, &str); 2] = [("org", ORG), ("gone", GONE)];

/// Signs them for the first time: the root, and what is below it and signed. Gives the file with the root's DNSKEY records.
/// `record`: the TLSA record of plain's mail server.
pub fn write(folder: &Path, zones: &[Zone], key: &ZoneKey, record: &str) -> PathBuf {
    let mut root = format!(
        "$TTL 300\n. SOA a.rootns. hostmaster.rootns. 1 1h 5m 1d 5\n. NS a.rootns.\na.rootns. A {ROOT}\n\
         org. NS ns.org.\norg. NS other-ns.org.\nns.org. A {ORG}\nother-ns.org. A {STALE}\ngone. NS ns.gone.\nns.gone. A {GONE}\n\
         plain. NS ns.org.\narpa. NS ns.org.\n"
    );
    for (origin, _) in PARENTS {
        let (signed, ds) = sign_elsewhere(origin, &parent(origin, zones, key, false), folder);
        fs::write(folder.join(origin), signed).unwrap();
        root += &ds;
    }
    fs::copy(folder.join("org"), folder.join("org.stale")).unwrap();
    fs::write(folder.join("plain"), parent("plain", zones, key, false) + &format!("_25._tcp.mail TLSA {record}\n"))
        .unwrap();
    fs::write(folder.join("arpa"), pointers(zones)).unwrap();
    let (signed, _) = sign_elsewhere(".", &root, folder);
    let lines = signed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let keys = lines.filter(|line| line.contains(" IN DNSKEY "));
    let keys: String = keys.map(|line| line.split(" ;").next().unwrap().to_owned() + "\n").collect();
    let anchor = folder.join("anchor");
    fs::write(&anchor, &keys).unwrap();
    fs::write(folder.join("root"), signed).unwrap();
    anchor
}

/// They have the faults from now on; the other server of org has one that the first has not.
pub fn spoil(folder: &Path, zones: &[Zone], key: &ZoneKey) {
    let text = parent("org", zones, key, true);
    fs::write(folder.join("org"), sign_again("org", &text, folder).0).unwrap();
    let is_stale = |line: &&str| line.starts_with("ds-stale.org. DS ");
    let line = text.lines().find(is_stale).unwrap();
    let tag = line.split(' ').nth(2).unwrap();
    let stale = text.replace(line, &line.replacen(tag, "4711", 1));
    fs::write(folder.join("org.stale"), sign_again("org", &stale, folder).0).unwrap();
}

/// A zone right above some of the domains, unsigned.
fn parent(origin: &str, zones: &[Zone], key: &ZoneKey, is_later: bool) -> String {
    let serial = if is_later { 2 } else { 1 };
    let mut text = format!("$TTL 30\n@ SOA ns.{origin}. hostmaster {serial} 1h 5m 1d 5\n");
    text += &match origin {
        "org" => {
            let mut hosts = format!(
                "@ NS ns\n@ NS other-ns\nns A {ORG}\nother-ns A {STALE}\nns1 A {DANELAW}\nns2 A {NSD}\nns3 A {KNOT}\n\
                 alias CNAME ns2\n\
                 customer MX 10 mail.{BEYOND}\ncustomer TXT \"v=spf1 mx -all\"\n_dmarc.customer TXT \"v=DMARC1; p=reject\"\n\
                 {}",
                DKIM.replace("_domainkey", "_domainkey.customer")
            );
            STANDINS.iter().for_each(|(host, address, _)| writeln!(hosts, "{host} A {address}").unwrap());
            hosts
        }
        "gone" => format!("@ NS ns\nns A {GONE}\n"),
        _ => format!("@ NS ns.org.\nmail A {}\nmail AAAA {}\n", MAIL[0], MAIL[1]),
    };
    text.extend(zones.iter().filter(|zone| zone.parent == origin).map(|zone| zone.delegation(key, is_later)));
    text
}

/// The PTR records of the mail servers.
fn pointers(zones: &[Zone]) -> String {
    let mut text = "$TTL 300\n@ SOA ns.org. hostmaster.org. 1 1h 5m 1d 5\n@ NS ns.org.\n".to_owned();
    let mut point = |addresses: [&str; 2], host: &str| {
        for address in addresses {
            writeln!(text, "{}. PTR {host}.", reverse(address)).unwrap();
        }
    };
    point(MAIL, "mail.whole.org");
    for zone in zones {
        let [v4, v6] = &zone.addresses;
        match zone.label {
            "ptr-missing" => {}
            "ptr-differs" => point([v4, v6], "mail.elsewhere.org"),
            _ => point([v4, v6], &zone.host()),
        }
    }
    text
}

/// An address as a name.
fn reverse(address: &str) -> String {
    let (mut labels, top): (Vec<String>, &str) = match address.parse().unwrap() {
        std::net::IpAddr::V4(address) => (address.octets().map(|octet| octet.to_string()).into(), "in-addr.arpa"),
        std::net::IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            (nibbles.map(|nibble| format!("{nibble:x}")).collect(), "ip6.arpa")
        }
    };
    labels.reverse();
    format!("{}.{top}", labels.join("."))
}
