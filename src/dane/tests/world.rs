//! Served zones made of values.

use std::collections::{BTreeMap, BTreeSet};

use super::name;
use crate::dane::config::{DaneConfig, DnssecStrength, MailServiceStrength};
use crate::dane::keyset::{Sighting, Sightings};
use crate::dane::led::LedHosts;
use crate::dane::plan::{Input, Plan, plan};
use crate::dane::prerequisites::{Resolved, Served, SignedState};
use crate::dane::state::State;
use crate::dns::{Name, RRset, Rtype};

/// Zones, certificates and configuration that a test changes.
pub struct World {
    pub zones: Vec<Name>,
    pub cuts: Vec<Name>,
    pub records: BTreeMap<(Name, Rtype), RRset>,
    pub signed: SignedState,
    pub presigned: bool,
    pub lagging: BTreeSet<Name>,
    pub config: DaneConfig,
    pub certificates: Sightings,
    pub led: LedHosts,
    pub resolved: BTreeMap<Name, Resolved>,
    pub whole: bool,
}

pub const OURS: [u8; 4] = [192, 0, 2, 1];

impl World {
    /// example.org with an MX to mail.example.org at 192.0.2.1, a DKIM key, signed; the weak grades.
    pub fn new() -> World {
        let mut config = DaneConfig::default();
        config.server.dnssec = DnssecStrength::Zone;
        config.server.mail_service = MailServiceStrength::Declared;
        config.server.addresses = vec![OURS.into()];
        let mut world = World {
            zones: vec![name("example.org")],
            cuts: Vec::new(),
            records: BTreeMap::new(),
            signed: SignedState::Signed,
            presigned: false,
            lagging: BTreeSet::new(),
            config,
            certificates: Sightings::default(),
            led: LedHosts::new(),
            resolved: BTreeMap::new(),
            whole: true,
        };
        world.mx("example.org", "mail.example.org");
        world.put("mail.example.org", Rtype::A, &OURS);
        world.txt("s1._domainkey.example.org", "v=DKIM1; p=AAAA");
        world
    }

    pub fn put(&mut self, owner: &str, rtype: Rtype, rdata: &[u8]) {
        let owner = name(owner);
        let rrset = self.records.entry((owner, rtype)).or_insert(RRset { rtype, ttl: 300, rdatas: Vec::new() });
        rrset.insert(rdata.into());
    }

    pub fn mx(&mut self, domain: &str, host: &str) {
        self.put(domain, Rtype::MX, &[&[0, 10], name(host).as_wire()].concat());
    }

    /// A TXT in two strings, as long keys are written.
    pub fn txt(&mut self, owner: &str, value: &str) {
        let (left, right) = value.split_at(value.len() / 2);
        let string = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        self.put(owner, Rtype::TXT, &[string(left), string(right)].concat());
    }

    pub fn cname(&mut self, owner: &str, target: &str) {
        self.put(owner, Rtype::CNAME, name(target).as_wire());
    }

    pub fn drop(&mut self, owner: &str, rtype: Rtype) {
        assert!(self.records.remove(&(name(owner), rtype)).is_some(), "{owner} {rtype}");
    }

    pub fn rrset_exists(&self, owner: &str, rtype: Rtype) -> bool {
        self.records.contains_key(&(name(owner), rtype))
    }

    pub fn see(&mut self, pem: &str, source: &str) {
        self.certificates.seen.retain(|sighting| sighting.source != source);
        self.certificates.seen.push(Sighting { chain: super::chain(pem), source: source.to_owned(), presented: false });
    }

    pub fn input(&self, now: u64) -> Input<'_> {
        Input {
            served: self,
            config: &self.config,
            certificates: &self.certificates,
            led: &self.led,
            dkim_ok: &dkim_ok,
            now,
        }
    }

    /// A plan, its state through the store.
    pub fn plan(&self, state: &State, now: u64) -> Plan {
        let state = stored(state);
        let input = self.input(now);
        let first = plan(input, state.clone());
        assert_eq!(plan(input, state), first, "the same input gives the same plan");
        first
    }
}

/// A state as it comes back from the store.
pub fn stored(state: &State) -> State {
    let mut back = State::default();
    for (host, state) in &state.hosts {
        let json = serde_json::to_string(state).expect("serialises");
        back.put(host, serde_json::from_str(&json).expect("reads back"));
    }
    back
}

/// Stands in for the parser in `dns`.
pub fn dkim_ok(value: &[u8]) -> Result<(), String> {
    match value.split(|octet| *octet == b'=').next_back() {
        Some(b"") => Err("revoked (empty p=)".to_owned()),
        Some(b"AAAA") => Ok(()),
        _ => Err("not a DKIM key".to_owned()),
    }
}

impl Served for World {
    fn zone_of(&self, name: &Name) -> Option<Name> {
        let zone = self.zones.iter().filter(|zone| name.is_at_or_below(zone)).max_by_key(|zone| zone.label_count())?;
        let is_cut = self.cuts.iter().any(|cut| cut.is_below(zone) && name.is_at_or_below(cut));
        (!is_cut).then(|| zone.clone())
    }

    fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<RRset> {
        self.records.get(&(owner.clone(), rtype)).cloned()
    }

    fn signed(&self, _: &Name) -> SignedState {
        self.signed.clone()
    }

    fn is_whole(&self) -> bool {
        self.whole
    }

    fn is_presigned(&self, _: &Name) -> bool {
        self.presigned
    }

    fn resolved(&self, domain: &Name) -> Resolved {
        self.resolved.get(domain).cloned().unwrap_or_else(|| Resolved::unseen("it was not looked at yet"))
    }

    fn lags(&self, owner: &Name) -> bool {
        self.lagging.contains(owner)
    }

    fn owners_below(&self, name: &Name) -> Vec<Name> {
        let owners = self.records.keys().map(|(owner, _)| owner).filter(|owner| owner.is_at_or_below(name));
        owners.cloned().collect::<BTreeSet<Name>>().into_iter().collect()
    }

    fn mail_domains(&self) -> Vec<Name> {
        self.records.keys().filter(|(_, rtype)| *rtype == Rtype::MX).map(|(owner, _)| owner.clone()).collect()
    }

    fn mail_domain(&self, name: &Name) -> Option<Name> {
        let found = self.records.get_key_value(&(name.clone(), Rtype::MX));
        found.map(|((owner, _), _)| owner.clone())
    }
}
