//! What a machine has to know, from what the keeper has looked at: told when it is another than before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use tracing::info;

use super::disk::Source;
use super::{Driven, Events, RolloverNews};
use crate::act::hook;
use crate::dane::certificate::KeyType;
use crate::dane::config::MailServiceStrength;
use crate::dane::explain::Status;
use crate::dane::plan::Planned;
use crate::dane::publication::{Phase, Reason};
use crate::dane::rollover::{Chain as Records, Event, Settings, Version};
use crate::dane::state::HostState;
use crate::dane::tlsa::{Protocol, Service, Tlsa};
use crate::dane::{Chain, Parameters};
use crate::dns::{Name, Rtype, Timestamp};
use crate::keeper::nameservers::{Ours, Place};
use crate::keeper::{Keeper, Zone};
use crate::observe::stamps::Stamps;
use crate::observe::{nameservers, presented};
use crate::zone::serial;

/// What this server is called among a zone's nameservers.
pub(super) const HERE: &str = "this server";

/// So many aliases are followed, one after the other: resolvers follow about as many.
const ALIASES_MAX: usize = 8;

/// Where nameservers answer, unless it is said otherwise.
const PORT: u16 = 53;

/// Where a nameserver is that is called so: one that the zone names no more may still be asked by resolvers.
pub(super) fn called(label: &str) -> Option<SocketAddr> {
    let with_port = || Some(SocketAddr::new(label.parse::<IpAddr>().ok()?, PORT));
    label.parse().ok().or_else(with_port)
}

/// What a machine was told last; none: nothing since the start.
#[derive(Debug, Default)]
pub(super) struct Told {
    started: bool,
    /// The serial that its zone was served with then.
    serial: Option<u32>,
    settings: Option<Settings>,
    servers: Option<BTreeSet<String>>,
    addresses: Option<BTreeSet<String>>,
    published: Option<(Vec<Tlsa>, u32)>,
    withheld: Option<bool>,
    pub(super) deployed: Option<Vec<Chain>>,
    /// How the files looked that it was read from.
    pub(super) looked: Option<Stamps>,
    pub(super) source: Option<Source>,
    pub(super) next_keys: Option<Vec<Records>>,
}

impl Told {
    /// What stands on the disk is told anew.
    pub(super) fn forget_deployed(&mut self) {
        self.deployed = None;
    }

    /// The source as it was told last.
    pub(super) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// What is in the source is written once more where it is installed from.
    pub(super) fn forget_source(&mut self) {
        self.source = None;
    }
}

/// Where a service is asked, and for a certificate of which key type.
pub(super) type Probed = (SocketAddr, Option<KeyType>);

