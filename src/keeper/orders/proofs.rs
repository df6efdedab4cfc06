//! What proves names to a CA (RFC 8555 section 8.4): TXT records that stand in the zones here as long as they are wanted, and that every
//! nameserver has to show before the CA is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Events;
use crate::acme::{Event, Id, Proof};
use crate::dns::mailtext::txt_value;
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::keeper::Keeper;
use crate::keeper::decide::Synthesised;
use crate::keeper::nameservers::{Ours, Place};
use crate::observe::proofs::{News, Order, Texts};
use crate::outside::caa::{Issuers, issuers};

/// The label that proofs stand at, below the name.
const LABEL: &[u8] = b"_acme-challenge";
/// The TTL of a proof in seconds: it is asked for by the CA alone.
const TTL: u32 = 60;
/// So many aliases are followed.
const ALIASES_MAX: usize = 8;

/// Nameservers that are asked for proofs.
pub(super) struct Asking {
    proofs: Vec<Proof>,
    /// They were asked, and who has not answered yet; none: nobody was asked.
    waiting: Option<BTreeSet<String>>,
    /// The first that does not show them, and why.
    missing: Option<String>,
}

impl Asking {
    pub(super) fn new(proofs: Vec<Proof>) -> Asking {
        Asking { proofs, waiting: None, missing: None }
    }
}

/// What is to stand at owners of a zone.
pub(in crate::keeper) type Wanted = BTreeMap<Name, BTreeSet<String>>;

impl Keeper {
    /// What is to stand in each zone.
    pub(in crate::keeper) fn proofs(&self) -> BTreeMap<Name, Wanted> {
        let proofs: Vec<Proof> = self.orders.each.values().flat_map(|driven| driven.state.proofs()).cloned().collect();
        self.placed(&proofs).unwrap_or_else(|(placed, _)| placed)
    }

