//! What the machine is told, and what it asks for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dane::certificate;
use crate::dane::tlsa::{Matching, Parameters, Selector, Tlsa, Usage};
use crate::dns::Timestamp;

/// So many octets of a digest are a version's id.
const ID: usize = 8;

/// A chain, as far as TLSA is concerned: the records that it matches, under all parameters that may ever be configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Chain {
    /// The leaf's fingerprint, which probes name it by.
    pub fingerprint: String,
    /// The record that is published for it under each of the parameters; `3 x x` are always among them.
    pub records: Vec<Tlsa>,
    /// Records that it matches besides: those of the CA certificates above its issuer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Tlsa>,
}

impl Chain {
    /// Of a certificate chain, under the usages of SMTP (RFC 7672 section 3.1).
    pub fn of(chain: &certificate::Chain) -> Chain {
        let mut records = Vec::new();
        let mut also = Vec::new();
        for usage in [Usage::DaneTa, Usage::DaneEe] {
            for selector in [Selector::Cert, Selector::Spki] {
                for matching in [Matching::Full, Matching::Sha256, Matching::Sha512] {
                    let parameters = Parameters { usage, selector, matching };
                    let Ok(record) = Tlsa::from_chain(chain, parameters) else { continue };
                    if usage == Usage::DaneTa {
                        also.extend(Tlsa::of_authorities(chain, parameters).filter(|other| *other != record));
                    }
                    records.push(record);
                }
            }
        }
        Chain { fingerprint: chain.leaf().fingerprint(), records, also }
    }

    /// Of a key whose certificate isn't known: `3 1 x`. `spki` is its SubjectPublicKeyInfo in DER.
    pub fn of_key(spki: &[u8]) -> Chain {
        let record = |matching| {
            let parameters = Parameters { usage: Usage::DaneEe, selector: Selector::Spki, matching };
            Tlsa { parameters, data: matching.digest(spki) }
        };
        let records: Vec<Tlsa> = [Matching::Full, Matching::Sha256, Matching::Sha512].map(record).into();
        let name = data_encoding::HEXLOWER.encode(&Matching::Sha256.digest(spki));
        Chain { fingerprint: format!("key {name}"), records, also: Vec::new() }
    }

    /// Whether a record can be made for it under the parameters.
    pub fn can_make(&self, parameters: Parameters) -> bool {
        self.records.iter().any(|record| record.parameters == parameters)
    }

    fn matches(&self, record: &Tlsa) -> bool {
        self.records.contains(record) || self.also.contains(record)
    }

    /// Whether each {usage, selector, matching type} of an RRset has a record that matches (RFC 7671 section 8).
    pub fn satisfies(&self, records: &[Tlsa]) -> bool {
        records
            .iter()
            .all(|asked| records.iter().any(|record| record.parameters == asked.parameters && self.matches(record)))
    }
}

/// What is installed together: a certificate, or one of each key type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Version {
    /// What the installer knows it by; another version has another.
    pub id: String,
    /// Its chains, any of which may be presented.
    pub chains: Vec<Chain>,
}

impl Version {
    /// Of certificate chains, one of each key type. The same certificates have the same id, wherever they lie and in whichever
    /// order.
    pub fn of<'a>(chains: impl IntoIterator<Item = &'a certificate::Chain>) -> Version {
        let mut chains: Vec<&certificate::Chain> = chains.into_iter().collect();
        chains.sort_by_cached_key(|chain| (chain.leaf().key_type, chain.leaf().fingerprint()));
        let mut digest = Sha256::new();
        for chain in &chains {
            let certificates = chain.certificates();
            digest.update((certificates.len() as u64).to_be_bytes());
            for certificate in certificates {
                digest.update((certificate.der().len() as u64).to_be_bytes());
                digest.update(certificate.der());
            }
        }
        let id = data_encoding::HEXLOWER.encode(&digest.finalize()[..ID]);
        Version { id, chains: chains.into_iter().map(Chain::of).collect() }
    }

    /// Whether each of its chains satisfies an RRset.
    pub fn satisfies(&self, records: &[Tlsa]) -> bool {
        self.chains.iter().all(|chain| chain.satisfies(records))
    }

    /// Whether a chain with this fingerprint is one of its.
    pub fn has(&self, fingerprint: &str) -> bool {
        self.chains.iter().any(|chain| chain.fingerprint == fingerprint)
    }
}

/// What parents have as the TTL of NS records, in seconds: two days.
const DELEGATION: u32 = 172_800;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The parameters to publish under.
    pub parameters: BTreeSet<Parameters>,
    /// The TTL of the RRset in seconds.
    pub ttl: u32,
    /// `confirmation-interval` in seconds.
    pub interval: u64,
    /// The zone's SOA EXPIRE in seconds.
    pub expire: u32,
    /// How long in seconds resolvers may ask a server that the zone names no more: the TTL of its NS, here or at the parent,
    /// whichever is longer.
    #[serde(default = "delegation")]
    pub delegation: u32,
    /// Whether there is a hook to run after an installation.
    pub hook: bool,
    /// The operator vouches that addresses present what is deployed: what they presented before anything was is none of ours.
    #[serde(default)]
    pub vouched: bool,
}

