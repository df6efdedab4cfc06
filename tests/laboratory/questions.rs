//! What is asked, and what a resolver that validates has to make of it.

use super::universe::{KINDS, MAIL_DOMAIN, TLSA};

/// What a validator has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Signed from the root down.
    Secure,
    /// Below a delegation that is proven to have no DS, or not proven by an opt-out chain.
    Insecure,
    /// Signed, and the signatures are wrong.
    Bogus,
}

use Trust::{Bogus, Insecure, Secure};

/// A name, a type, and the answer.
#[derive(Clone, Debug)]
pub struct Question {
    pub name: String,
    pub rtype: &'static str,
    pub rcode: &'static str,
    pub trust: Trust,
    /// What the records of the answer hold; nothing means that there are none.
    pub holds: &'static str,
    /// It is proven by an NSEC3 that covers a name, and that has opt-out set: then the answer is not authenticated
    /// (RFC 5155 section 9.2).
    pub opted_out: bool,
}

/// Name, type, RCODE, trust, what the answer holds.
type Row = (&'static str, &'static str, &'static str, Trust, &'static str);

/// Names below a zone of every kind of answer; `@` is its apex.
const KIND: &[Row] = &[
    ("@", "SOA", "NOERROR", Secure, "hostmaster"),
    ("@", "NS", "NOERROR", Secure, "ns2"),
    ("@", "MX", "NOERROR", Secure, "10 mail"),
    ("@", "DNSKEY", "NOERROR", Secure, "257 3"),
    ("mail", "A", "NOERROR", Secure, "46.4.5.25"),
    ("mail", "AAAA", "NOERROR", Secure, "2a01:4f8:5::25"),
    ("we\\.ird\\032na\\255me", "A", "NOERROR", Secure, "198.18.0.60"),
    ("mixed", "TXT", "NOERROR", Secure, "Case is KEPT"),
    ("large", "TXT", "NOERROR", Secure, "ffffffff"),
    ("a.b.ent", "A", "NOERROR", Secure, "198.18.0.20"),
    ("chain3", "A", "NOERROR", Secure, "198.18.0.30"),
    ("chain1", "A", "NOERROR", Secure, "198.18.0.30"),
    ("chain1", "CNAME", "NOERROR", Secure, "chain2"),
    ("across", "A", "NOERROR", Secure, "46.4.5.25"),
    ("outside", "A", "NOERROR", Insecure, "46.4.5.25"),
    ("inside", "A", "NOERROR", Insecure, "198.18.1.1"),
    ("tree", "TXT", "NOERROR", Secure, "beside a DNAME"),
    ("tree", "DNAME", "NOERROR", Secure, "new.root"),
    ("x.tree", "A", "NOERROR", Secure, "198.18.0.40"),
    ("mail.away", "A", "NOERROR", Secure, "46.4.5.25"),
    ("_25._tcp.mail.away", "TLSA", "NOERROR", Secure, "3 1 1"),
    ("*.wild", "TXT", "NOERROR", Secure, "from the wildcard"),
    ("here.wild", "TXT", "NOERROR", Secure, "NODATA"),
    ("chain1", "AAAA", "NOERROR", Secure, "target"),
    ("@", "TLSA", "NOERROR", Secure, ""),
    ("mail", "MX", "NOERROR", Secure, ""),
    ("ent", "A", "NOERROR", Secure, ""),
    ("b.ent", "TXT", "NOERROR", Secure, ""),
    ("here.wild", "A", "NOERROR", Secure, ""),
    ("below.wild", "A", "NOERROR", Secure, ""),
    ("secure", "DS", "NOERROR", Secure, " 2 "),
    ("host.secure", "A", "NOERROR", Secure, "198.18.1.1"),
    ("any.wild.secure", "TXT", "NOERROR", Secure, "wild"),
    ("host.secure", "AAAA", "NOERROR", Secure, ""),
    ("nowhere.secure", "A", "NXDOMAIN", Secure, ""),
    ("host.insecure", "A", "NOERROR", Insecure, "198.18.1.1"),
    ("any.wild.insecure", "TXT", "NOERROR", Insecure, "wild"),
    ("nowhere.insecure", "A", "NXDOMAIN", Insecure, ""),
];

/// The same, where a chain has to prove that there is no closer name.
const KIND_OPTED_OUT: &[Row] = &[
    ("any.wild", "A", "NOERROR", Secure, "198.18.0.10"),
    ("a.b.c.wild", "TXT", "NOERROR", Secure, "from the wildcard"),
    ("x.alias", "A", "NOERROR", Secure, "198.18.0.30"),
    ("any.wild", "AAAA", "NOERROR", Secure, ""),
    ("nowhere", "A", "NXDOMAIN", Secure, ""),
    ("below.mail", "A", "NXDOMAIN", Secure, ""),
    ("below.here.wild", "A", "NXDOMAIN", Secure, ""),
    ("dangling", "A", "NXDOMAIN", Secure, "nowhere"),
    ("nowhere.tree", "A", "NXDOMAIN", Secure, "new.root"),
    ("insecure", "DS", "NOERROR", Secure, ""),
];

