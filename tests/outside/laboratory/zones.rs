//! A mail domain of the laboratory: what its zone says, what the zone above says of it, and which servers it has. Each is whole but for
//! what is changed here.

use danelaw::dns::dnssec::{self, Signer};
use danelaw::dns::text::print_rdata;
use danelaw::dns::{Rtype, Timestamp};
use danelaw::keys::ZoneKey;
use danelaw::zone::print;
use danelaw::zone::sign::Policy;

use super::MAIL;
use crate::common::{now, sign_by, zone};
use crate::house::DKIM;

/// Its nameservers: danelaw, NSD and Knot.
const NAMESERVERS: [&str; 3] = ["ns1.org.", "ns2.org.", "ns3.org."];

/// The DS that the zone above comes to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ds {
    Right,
    Nothing,
    OtherKey,
    WrongDigest,
    OtherDigestType,
}

/// Who answers at port 25.
pub enum Mail {
    /// The server of most domains.
    Shared,
    /// A Postfix with these options, by IPv4 and by IPv6.
    Postfix([String; 2]),
    /// Somebody who says this.
    Says(&'static [&'static str]),
    Nobody,
    /// Nothing answers there, not even with a refusal.
    Silence,
    /// A Postfix with these options by IPv4, and nothing answers by IPv6.
    Half(String),
    /// There is no way there.
    Unreachable,
}

/// What NSD comes to have of the zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// What danelaw has.
    Follows,
    Nothing,
    /// What danelaw had.
    Older,
    Newer,
    /// Signed so many seconds ago.
    Signed(Timestamp),
    Unsigned,
    OtherTlsa,
    /// Nothing proves what is not there.
    NoDenial,
}

pub struct Zone {
    pub label: &'static str,
    pub parent: &'static str,
    /// In danelaw's configuration.
    pub table: String,
    /// What danelaw has of it at first, and later.
    pub text: String,
    pub later: String,
    /// What the zone above has of it, but for the DS.
    pub above: String,
    pub is_delegated_later: bool,
    pub has_ds: bool,
    pub ds_later: Ds,
    pub mail: Mail,
    pub addresses: [String; 2],
    /// Another port of its mail host, and what is said there.
    pub other: Option<(u16, &'static [&'static str])>,
    pub second: Second,
    /// What its MTA-STS policy says (RFC 8461), if it has one.
    pub policy: Option<String>,
    /// danelaw publishes TLSA.
    pub publishes: bool,
}

impl Zone {
    /// `place`: of its addresses, if it has its own.
    pub fn whole(label: &'static str, place: usize) -> Zone {
        let soa = "$TTL 300\n@ SOA ns1.org. hostmaster 1 1h 5m 1d 5\n".to_owned();
        let text = format!(
            "{soa}{}@ MX 10 mail\nmail A {}\nmail AAAA {}\n@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n{DKIM}",
            NAMESERVERS.map(|host| format!("@ NS {host}\n")).concat(),
            MAIL[0],
            MAIL[1]
        );
        Zone {
            label,
            parent: "org",
            table: String::new(),
            later: text.clone(),
            text,
            above: NAMESERVERS.map(|host| format!("@ NS {host}\n")).concat(),
            is_delegated_later: true,
            has_ds: true,
            ds_later: Ds::Right,
            mail: Mail::Shared,
            addresses: [format!("46.4.6.{place}"), format!("2a01:4f8:6::{place}")],
            other: None,
            second: Second::Follows,
            policy: None,
            publishes: true,
        }
    }

    pub fn name(&self) -> String {
        format!("{}.{}", self.label, self.parent)
    }

    pub fn host(&self) -> String {
        format!("mail.{}", self.name())
    }

    pub fn tlsa(&self) -> String {
        format!("_25._tcp.{}", self.host())
    }

    /// A line more, from the beginning.
    pub fn with(mut self, lines: &str) -> Zone {
        self.text += lines;
        self.later += lines;
        self
    }

    /// Another line in a line's place, from the beginning.
    pub fn having(mut self, from: &str, to: &str) -> Zone {
        self.text = replaced(&self.text, from, to);
        self.later(from, to)
    }

    /// Another line in a line's place, later.
    pub fn later(mut self, from: &str, to: &str) -> Zone {
        self.later = replaced(&self.later, from, to);
        self
    }

    /// These nameservers, in the zone and above it.
    pub fn nameservers(self, hosts: &[&str]) -> Zone {
        let lines: String = hosts.iter().map(|host| format!("@ NS {host}\n")).collect();
        let zone = NAMESERVERS.iter().fold(self, |zone, host| zone.having(&format!("@ NS {host}\n"), ""));
        zone.with(&lines).above(&lines)
    }

    /// danelaw and another one.
    pub fn beside(self, host: &str) -> Zone {
        self.nameservers(&["ns1.org.", host])
    }

    /// The zone above has this of it.
    pub fn above(mut self, lines: &str) -> Zone {
        self.above = lines.to_owned();
        self
    }

    pub fn ds(mut self, later: Ds) -> Zone {
        self.ds_later = later;
        self
    }

    pub fn second(mut self, second: Second) -> Zone {
        self.second = second;
        self
    }

    /// More in danelaw's configuration.
    pub fn table(mut self, lines: &str) -> Zone {
        self.table += lines;
        self
    }