impl Keeper {
    /// Lets rollovers lead the hosts that have a certificate with its key in a staged folder from now on. Whether there are any new.
    pub(in crate::keeper) fn take_lead<'a>(
        &mut self,
        planned: impl Iterator<Item = (&'a Name, &'a [Planned])>,
        now: Timestamp,
    ) -> bool {
        if self.ephemeral {
            return false;
        }
        let is_new = |host: &Name, owners: &[Planned]| {
            let is_ours = owners.iter().any(|planned| planned.zone.is_some());
            is_ours && !self.rollovers.hosts.contains_key(host) && !self.candidates(host, true).is_empty()
        };
        let new: Vec<(Name, Events)> = planned
            .filter(|(host, owners)| is_new(host, owners))
            .map(|(host, owners)| (host.clone(), self.inherited(host, owners)))
            .collect();
        for (host, _) in &new {
            self.rollovers.hosts.insert(host.clone(), Driven::default());
        }
        let (hosts, events): (Vec<Name>, Vec<Events>) = new.into_iter().unzip();
        if hosts.is_empty() {
            return false;
        }
        self.step_rollovers(events.into_iter().flatten().collect(), now);
        for host in &hosts {
            if self.store_problem.is_some() {
                // A machine that does not know what was before must not lead.
                self.rollovers.hosts.remove(host);
                self.rollovers.led.remove(host);
            } else {
                info!("{}: from now on its certificate is installed by danelaw", host.to_host());
            }
        }
        true
    }

    /// What is known of a host that had no rollover: what is out, and what may be presented.
    fn inherited(&self, host: &Name, owners: &[Planned]) -> Events {
        let mut events = Vec::new();
        if let Some((settings, zone)) = self.settings(host, owners).zip(self.zone_of(owners)) {
            events.push(Event::Settings(settings.clone()));
            let records = self.dane.hosts.get(host).map(|state| out(state, owners)).unwrap_or_default();
            if !records.is_empty() {
                let known = self.dane.hosts.get(host).into_iter().flat_map(|state| state.publications.values());
                let cached = known.filter_map(|publication| Some(publication.cached?.ttl)).max().unwrap_or(0);
                let ttl = settings.ttl.max(cached);
                events.push(Event::Published { serial: serial_of(zone), records, ttl });
            }
        }
        let keyset = self.dane.hosts.get(host).map(|state| &state.keyset.known[..]).unwrap_or_default();
        events.extend(keyset.iter().map(|known| Event::Also(Version::of([&known.chain]))));
        events.into_iter().map(|event| (host.clone(), event)).collect()
    }

    /// Tells each machine whether what it wants is withheld: before what was withheld goes out. Whether any says something else of its
    /// host than before.
    pub(in crate::keeper) fn tell_withheld(&mut self, now: Timestamp) -> bool {
        let hosts: Vec<Name> = self.rollovers.hosts.keys().cloned().collect();
        let mut events = Events::new();
        for host in hosts {
            let owners = self.plans.of_host(&host);
            let (known, withheld) = (!owners.is_empty(), is_withheld(self.zone_of(owners), owners));
            let Some(driven) = self.rollovers.hosts.get_mut(&host) else { continue };
            if known && driven.told.withheld != Some(withheld) {
                driven.told.withheld = Some(withheld);
                events.push((host, Event::Withheld(withheld)));
            }
        }
        !events.is_empty() && self.step_rollovers(events, now)
    }

    /// Everything that is otherwise than it was told. `look`: what stands on the disk is looked at, too.
    pub(super) fn new_facts(&mut self, look: bool) -> Events {
        let hosts: Vec<Name> = self.rollovers.hosts.keys().cloned().collect();
        hosts.into_iter().flat_map(|host| self.facts_of(&host, look)).collect()
    }

    fn facts_of(&mut self, host: &Name, look: bool) -> Events {
        let owners = self.plans.of_host(host);
        let serial = self.zone_of(owners).and_then(Zone::published).map(|published| published.serial);
        let told = self.rollovers.hosts.get(host).map(|driven| &driven.told);
        if !look && told.is_some_and(|told| told.started && told.serial == serial) {
            return Events::new();
        }
        let settings = self.settings(host, owners);
        let withheld = (!owners.is_empty()).then(|| is_withheld(self.zone_of(owners), owners));
        let addresses = self.probed(host).into_keys().collect::<BTreeSet<_>>();
        let (published, apex) = match self.zone_of(owners) {
            Some(zone) => (shown(zone, owners), Some(zone.origin.clone())),
            None => (None, None),
        };
        let servers = apex.and_then(|apex| self.servers(&apex));
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return Events::new() };
        let told = &mut driven.told;
        let mut events = Vec::new();
        told.serial = serial;
        let starting = !std::mem::replace(&mut told.started, true);
        if starting {
            events.push(Event::Started);
        }
        news(&mut told.settings, settings, Event::Settings, &mut events);
        news(&mut told.servers, servers, Event::Servers, &mut events);
        news(&mut told.withheld, withheld, Event::Withheld, &mut events);
        news(&mut told.addresses, Some(addresses).filter(|all| !all.is_empty()), Event::Addresses, &mut events);
        if let Some((serial, records, ttl)) = published
            && told.published.as_ref().is_none_or(|before| (&before.0, before.1) != (&records, ttl))
        {
            told.published = Some((records.clone(), ttl));
            events.push(Event::Published { serial, records, ttl });
        }
        if starting {
            self.clean_up(host);
        }
        if look || starting {
            events.extend(self.on_the_disk(host));
        }
        events.into_iter().map(|event| (host.clone(), event)).collect()
    }

    /// What holds for a host: of its services together.
    fn settings(&self, host: &Name, owners: &[Planned]) -> Option<Settings> {
        let zone = self.zone_of(owners)?;
        let config = self.dane_config.zone(&zone.origin);
        let hook = !self.config.rollover.hooks(host).0.is_empty();
        let vouched = config.mail_service == MailServiceStrength::Declared;
        let mut settings = Settings { hook, vouched, ..Settings::default() };
        for service in owners.iter().filter_map(|planned| Service::from_owner(&planned.owner)) {
            let own = self.dane_config.services.iter().find(|own| own.service() == service);
            let parameters = own.and_then(|own| own.parameters.as_ref()).unwrap_or(&config.parameters);
            let sound = parameters.iter().filter(|parameters| parameters.check(&service).is_ok());
            settings.parameters.extend(sound);
            settings.ttl = settings.ttl.max(own.and_then(|own| own.ttl).unwrap_or(config.ttl));
        }
        let own = self.config.rollover.hosts.get(host).and_then(|own| own.confirmation_interval);
        settings.interval = own.unwrap_or(config.confirmation_interval);
        let soa = zone.contents.as_ref()?.rrset(&zone.origin, Rtype::SOA)?;
        let ns = zone.contents.as_ref()?.rrset(&zone.origin, Rtype::NS);
        settings.delegation = settings.delegation.max(ns.map_or(0, |ns| ns.ttl));
        settings.expire = soa.rdatas.first().and_then(|soa| serial::timers_of_soa(soa)).map_or(0, |timers| timers[2]);
        Some(settings)
    }

    /// The zone that a host's owners are in.
    pub(super) fn zone_of(&self, owners: &[Planned]) -> Option<&Zone> {
        self.zones.get(owners.iter().find_map(|planned| planned.zone.as_ref())?).map(|zone| &**zone)
    }

    /// The zone of each host that is led.
    pub(super) fn led_zones(&self) -> BTreeMap<Name, Name> {
        let zone = |host: &Name| Some((host.clone(), self.zone_of(self.plans.of_host(host))?.origin.clone()));
        self.rollovers.hosts.keys().filter_map(zone).collect()
    }

    /// What a zone's nameservers are called here; none while one of them isn't known.
    fn servers(&mut self, apex: &Name) -> Option<BTreeSet<String>> {
        let ours = Ours { config: &self.config, zones: &self.zones };
        let places = self.rollovers.nameservers.asked(&ours, apex).ok().filter(|places| !places.is_empty())?;
        let label = |place| match place {
            Place::Here => HERE.to_owned(),
            Place::At(address) if address.port() == PORT => address.ip().to_string(),
            Place::At(address) => address.to_string(),
        };
        Some(places.into_iter().map(label).collect())
    }

    /// Where a host's services present their certificates, by what these places are called here: of each key type for itself, where
    /// several are installed.
    pub(super) fn probed(&self, host: &Name) -> BTreeMap<String, Probed> {
        let live = self.rollovers.hosts.get(host).map(|driven| &driven.live[..]).unwrap_or_default();
        let types: Vec<Option<KeyType>> = match live {
            [] | [_] => vec![None],
            several => several.iter().map(|chain| Some(chain.leaf().key_type)).collect(),
        };
        let called = |(address, key_type): (SocketAddr, Option<KeyType>)| match key_type {
            None => (address.to_string(), (address, key_type)),
            Some(of) => (format!("{address} ({of})"), (address, key_type)),
        };
        let places = self.places(host);
        places.into_iter().flat_map(|address| types.iter().map(move |of| (address, *of))).map(called).collect()
    }

    fn places(&self, host: &Name) -> Vec<SocketAddr> {
        if let Some(named) = self.config.rollover.hosts.get(host).and_then(|own| own.probe.as_ref()) {
            return named.clone();
        }
        let ours = Ours { config: &self.config, zones: &self.zones };
        let addresses: Vec<IpAddr> = ours.addresses(host).unwrap_or_default();
        let services = self.plans.of_host(host).iter().filter(|planned| planned.zone.is_some());
        let services = services.filter_map(|planned| Service::from_owner(&planned.owner));
        // Those over UDP can't be asked: where there are no others, it takes the operator's word.
        let is_known = |service: &Service| service.protocol == Protocol::Tcp || self.is_declared(host);
        let ports = services.filter(is_known).map(|service| service.port).collect::<BTreeSet<_>>();
        ports.into_iter().flat_map(|port| addresses.iter().map(move |&ip| SocketAddr::new(ip, port))).collect()
    }

    /// Whether the operator vouches for what a host's services present.
    pub(super) fn is_declared(&self, host: &Name) -> bool {
        let zone = self.zone_of(self.plans.of_host(host));
        zone.is_some_and(|zone| self.dane_config.zone(&zone.origin).mail_service == MailServiceStrength::Declared)
    }

    /// What an edge says, as the machine understands it.
    pub(super) fn events_of(&mut self, news: RolloverNews, now: Timestamp) -> Events {
        match news {
            RolloverNews::Nameserver(nameservers::News::Shows { host, label, shown }) => {
                let nameservers::Shown { serial, records, ttl } = shown;
                self.note_nameserver(&host, &label, None);
                vec![(host, Event::Shows { server: label, serial, records, ttl })]
            }
            RolloverNews::Nameserver(nameservers::News::Unreachable { host, label, why }) => {
                self.note_nameserver(&host, &label, Some(why.to_string()));
                vec![(host, Event::Unreachable { server: label })]
            }
            RolloverNews::Presented(presented::News::Presents { host, label, fingerprint, .. }) => {
                self.note_probe(&host, &label, Ok(()));
                vec![(host, Event::Presents { address: label, chain: fingerprint })]
            }
            RolloverNews::Presented(presented::News::Unasked { host, label, why }) => {
                self.note_probe(&host, &label, Err(why.to_string()));
                vec![(host, Event::Unasked { address: label })]
            }
            RolloverNews::Hook(hook::News { host, version, outcome }) => {
                match self.hook_ended_alone(&host, &version, &outcome, now) {
                    true => Events::new(),
                    false => self.hook_ended(host, version, outcome),
                }
            }
        }
    }
}

