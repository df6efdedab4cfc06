//! What `status` and `explain` show: plain values, the same for JSON and for people.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CatalogReport, ChannelReport, CopyReport, FoundReport, Keeper, OrderReport, OutsideReport, PrimaryReport,
    RolloverReport,
};
use crate::dane::Chain;
use crate::dane::certificate::Certificate;
use crate::dane::explain::Explanation;
use crate::dns::dnssec::Signer;
use crate::dns::{Name, Timestamp};
use crate::outside::Check;
use crate::serve::{Counters, Statistics, Transport};
use crate::store::Event;

/// How many events `status` shows.
const EVENTS: u32 = 20;

/// Everything at one moment. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusReport {
    /// danelaw's version.
    pub version: String,
    /// Since when it runs.
    pub started: Timestamp,
    /// When this was so.
    pub now: Timestamp,
    /// Where it answers over UDP and TCP.
    pub listening: Vec<SocketAddr>,
    /// Where it answers encrypted queries.
    pub encrypted: Vec<EncryptedReport>,
    /// The certificate that those present; none where there is none.
    pub presented: Option<CertificateReport>,
    /// How many responses a second a network may get over UDP; 0: as many as it likes.
    pub responses_per_second: u32,
    /// What was counted since it began.
    pub statistics: Statistics,
    /// The zones in canonical order.
    pub zones: Vec<ZoneReport>,
    /// The catalogs of them.
    pub catalogs: Vec<CatalogReport>,
    /// Who has copies of them.
    pub secondaries: Vec<CopyReport>,
    /// Who is told of what happens.
    #[serde(default)]
    pub messages: Vec<ChannelReport>,
    /// The certificates that count.
    pub certificates: Vec<CertificateReport>,
    /// The TLSA owners.
    pub tlsa: Vec<Explanation>,
    /// The rollovers of the hosts whose certificates are installed here.
    #[serde(default)]
    pub rollovers: Vec<RolloverReport>,
    /// The certificates that are ordered here.
    #[serde(default)]
    pub orders: Vec<OrderReport>,
    /// What was found of zones, mail domains and hosts from outside.
    #[serde(default)]
    pub outside: Vec<FoundReport>,
    /// What is wrong now.
    pub problems: Vec<String>,
    /// What happened last, newest first.
    pub events: Vec<Event>,
}

/// One encrypted listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedReport {
    /// What it speaks.
    pub transport: Transport,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the keeper is told of the sockets.
pub struct Answering {
    /// Where UDP and TCP are answered.
    pub listening: Vec<SocketAddr>,
    /// Where encrypted queries are.
    pub encrypted: Vec<(Transport, SocketAddr)>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// One zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ZoneReport {
    /// Its apex.
    pub zone: Name,
    /// Its file, or where its records come from otherwise.
    pub source: String,
    /// What is known of the servers that it comes from; none of a zone with a file.
    #[serde(default)]
    pub primary: Option<PrimaryReport>,
    /// The serial that is served; none when nothing is.
    pub serial: Option<u32>,
    /// How many RRsets are served.
    pub rrsets: usize,
    /// Algorithm and tag of its keys, `013+12345`.
    pub keys: Vec<String>,
    /// When its first signature expires.
    pub signed_until: Option<Timestamp>,
    /// When its signatures are refreshed.
    pub refresh_at: Option<Timestamp>,
    /// Why what is served is not what the file says; none when it is.
    pub stale: Option<String>,
    /// In so many RRsets it is otherwise than its source, by dynamic update.
    #[serde(default)]
    pub updated: usize,
    /// Whether it takes no updates, by the operator's word.
    #[serde(default)]
    pub frozen: bool,
    /// How it is seen from outside; none where nobody looks.
    #[serde(default)]
    pub outside: Option<OutsideReport>,
    /// How many warnings its file has: `danelaw check` shows them.
    pub warnings: usize,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateReport {
    /// Its file.
    pub file: String,
    /// The hosts that it names.
    pub names: Vec<String>,
    /// The key's type.
    pub key: String,
    /// SHA-256 of its SubjectPublicKeyInfo in hexadecimal.
    pub spki_sha256: String,
    /// When it expires.
    pub not_after: Timestamp,
    /// Whether its private key was seen to be its own.
    pub key_checked: bool,
}

/// Why a TLSA owner is served or not, and how others see its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The former.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The latter: of the host, of its zone, and of the domains that name it.
    #[serde(default)]
    pub outside: Vec<Check>,
}

