//! The faults: what is expected to be told of each, and how it is made. Each has a domain of its own, named after it.

/// What is to be told of a domain.
pub struct Row {
    /// The domain's first label.
    pub zone: &'static str,
    pub fault: &'static str,
    /// Parts of what it is about, and of what it rests on.
    pub subject: &'static str,
    pub evidence: &'static [&'static str],
    pub level: &'static str,
}

const fn critical(
    zone: &'static str,
    fault: &'static str,
    subject: &'static str,
    evidence: &'static [&'static str],
) -> Row {
    Row { zone, fault, subject, evidence, level: "critical" }
}

const fn warning(
    zone: &'static str,
    fault: &'static str,
    subject: &'static str,
    evidence: &'static [&'static str],
) -> Row {
    Row { zone, fault, subject, evidence, level: "warning" }
}

const fn unknown(
    zone: &'static str,
    fault: &'static str,
    subject: &'static str,
    evidence: &'static [&'static str],
) -> Row {
    Row { zone, fault, subject, evidence, level: "unknown" }
}

/// Those without a fault: one that has what is needed, one that has everything, and one that comes to take no mail.
pub const WHOLE: &str = "whole";
pub const ADORNED: &str = "adorned";
/// The one without an MX, to whose mail server the mail of another one goes, which is not served here.
pub const BEYOND: &str = "beyond";
pub const CUSTOMER: &str = "customer.org";
pub const PARKED: &str = "parked";
/// A mail domain in the zone of another one, with its DMARC policy.
pub const BELOW: &str = "below.adorned.org";