/// Whether nothing of a host comes out, whatever its rollover wants.
fn is_withheld(zone: Option<&Zone>, owners: &[Planned]) -> bool {
    use Reason::{Disabled, Lost, NotYet, Presigned, WithdrawnByOperator};
    let is_withheld = |planned: &Planned| match &planned.explanation.status {
        Status::Withheld(reason) => matches!(reason, NotYet | Lost | Disabled | WithdrawnByOperator | Presigned),
        // What is there is the zone's own, and what a rollover wants does not come out beside it.
        Status::HandWritten { .. } => true,
        // What an alias leads to elsewhere is not known to be out, nor known not to be.
        Status::Alias { .. } => zone.is_some_and(|zone| behind_aliases(zone, &planned.owner).is_some()),
        Status::Served(_) | Status::NotOurs => false,
    };
    owners.iter().all(is_withheld)
}

/// A fact that is another than before.
fn news<T: Clone + PartialEq>(told: &mut Option<T>, now: Option<T>, event: fn(T) -> Event, events: &mut Vec<Event>) {
    if let Some(now) = now
        && told.as_ref() != Some(&now)
    {
        *told = Some(now.clone());
        events.push(event(now));
    }
}

/// What was out of a host before it had a rollover, under the parameters that it was published with last.
fn out(state: &HostState, owners: &[Planned]) -> Vec<Tlsa> {
    let publications = owners.iter().filter_map(|planned| state.publications.get(&planned.owner));
    let sets: BTreeSet<Parameters> = publications
        .filter(|publication| publication.phase == Phase::Published)
        .flat_map(|publication| publication.sets.iter().copied())
        .collect();
    let known = || state.keyset.known.iter();
    let of_set = |set: Parameters| known().filter_map(move |known| Tlsa::from_chain(&known.chain, set).ok());
    let records: BTreeSet<Tlsa> = sets.into_iter().flat_map(of_set).collect();
    records.into_iter().collect()
}