/// The explanations about a host, or about one TLSA owner.
pub fn explain<'a>(explanations: &'a [Explanation], host: &Name) -> Vec<&'a Explanation> {
    let is_about = |one: &&Explanation| one.host == *host || one.owner == *host;
    explanations.iter().filter(is_about).collect()
}

impl Keeper {
    /// Everything at this moment.
    pub fn status(&self, answering: &Answering, now: Timestamp) -> StatusReport {
        let encrypted = answering.encrypted.iter().map(|&(transport, address)| EncryptedReport { transport, address });
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            now,
            listening: answering.listening.clone(),
            encrypted: encrypted.collect(),
            presented: self.presented_report(),
            responses_per_second: self.config.rate_limit.responses_per_second,
            statistics: answering.counters.statistics(),
            zones: self.zone_reports(),
            catalogs: self.catalogs.reports(),
            secondaries: self.copy_reports(),
            messages: self.channel_reports(),
            certificates: self.certificate_reports(),
            tlsa: self.explained(now),
            rollovers: self.rollover_reports(),
            orders: self.order_reports(None),
            outside: self.outside.reports(),
            problems: self.problems.iter().cloned().collect(),
            events: self.store.events(EVENTS, None).unwrap_or_default(),
        }
    }

    /// The explanations about a host; none when nothing is known of it.
    pub fn explain(&self, host: &Name, now: Timestamp) -> Vec<Explanation> {
        explain(&self.explained(now), host).into_iter().cloned().collect()
    }

    /// The same with what was seen from outside.
    pub fn explain_with_outside(&self, host: &Name, now: Timestamp) -> Vec<Explained> {
        let with_outside = |explanation: Explanation| {
            let domains = explanation.assessments.iter().filter_map(|assessment| assessment.domain.as_ref());
            let domains: Vec<&Name> = domains.collect();
            let outside = self.outside.about(&explanation.host, explanation.zone.as_ref(), &domains);
            Explained { explanation, outside }
        };
        self.explain(host, now).into_iter().map(with_outside).collect()
    }

    fn zone_reports(&self) -> Vec<ZoneReport> {
        let tag = |key: &dyn Signer| format!("{:03}+{:05}", key.algorithm(), key.key_tag());
        let report = |zone: &super::zone::Zone| {
            let published = zone.published();
            ZoneReport {
                zone: zone.origin.clone(),
                source: zone.source.to_string(),
                primary: self.primary_report(&zone.origin),
                serial: published.filter(|_| !zone.expired).map(|published| published.serial),
                rrsets: published.map_or(0, |published| published.tree.nodes().map(|node| node.sets().count()).sum()),
                keys: zone.keys.held().iter().map(|key| tag(key.as_ref())).collect(),
                signed_until: zone.snapshot.as_ref().and_then(|snapshot| snapshot.expires_at()),
                refresh_at: published.and_then(|published| published.refresh_at),
                stale: zone.stale(),
                updated: zone.layer.sets().count(),
                frozen: self.frozen.contains(&zone.origin),
                outside: self.outside.report(&zone.origin),
                warnings: zone.warnings(),
            }
        };
        self.zones.values().map(|zone| report(zone)).collect()
    }

    fn certificate_reports(&self) -> Vec<CertificateReport> {
        let found = self.scans.iter().flat_map(|scan| &scan.certificates);
        found.map(|found| CertificateReport::new(&found.path, found.chain.leaf(), found.key_checked)).collect()
    }

    /// Its key signs with it, so it is its own.
    fn presented_report(&self) -> Option<CertificateReport> {
        let chain = Chain::from_ders(&self.presented.chain()?).ok()?;
        Some(CertificateReport::new(self.presented_from.as_ref()?, chain.leaf(), true))
    }
}

impl CertificateReport {
    fn new(file: &Path, leaf: &Certificate, key_checked: bool) -> CertificateReport {
        CertificateReport {
            file: file.display().to_string(),
            names: leaf.dns_names.clone(),
            key: leaf.key_type.to_string(),
            spki_sha256: leaf.spki_sha256(),
            not_after: leaf.not_after,
            key_checked,
        }
    }
}