    /// Where proofs stand; an error: those that can, and why another one can't.
    fn placed(&self, proofs: &[Proof]) -> Result<BTreeMap<Name, Wanted>, (BTreeMap<Name, Wanted>, String)> {
        let mut placed: BTreeMap<Name, Wanted> = BTreeMap::new();
        let mut failure = None;
        for Proof { name, value } in proofs {
            match self.place_of(name) {
                Ok((apex, owner)) => {
                    placed.entry(apex).or_default().entry(owner).or_default().insert(value.clone());
                }
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        match failure {
            None => Ok(placed),
            Some(why) => Err((placed, why)),
        }
    }

    /// Why the proof of a name, which may be a wildcard, can stand nowhere.
    pub(super) fn cannot_prove(&self, name: &Name) -> Option<String> {
        self.place_of(&bare(name)).err()
    }

    /// The zone and the owner that the proof of a name stands at: where an alias leads elsewhere, there.
    fn place_of(&self, name: &Name) -> Result<(Name, Name), String> {
        let mut owner = name.prepend(LABEL).map_err(|error| format!("{}: {error}", name.to_host()))?;
        for _ in 0..ALIASES_MAX {
            let Some(zone) = self.authority(&owner) else {
                return Err(format!(
                    "the zone of {} is not served here, so {} can't be proven: serve it here, or take the name out of the certificate",
                    owner.to_host(),
                    name.to_host()
                ));
            };
            if zone.is_presigned() {
                return Err(format!(
                    "zone {} is signed elsewhere, so the proof of {} can't be put into it: let {} be a CNAME into a zone that is \
                     signed here",
                    zone.origin,
                    name.to_host(),
                    owner.to_host()
                ));
            }
            let Some(contents) = &zone.contents else {
                return Err(format!("zone {} has no good version", zone.origin));
            };
            let alias =
                contents.rrset(&owner, Rtype::CNAME).and_then(|cname| Name::from_wire(cname.rdatas.first()?).ok());
            match alias {
                Some(target) => owner = target,
                None => return Ok((zone.origin.clone(), owner)),
            }
        }
        Err(format!("the aliases at {} lead nowhere", name.to_host()))
    }

    /// The records that are synthesised, with the proofs: beside what other clients have put there. None: there are no proofs.
    pub(in crate::keeper) fn with_proofs(&self, synthesised: &Synthesised) -> Option<Synthesised> {
        let proofs = self.proofs();
        if proofs.is_empty() {
            return None;
        }
        let mut synthesised = synthesised.clone();
        for (apex, wanted) in proofs {
            let contents = self.zones.get(&apex).and_then(|zone| zone.contents.as_ref());
            let zone = synthesised.entry(apex).or_default();
            for (owner, values) in wanted {
                let before = contents.and_then(|contents| contents.rrset(&owner, Rtype::TXT));
                let mut rrset = before.unwrap_or(RRset { rtype: Rtype::TXT, ttl: TTL, rdatas: Vec::new() });
                rrset.ttl = rrset.ttl.min(TTL);
                for value in values {
                    rrset.insert(txt(&value));
                }
                if let Err(place) = zone.binary_search_by(|(other, _)| other.cmp(&owner)) {
                    zone.insert(place, (owner, rrset));
                }
            }
        }
        Some(synthesised)
    }

    /// Asks each nameserver of each zone for what was asked for and is published by now. Whether anything has to be published otherwise.
    pub(in crate::keeper) fn look_for_proofs(&mut self, now: Timestamp) -> bool {
        let events = self.ask_for_proofs();
        self.step_orders(events, now)
    }

    fn ask_for_proofs(&mut self) -> Events {
        let new = self.orders.each.iter().filter_map(|(id, driven)| {
            let asking = driven.asking.as_ref().filter(|asking| asking.waiting.is_none())?;
            Some((id.clone(), asking.proofs.clone()))
        });
        let new: Vec<(Id, Vec<Proof>)> = new.collect();
        new.into_iter().filter_map(|(id, proofs)| Some((id.clone(), self.ask_servers_for(&id, &proofs)?))).collect()
    }

    fn ask_servers_for(&mut self, id: &Id, proofs: &[Proof]) -> Option<Event> {
        let (mut waiting, mut missing) = (BTreeSet::new(), None);
        let placed = self.placed(proofs).unwrap_or_else(|(placed, why)| {
            missing = Some(why);
            placed
        });
        for (apex, wanted) in placed {
            let ours = Ours { config: &self.config, zones: &self.zones };
            let places = match self.rollovers.servers_of(&ours, &apex) {
                Ok(places) if places.is_empty() => BTreeSet::from([Place::Here]),
                Ok(places) => places,
                Err(host) => {
                    let why = format!("the address of nameserver {} is not known yet", host.to_host());
                    missing = missing.or(Some(why));
                    continue;
                }
            };
            for place in places {
                match place {
                    Place::Here => missing = missing.or_else(|| self.lacks_here(&apex, &wanted)),
                    Place::At(server) => {
                        let label = label(id, &apex, server);
                        let owners = wanted.keys().cloned().collect();
                        let order = Order { host: id.host.clone(), label: label.clone(), server, owners };
                        match self.orders.texts.as_ref().map(|texts| texts.try_send(order)) {
                            Some(Ok(())) => drop(waiting.insert(label)),
                            _ => missing = missing.or(Some("too many nameservers are being asked".to_owned())),
                        }
                    }
                }
            }
        }
        let driven = self.orders.each.get_mut(id)?;
        driven.asking = Some(Asking { proofs: proofs.to_vec(), waiting: Some(waiting), missing });
        driven.asking_ended()
    }

    /// What this server does not show of it.
    fn lacks_here(&self, apex: &Name, wanted: &Wanted) -> Option<String> {
        let published = self.zones.get(apex).and_then(|zone| zone.published());
        let texts = wanted.keys().map(|owner| {
            let set = published.and_then(|published| published.set(owner, Rtype::TXT));
            let values = set.into_iter().flat_map(|set| set.rrset.rdatas).map(|rdata| txt_value(&rdata));
            (owner.clone(), values.collect())
        });
        lacking(wanted, &texts.collect()).map(|owner| format!("this server does not serve {} TXT yet", owner.to_host()))
    }

    /// A nameserver has answered.
    pub(super) fn proofs_shown(&mut self, news: News) -> Option<(Id, Event)> {
        let News { host, label, shown } = news;
        let is_it = |id: &Id| id.host == host && label.starts_with(&format!("{} ", id.key_type));
        let id = self.orders.each.keys().find(|id| is_it(id))?.clone();
        let proofs = self.orders.each.get(&id)?.asking.as_ref()?.proofs.clone();
        let placed = self.placed(&proofs).unwrap_or_else(|(placed, _)| placed);
        let mut words = label.split(' ').skip(1);
        let (apex, server) = (words.next()?.parse::<Name>().ok()?, words.next()?.to_owned());
        let asking = self.orders.each.get_mut(&id)?.asking.as_mut()?;
        if !asking.waiting.as_mut()?.remove(&label) {
            return None;
        }
        let wanted = placed.get(&apex);
        let why = match (shown, wanted) {
            (Err(why), _) => Some(format!("{server}: {why}")),
            (Ok(texts), Some(wanted)) => lacking(wanted, &texts)
                .map(|owner| format!("{server} does not show {} TXT yet: does it transfer the zone?", owner.to_host())),
            (Ok(_), None) => Some(format!("zone {apex} is not served here any more")),
        };
        asking.missing = asking.missing.take().or(why);
        let event = self.orders.each.get_mut(&id)?.asking_ended()?;
        Some((id, event))
    }

    /// Whether CAA lets the CA issue for each of the names (RFC 8659 section 3), as far as the zones here say; else the record to add.
    pub(super) fn may_issue(&self, names: &BTreeSet<Name>) -> Result<(), String> {
        let known = self.config.acme.as_ref().map(|acme| acme.issuers()).unwrap_or_default();
        if known.is_empty() {
            return Ok(());
        }
        for name in names {
            let bare = bare(name);
            let is_wildcard = bare != *name;
            let Some((at, records)) = self.authorities(&bare) else { continue };
            let allowed = match issuers(&records, is_wildcard) {
                Issuers::All => true,
                Issuers::Only(only) => only.iter().any(|one| known.iter().any(|known| known.eq_ignore_ascii_case(one))),
                Issuers::Nobody | Issuers::Critical(_) | Issuers::Malformed(_) => false,
            };
            if !allowed {
                let tag = if is_wildcard { "issuewild" } else { "issue" };
                return Err(format!("{at} CAA 0 {tag} \"{}\"", known[0]));
            }
        }
        Ok(())
    }

    /// The CAA records that count for a name, and where they stand: its own, or those of the nearest name above that has any.
    fn authorities(&self, name: &Name) -> Option<(Name, Vec<Rdata>)> {
        std::iter::once(name.clone()).chain(name.ancestors()).find_map(|at| {
            let caa = self.authority(&at)?.contents.as_ref()?.rrset(&at, Rtype::CAA)?;
            Some((at, caa.rdatas))
        })
    }
}

impl super::Driven {
    /// What asking came to, when all have answered.
    fn asking_ended(&mut self) -> Option<Event> {
        self.asking.as_ref()?.waiting.as_ref().filter(|waiting| waiting.is_empty())?;
        let Asking { proofs, missing, .. } = self.asking.take()?;
        Some(match missing {
            None => Event::Shown { proofs },
            Some(why) => Event::NotShown { why },
        })
    }
}

/// A name without `*.`: what is proven of a wildcard (RFC 8555 section 7.1.4).
fn bare(name: &Name) -> Name {
    name.parent().filter(|_| name.labels().next() == Some(b"*")).unwrap_or_else(|| name.clone())
}

/// The first owner that lacks something.
fn lacking<'a>(wanted: &'a Wanted, texts: &Texts) -> Option<&'a Name> {
    let has = |owner: &Name, value: &String| texts.get(owner).is_some_and(|values| values.contains(value.as_bytes()));
    wanted.iter().find(|(owner, values)| !values.iter().all(|value| has(owner, value))).map(|(owner, _)| owner)
}

/// What a server is called while it is asked for one certificate's proofs in a zone.
fn label(id: &Id, apex: &Name, server: SocketAddr) -> String {
    format!("{} {apex} {server}", id.key_type)
}

/// One string: a proof has 43 characters.
fn txt(value: &str) -> Rdata {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let text = &value.as_bytes()[..usize::from(length)];
    [&[length], text].concat().into()
}