    /// A mail server of its own.
    pub fn mail(mut self, mail: Mail) -> Zone {
        self.mail = mail;
        let [v4, v6] = self.addresses.clone();
        self.having(&format!("mail A {}\n", MAIL[0]), &format!("mail A {v4}\n"))
            .having(&format!("mail AAAA {}\n", MAIL[1]), &format!("mail AAAA {v6}\n"))
    }

    /// A service at another port of its mail host, with a TLSA that nobody looks at any more.
    pub fn other(mut self, port: u16, says: &'static [&'static str]) -> Zone {
        self.other = Some((port, says));
        self.with(&format!("_{port}._tcp.mail 1800 TLSA 3 1 1 {}\n", "AB".repeat(32)))
    }

    /// An MTA-STS policy, at an address of its own: its mode, and the host that it names.
    pub fn policy(mut self, mode: &str, host: &str) -> Zone {
        self.policy = Some(format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n"));
        let records = format!("_mta-sts TXT \"v=STSv1; id=1;\"\nmta-sts A {}\n", self.addresses[0]);
        self.with(&records)
    }

    /// TLSA by hand.
    pub fn hand(mut self, records: &[String]) -> Zone {
        self.publishes = false;
        let lines: String = records.iter().map(|record| format!("_25._tcp.mail 1800 TLSA {record}\n")).collect();
        self.with(&lines)
    }

    /// As it is signed elsewhere, but for the signatures of one type.
    pub fn spoilt(mut self, key: &ZoneKey, rtype: &str) -> Zone {
        let signed = signed(&self.name(), &self.text, key, now(), 1);
        self.text = spoil(&signed, rtype);
        self.later = self.text.clone();
        self.publishes = false;
        self.table("signing = \"none\"\n")
    }

    /// Delegation and DS, as the zone above has them.
    pub fn delegation(&self, key: &ZoneKey, is_later: bool) -> String {
        if is_later && !self.is_delegated_later {
            return String::new();
        }
        let name = self.name();
        let ns: String = self.above.lines().map(|line| line.replace('@', &format!("{name}.")) + "\n").collect();
        let ds = if is_later { self.ds_later } else { Ds::Right };
        if !self.has_ds || ds == Ds::Nothing {
            return ns;
        }
        format!("{ns}{}", ds_line(&name, key, ds))
    }

    /// What NSD has in place of what danelaw has, given that one's serial and records.
    pub fn copy(&self, key: &ZoneKey, serial: u32, tlsa: &str) -> String {
        let name = self.name();
        let text = format!("{}_25._tcp.mail 1800 TLSA {tlsa}\n", self.text);
        let sign = |text: &str, at: Timestamp, serial: u32| signed(&name, text, key, at, serial);
        match self.second {
            Second::Newer => sign(&text, now(), serial + 7),
            Second::Signed(ago) => sign(&text, now() - ago, serial),
            Second::Unsigned => without(&sign(&text, now(), serial), &["RRSIG", "NSEC", "DNSKEY", "CDS", "CDNSKEY"]),
            Second::OtherTlsa => sign(&text.replace(tlsa, &format!("3 1 1 {}", "AB".repeat(32))), now(), serial),
            Second::NoDenial => without(&sign(&text, now(), serial), &["NSEC", "RRSIG\tNSEC"]),
            Second::Older => sign(&text, now(), serial - 1),
            Second::Follows | Second::Nothing => panic!("{name} has no copy"),
        }
    }
}

/// The DS, or one that is wrong in a way.
pub fn ds_line(name: &str, key: &ZoneKey, ds: Ds) -> String {
    let origin = crate::common::name(name);
    let text = print_rdata(Rtype::DS, &dnssec::ds(&origin, Signer::dnskey(key)));
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match ds {
        Ds::OtherKey => words[0] = "4711".to_owned(),
        Ds::WrongDigest => words[3] = "5A".repeat(32),
        Ds::OtherDigestType => words[2] = "200".to_owned(),
        Ds::Right | Ds::Nothing => {}
    }
    format!("{name}. DS {}\n", words.join(" "))
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1)
}

fn signed(origin: &str, text: &str, key: &ZoneKey, at: Timestamp, serial: u32) -> String {
    // All expire at once.
    let policy = Policy { jitter: 0, ..Policy::default() };
    print::published(&sign_by(&zone(origin, text), &[key], None, policy, at, serial))
}

/// Without the records of some types.
fn without(text: &str, types: &[&str]) -> String {
    let is_of = |line: &str, rtype: &str| ["\t", " "].iter().any(|end| line.contains(&format!("\tIN\t{rtype}{end}")));
    let kept = text.lines().filter(|line| !types.iter().any(|rtype| is_of(line, rtype)));
    kept.map(|line| format!("{line}\n")).collect()
}

/// Another first letter in the signatures of a type.
fn spoil(signed: &str, rtype: &str) -> String {
    let is_spoilt = |line: &str| line.contains(&format!("\tRRSIG\t{rtype} "));
    assert!(signed.lines().any(is_spoilt), "{rtype} in {signed}");
    let lines = signed.lines().map(|line| match line.rsplit_once(' ').filter(|_| is_spoilt(line)) {
        Some((before, signature)) => {
            let letter = if signature.starts_with('A') { 'B' } else { 'A' };
            format!("{before} {letter}{}\n", &signature[1..])
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}