pub const ROWS: &[Row] = &[
    critical("ds-missing", "ds-missing", "ds-missing.org.", &["zone org."]),
    critical("ds-missing", "mx-insecure", "ds-missing.org.", &[]),
    critical("ds-unknown-key", "ds-unknown-key", "ds-unknown-key.org.", &["4711"]),
    critical("ds-wrong-digest", "ds-wrong-digest", "ds-wrong-digest.org.", &["digest"]),
    critical("ds-algorithm", "ds-algorithm", "ds-algorithm.org.", &["zone org."]),
    warning("ds-stale", "ds-stale", "ds-stale.org.", &["77.88.2.53"]),
    critical("parent-unsigned", "parent-unsigned", "parent-unsigned.plain.", &["zone plain."]),
    critical("zone-unsigned", "zone-unsigned", "zone-unsigned.org.", &[]),
    critical("zone-bogus", "zone-bogus", "zone-bogus.org.", &["bogus"]),
    // Where the way to the zone leads.
    unknown("parent-unreachable", "parent-unreachable", "parent-unreachable.gone.", &["gone."]),
    critical("not-delegated", "not-delegated", "not-delegated.org.", &["org."]),
    warning("ns-differs", "ns-differs", "ns-differs.org.", &["ns3.org"]),
    critical("glue-missing", "glue-missing", "ns.glue-missing.org.", &[]),
    warning("glue-differs", "glue-differs", "ns.glue-differs.org.", &["95.216.1.77", "88.198.6.53"]),
    critical("nameserver-without-address", "nameserver-without-address", "nowhere.org.", &[]),
    warning("nameserver-alias", "nameserver-alias", "alias.org.", &["ns2.org."]),
    warning("one-nameserver", "one-nameserver", "one-nameserver.org.", &["ns1.org is alone"]),
    // Nameservers.
    critical("nameserver-silent", "nameserver-silent", "95.216.1.1", &[]),
    critical("no-tcp", "no-tcp", "95.216.1.2", &["TCP"]),
    critical("no-udp", "no-udp", "95.216.1.3", &["UDP"]),
    critical("answers-wrongly", "answers-wrongly", "95.216.1.4", &[]),
    critical("tlsa-not-implemented", "denial-fails", "95.216.1.5", &[]),
    critical("lame", "lame", "ns2.org. 88.198.6.53", &[]),
    warning("serial-behind", "serial-behind", "ns2.org. 88.198.6.53", &[]),
    warning("serial-ahead", "serial-ahead", "ns2.org. 88.198.6.53", &[]),
    critical("signature-expired", "signature-expired", "ns2.org. 88.198.6.53", &[]),
    warning("signature-expiring", "signature-expiring", "ns2.org. 88.198.6.53", &[]),
    critical("signature-missing", "signature-missing", "ns2.org. 88.198.6.53", &[]),
    critical("tlsa-stale", "tlsa-stale", "ns2.org. 88.198.6.53", &[]),
    critical("denial-fails", "denial-fails", "ns2.org. 88.198.6.53", &[]),
    // Where mail goes.
    warning("mx-missing", "mx-missing", "mx-missing.org.", &[]),
    critical("mx-null", "mx-null", "mx-null.org.", &["names hosts"]),
    unknown("mx-unknown", "mx-unknown", "mx-unknown.org.", &[]),
    critical("mx-bogus", "mx-bogus", "mx-bogus.org.", &[]),
    critical("zone-unsigned", "mx-insecure", "zone-unsigned.org.", &[]),
    warning("mx-alias", "mx-alias", "alias.mx-alias.org.", &["mail.mx-alias.org."]),
    critical("mx-without-address", "mx-without-address", "nowhere.mx-without-address.org.", &[]),
    critical("mx-is-address", "mx-is-address", "mx-is-address.org.", &["46.4.5.25 is an address"]),
    unknown("host-unknown", "host-unknown", "mail.parent-unreachable.gone.", &[]),
    unknown("dkim-unknown", "dkim-unknown", "s1._domainkey.dkim-unknown.org.", &[]),
    warning("dkim-missing", "dkim-missing", "dkim-missing.org.", &[]),
    warning("dkim-revoked", "dkim-revoked", "s1._domainkey.dkim-revoked.org.", &[]),
    warning("dkim-malformed", "dkim-malformed", "s1._domainkey.dkim-malformed.org.", &[]),
    // Mail servers.
    critical("refused", "refused", "mail.refused.org.", &[]),
    critical("unreachable", "unreachable", "mail.unreachable.org.", &[]),
    critical("timed-out", "timed-out", "mail.timed-out.org.", &[]),
    critical("broken", "broken", "mail.broken.org.", &[]),
    critical("wrong-protocol", "wrong-protocol", "mail.wrong-protocol.org.", &["HTTP"]),
    critical("turned-away", "turned-away", "mail.turned-away.org.", &["554"]),
    critical("starttls-missing", "starttls-missing", "2a01:4f8:6::", &[]),
    critical("starttls-injected", "starttls-injected", "mail.starttls-injected.org.", &[]),
    critical("tls-refused", "tls-refused", "mail.tls-refused.org.", &[]),
    critical("tls-fails", "tls-fails", "mail.tls-fails.org.", &[]),
    // TLSA, and what is presented.
    warning("tlsa-missing", "tlsa-missing", "mail.tlsa-missing.org.", &[]),
    critical("tlsa-bogus", "tlsa-bogus", "mail.tlsa-bogus.org.", &[]),
    critical("host-insecure", "host-insecure", "mail.plain.", &["not secure"]),
    critical("host-insecure", "tlsa-insecure", "_25._tcp.mail.plain.", &["not secure"]),
    unknown("tlsa-unknown", "tlsa-unknown", "mail.tlsa-unknown.org.", &[]),
    critical("tlsa-unusable", "tlsa-unusable", "mail.tlsa-unusable.org.", &["0 0 1"]),
    critical("tlsa-mismatch", "tlsa-mismatch", "2a01:4f8:6::", &[]),
    warning("tlsa-mismatch", "addresses-differ", "mail.tlsa-mismatch.org.", &[]),
    critical("rsa-unpublished", "tlsa-mismatch", "(RSA)", &["mail.rsa-unpublished.org."]),
    warning("tlsa-partial", "tlsa-partial", "mail.tlsa-partial.org.", &["2 1 1"]),
    critical("chain-without-anchor", "chain-without-anchor", "mail.chain-without-anchor.org.", &["2 1 1"]),
    critical("chain-broken", "chain-broken", "mail.chain-broken.org.", &[]),
    critical("certificate-name", "certificate-name", "mail.certificate-name.org.", &["elsewhere.org"]),
    critical("certificate-time", "certificate-time", "mail.certificate-time.org.", &["2021"]),
    warning("certificate-expired", "certificate-expired", "mail.certificate-expired.org.", &["2021"]),
    warning("tlsa-too-many", "tlsa-too-many", "mail.tlsa-too-many.org.", &[]),
    warning("tlsa-ttl", "tlsa-ttl", "mail.tlsa-ttl.org.", &["caches keep it for 86"]),
    warning("addresses-differ", "addresses-differ", "mail.addresses-differ.org.", &[]),
    // What stands beside.
    warning("spf-missing", "spf-missing", "spf-missing.org.", &[]),
    warning("spf-several", "spf-several", "spf-several.org.", &[]),
    warning("spf-malformed", "spf-malformed", "spf-malformed.org.", &["ip5:"]),
    warning("spf-lookups", "spf-lookups", "spf-lookups.org.", &[]),
    warning("spf-open", "spf-open", "spf-open.org.", &["+all"]),
    warning("dmarc-missing", "dmarc-missing", "dmarc-missing.org.", &[]),
    warning("dmarc-malformed", "dmarc-malformed", "dmarc-malformed.org.", &[]),
    warning("sts-record", "sts-record", "sts-record.org.", &[]),
    warning("sts-policy-unreachable", "sts-policy-unreachable", "sts-policy-unreachable.org.", &["no policy"]),
    warning("sts-policy-malformed", "sts-policy-malformed", "sts-policy-malformed.org.", &["mode must be"]),
    critical("sts-mx-differs", "sts-mx-differs", "sts-mx-differs.org.", &["mail.sts-mx-differs.org"]),
    warning("tls-rpt-malformed", "tls-rpt-malformed", "tls-rpt-malformed.org.", &[]),
    warning("caa-malformed", "caa-forbids", "caa-malformed.org.", &[]),
    warning("caa-forbids", "caa-forbids", "caa-forbids.org.", &[]),
    warning("ptr-missing", "ptr-missing", "46.4.6.", &[]),
    warning("ptr-differs", "ptr-differs", "46.4.6.", &["mail.elsewhere.org"]),
    warning(BEYOND, "mx-missing", "beyond.org.", &[]),
    // An alias that a DNAME makes.
    warning("mx-dname", "mx-alias", "mail.old.mx-dname.org.", &["mail.mx-dname.org."]),
    // Nobody answers.
    unknown("outgoing-blocked", "outgoing-blocked", "mail.outgoing-blocked.org.", &["46.4.6.", "2a01:4f8:6::"]),
    critical("unanswered", "unanswered", "2a01:4f8:6::", &["connecting"]),
    // Services beside mail between servers.
    critical("imap", "starttls-missing", ":143", &["it does not offer STARTTLS"]),
    critical("pop3", "starttls-injected", ":110", &[]),
    critical("sieve", "wrong-protocol", ":4190", &["it does not speak ManageSieve", "this is IMAP"]),
];