fn delegation() -> u32 {
    DELEGATION
}

impl Default for Settings {
    fn default() -> Settings {
        let (ttl, interval, expire, hook, vouched) = Default::default();
        Settings { parameters: BTreeSet::new(), ttl, interval, expire, delegation: DELEGATION, hook, vouched }
    }
}

/// What happened. The facts of one server, and of one address, come in the order in which they were observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon has started: whatever was asked for may be lost. Come then: settings, servers, addresses, whether
    /// the publication is withheld, what the zone publishes, what may be presented besides, what is deployed, what is in the source.
    Started,
    /// Time has gone by.
    Tick,
    /// The configuration.
    Settings(Settings),
    /// The authoritative servers of the zone, each address one.
    Servers(BTreeSet<String>),
    /// The addresses of the MX host.
    Addresses(BTreeSet<String>),
    /// The certificate in the source.
    Source(Version),
    /// The keys that will come next, each with the records that can be made without its certificate.
    NextKeys(Vec<Chain>),
    /// What the mail server reads, as it stands on the disk.
    Deployed(Version),
    /// A version that may be presented besides: from before the machine began.
    Also(Version),
    /// Whether nothing that is decided on from now on comes out, since the prerequisites are not there or the operator said so.
    /// `false` is told, and the state stored, before anything comes out again. Until it is told, nothing is withheld.
    Withheld(bool),
    /// Our zone as it is served now. What was out before the machine began is told before it is changed.
    Published {
        /// Its serial.
        serial: u32,
        /// The RRset; empty when there is none.
        records: Vec<Tlsa>,
        /// Its TTL in seconds.
        ttl: u32,
    },
    /// What an authoritative server showed.
    Shows {
        /// Which.
        server: String,
        /// The serial of its zone.
        serial: u32,
        /// The RRset; empty when there is none.
        records: Vec<Tlsa>,
        /// Its TTL in seconds.
        ttl: u32,
    },
    /// A server did not answer, or not with authority.
    Unreachable {
        /// Which.
        server: String,
    },
    /// What an address of the MX presented.
    Presents {
        /// Which.
        address: String,
        /// The leaf's fingerprint.
        chain: String,
    },
    /// An address could not be asked.
    Unasked {
        /// Which.
        address: String,
    },
    /// The installer is done.
    Installed {
        /// With which version.
        version: String,
    },
    /// The installer could not do it.
    InstallFailed {
        /// With which version.
        version: String,
    },
    /// What was to be installed is nowhere any more.
    Lost {
        /// Which version.
        version: String,
    },
    /// The hook ended well.
    HookDone {
        /// For which version.
        version: String,
    },
    /// It did not.
    HookFailed {
        /// For which version.
        version: String,
    },
    /// The operator: begin again what was given up.
    Start,
    /// The operator: install and remove nothing.
    Hold,
    /// The operator: go on.
    Resume,
    /// The operator: give up what is not installed yet.
    Abort,
}

/// What is to be done. Each may come again, and is then harmless. The state must be stored before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Publish exactly these records.
    Publish {
        /// They, in canonical order.
        records: Vec<Tlsa>,
        /// The TTL in seconds.
        ttl: u32,
    },
    /// Ask the servers for SOA and RRset.
    AskServers {
        /// Which.
        servers: Vec<String>,
        /// By when each is answered for.
        by: Timestamp,
    },
    /// Ask the addresses for their certificate.
    Probe {
        /// Which.
        addresses: Vec<String>,
        /// By when each is answered for.
        by: Timestamp,
    },
    /// Put this version where the mail server reads.
    Install {
        /// Its id.
        version: String,
    },
    /// Run the hook.
    RunHook {
        /// For which version.
        version: String,
    },
    /// Nothing needs this version any more.
    Retire {
        /// Its id.
        version: String,
    },
    /// Something is wrong from now on.
    Alarm(Alarm),
    /// It no longer is.
    Cleared(Alarm),
    /// Something to tell; not told again after a crash.
    Tell(Notice),
}

/// Something that is wrong and stays so until it is cleared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alarm {
    /// The certificate was swapped by somebody else: this version.
    Swapped(String),
    /// An address presents a chain that is not known here.
    Mismatch(String),
    /// An address that has to be asked can't be.
    Unasked(String),
    /// A server does not show the new set.
    Behind(String),
    /// A server can't be reached, and is waited for.
    Unreachable(String),
    /// A server could not be reached for so long that its zone has expired: it was waited for no longer.
    PassedOver(String),
    /// The installation failed; it is tried again.
    InstallFailed,
    /// The hook failed; it is tried again.
    HookFailed,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// A rollover to this version has begun.
    Begun(String),
    /// This version is being installed.
    Installing(String),
    /// It is installed.
    Installed(String),
    /// The rollover to this version is over.
    Finished(String),
    /// This version waits for the one before.
    Queued(String),
    /// The rollover to this version was given up.
    GivenUp(String),
    /// The wall clock jumped by so many seconds.
    ClockJumped(i64),
    /// The operator's word can't be followed now.
    Refused(String),
}