fn serial_of(zone: &Zone) -> u32 {
    let soa =
        || zone.contents.as_ref()?.rrset(&zone.origin, Rtype::SOA)?.rdatas.first().and_then(|soa| serial::of_soa(soa));
    zone.before().map(|before| before.serial).or_else(soa).unwrap_or(0)
}

/// What a zone serves at some owners: its serial, all of their records, and the highest TTL.
pub(super) fn shown(zone: &Zone, owners: &[Planned]) -> Option<(u32, Vec<Tlsa>, u32)> {
    let published = zone.published()?;
    let mut records = BTreeSet::new();
    let mut ttl = 0;
    for planned in owners.iter().filter(|planned| planned.zone.as_ref() == Some(&zone.origin)) {
        let Some((found, lifetime)) = behind_aliases(zone, &planned.owner) else { continue };
        records.extend(found);
        ttl = ttl.max(lifetime);
    }
    Some((published.serial, records.into_iter().collect(), ttl))
}

/// The TLSA of an owner, or of what it is an alias to within the zone (RFC 7671 section 7), and the highest TTL on the way. None
/// where an alias leads out of what this zone says: to another zone, below a cut, to what a wildcard may answer for, or nowhere.
pub(super) fn behind_aliases(zone: &Zone, owner: &Name) -> Option<(Vec<Tlsa>, u32)> {
    let (published, contents) = (zone.published()?, zone.contents.as_ref()?);
    let mut at = owner.clone();
    let mut ttl = 0;
    for _ in 0..ALIASES_MAX {
        if !at.is_at_or_below(&zone.origin) || contents.cut(&at).is_some() || contents.is_below_dname(&at) {
            return None;
        }
        if let Some(set) = published.set(&at, Rtype::TLSA) {
            let records = set.rrset.rdatas.iter().filter_map(|rdata| Tlsa::from_rdata(rdata)).collect();
            return Some((records, ttl.max(set.rrset.ttl)));
        }
        let Some(alias) = published.set(&at, Rtype::CNAME) else {
            let is_there = at == *owner || published.tree.node(at.as_wire()).is_some();
            return is_there.then_some((Vec::new(), ttl));
        };
        ttl = ttl.max(alias.rrset.ttl);
        at = alias.rrset.rdatas.first().and_then(|target| Name::from_wire(target).ok())?;
    }
    None
}