/// Whole names: the mail domain, what is above it, and where the chain of trust ends or breaks.
const REST: &[Row] = &[
    (TLSA, "TLSA", "NOERROR", Secure, "3 1 1"),
    (MAIL_DOMAIN, "MX", "NOERROR", Secure, "10 mail"),
    (MAIL_DOMAIN, "TXT", "NOERROR", Secure, "v=spf1"),
    (MAIL_DOMAIN, "CDS", "NOERROR", Secure, "13 2"),
    (MAIL_DOMAIN, "CDNSKEY", "NOERROR", Secure, "257 3 13"),
    (MAIL_DOMAIN, "DS", "NOERROR", Secure, "13 2"),
    ("s1._domainkey.example.org", "TXT", "NOERROR", Secure, "v=DKIM1"),
    ("_dmarc.example.org", "TXT", "NOERROR", Secure, "v=DMARC1"),
    ("_smtp._tls.example.org", "TXT", "NOERROR", Secure, "v=TLSRPTv1"),
    ("mail.example.org", "AAAA", "NOERROR", Secure, "2a01:4f8:5::25"),
    ("_tcp.mail.example.org", "TLSA", "NOERROR", Secure, ""),
    ("_443._tcp.mail.example.org", "TLSA", "NXDOMAIN", Secure, ""),
    ("_25._tcp.nowhere.example.org", "TLSA", "NXDOMAIN", Secure, ""),
    (".", "SOA", "NOERROR", Secure, "a.rootns."),
    (".", "DNSKEY", "NOERROR", Secure, "257 3 13"),
    (".", "DS", "NOERROR", Secure, ""),
    ("nowhere", "A", "NXDOMAIN", Secure, ""),
    ("rootns", "A", "NOERROR", Secure, ""),
    ("org", "DS", "NOERROR", Secure, "15 2"),
    ("org", "DNSKEY", "NOERROR", Secure, "257 3 15"),
    ("nowhere.example", "A", "NXDOMAIN", Secure, ""),
    ("25.5.4.46.in-addr.arpa", "PTR", "NOERROR", Secure, "ns1.example.org."),
    ("5.4.46.in-addr.arpa", "PTR", "NOERROR", Secure, ""),
    ("1.5.4.46.in-addr.arpa", "PTR", "NXDOMAIN", Secure, ""),
    ("mail.plain.org", "A", "NOERROR", Insecure, "46.4.5.25"),
    ("unsigned.example", "DS", "NOERROR", Secure, ""),
    ("mail.unsigned.example", "A", "NOERROR", Insecure, "46.4.5.25"),
    ("nowhere.unsigned.example", "A", "NXDOMAIN", Insecure, ""),
    ("ns1.spoilt.example", "A", "NOERROR", Secure, "46.4.5.25"),
    ("mail.spoilt.example", "A", "NOERROR", Bogus, "46.4.5.25"),
    ("mail.spoilt.example", "MX", "NOERROR", Bogus, ""),
    ("nowhere.spoilt.example", "A", "NXDOMAIN", Bogus, ""),
    ("mail.expired.example", "A", "NOERROR", Bogus, "46.4.5.25"),
    ("mail.foreign.example", "A", "NOERROR", Bogus, "46.4.5.25"),
];

/// The same, below the opt-out chain of org.
const REST_OPTED_OUT: &[Row] =
    &[("nowhere.org", "A", "NXDOMAIN", Secure, ""), ("plain.org", "DS", "NOERROR", Secure, "")];

/// All of them.
pub fn questions() -> Vec<Question> {
    let mut questions: Vec<Question> = REST.iter().map(|row| question(row, row.0.to_owned(), false)).collect();
    questions.extend(REST_OPTED_OUT.iter().map(|row| question(row, row.0.to_owned(), true)));
    for (zone, _) in KINDS {
        let name =
            |label: &str| if label == "@" { format!("{zone}.example") } else { format!("{label}.{zone}.example") };
        questions.extend(KIND.iter().map(|row| question(row, name(row.0), false)));
        questions.extend(KIND_OPTED_OUT.iter().map(|row| question(row, name(row.0), zone == "optout")));
    }
    questions
}

fn question(&(_, rtype, rcode, trust, holds): &Row, name: String, opted_out: bool) -> Question {
    let trust = if opted_out { Insecure } else { trust };
    Question { name, rtype, rcode, trust, holds, opted_out }
}