/// What is to be told of the domain without a fault where the machine that looks is at fault, in the order in which it comes to be.
pub const HERE: &[Row] =
    &[unknown("clock", "nothing-validates", "", &[]), unknown("resolver-down", "resolver-down", "", &["62.1.7.1"])];

/// What has no domain here.
pub const NOT_HERE: &[&str] = &[
    // There are ways to all addresses, and nobody is that slow.
    "no-end",
    "no-way-from-here",
    "not-spoken-here",
    // Every host that is looked at takes mail.
    "host-without-address",
    "address-unknown",
    // RFC 8659 section 4.2 takes what is malformed for what forbids; RDATA that is none no server would take.
    "caa-malformed",
    // It comes with others.
    "chain-unknown",
    // What senders have reported is nothing that can be looked at.
    "reported-tlsa",
    "reported-dnssec",
    "reported-sts",
    "reported-other",
    "report-unreadable",
];

/// What may be told of a domain beside its row: what follows from that, and what a row's fault is hidden behind.
pub const BESIDE: &[(&str, &[&str])] = &[
    ("ds-missing", INSECURE),
    ("ds-unknown-key", BOGUS),
    ("ds-wrong-digest", BOGUS),
    ("ds-algorithm", INSECURE),
    ("parent-unsigned", INSECURE),
    ("zone-unsigned", INSECURE),
    ("zone-bogus", BOGUS),
    ("parent-unreachable", UNSEEN),
    ("not-delegated", UNSEEN),
    ("not-delegated", BOGUS),
    ("glue-differs", &["nameserver-silent"]),
    ("signature-expired", &["denial-fails", "tlsa-stale"]),
    ("signature-missing", &["denial-fails"]),
    ("tlsa-stale", &["tlsa-mismatch"]),
    ("mx-alias", &["tlsa-missing"]),
    ("mx-is-address", &["mx-without-address"]),
    ("host-insecure", &["tlsa-missing", "parent-unsigned", "zone-unsigned", "ds-missing", "one-nameserver"]),
    ("parent-unsigned", &["zone-unsigned", "one-nameserver"]),
    ("mx-bogus", &["mx-unknown", "tlsa-unknown"]),
    ("rsa-unpublished", &["addresses-differ"]),
    ("tlsa-bogus", &["tlsa-unknown"]),
    ("mx-unknown", &["one-nameserver"]),
    ("tlsa-unknown", &["one-nameserver", "denial-fails"]),
    ("host-unknown", &["tlsa-unknown", "mx-without-address", "chain-unknown", "parent-unreachable"]),
    ("certificate-expired", &["certificate-time"]),
];

const INSECURE: &[&str] = &["mx-insecure", "host-insecure", "tlsa-insecure", "tlsa-missing"];
const BOGUS: &[&str] = &["zone-bogus", "mx-bogus", "tlsa-bogus", "host-unknown", "dkim-unknown", "chain-unknown"];
const UNSEEN: &[&str] = &[
    "chain-unknown",
    "mx-unknown",
    "mx-missing",
    "mx-insecure",
    "host-unknown",
    "dkim-unknown",
    "dkim-missing",
    "tlsa-unknown",
    "tlsa-missing",
    "spf-missing",
    "dmarc-missing",
    "ds-missing",
];
