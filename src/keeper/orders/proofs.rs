//! What proves names to a CA (RFC 8555 section 8.4): TXT records that stand in the zones here as long as they are wanted, and that every
//! nameserver has to show before the CA is told. Of a name whose zone is elsewhere an alias has to lead into one here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Events;
use super::elsewhere::{self, FRESH, Since};
use crate::acme::{Event, Id, Proof, bare, proof_owner};
use crate::dns::mailtext::txt_value;
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::keeper::Keeper;
use crate::keeper::decide::Synthesised;
use crate::keeper::nameservers::{Ours, Place};
use crate::observe::outside::elsewhere::{Found, Question};
use crate::observe::proofs::{News, Order, Texts};

/// The label that proofs of names elsewhere stand below, in a zone here.
const LABEL: &[u8] = b"_acme-challenge";
/// The TTL of a proof in seconds: it is asked for by the CA alone.
const TTL: u32 = 60;
/// So many aliases are followed.
pub(super) const ALIASES_MAX: usize = 8;

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
/// The same in each zone.
type Placed = BTreeMap<Name, Wanted>;

/// Why it isn't known where a proof is to stand.
pub(super) enum Unplaced {
    /// What a name elsewhere is an alias of is to be asked.
    Asked(Question),
    /// That can't be told; why.
    Unknown(String),
    /// It can stand nowhere; why, and what to do.
    Never(String),
}

impl Keeper {
    /// What is to stand in each zone.
    pub(in crate::keeper) fn proofs(&self) -> Placed {
        let proofs: Vec<Proof> = self.orders.each.values().flat_map(|driven| driven.state.proofs()).cloned().collect();
        self.placed(&proofs, Since::Ever).unwrap_or_else(|(placed, _)| placed)
    }

    /// Where proofs stand; an error: those that can, and why another one can't.
    fn placed(&self, proofs: &[Proof], since: Since) -> Result<Placed, (Placed, Unplaced)> {
        let mut placed = Placed::new();
        let mut failure = None;
        for Proof { name, value } in proofs {
            match self.place_of(name, since) {
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

    /// Why the proof of a name, which may be a wildcard, can stand nowhere, or what is to be asked to know it. Of what is asked, answers
    /// since then count.
    pub(super) fn cannot_prove(&self, name: &Name, since: Since) -> Option<Unplaced> {
        self.place_of(&bare(name), since).err()
    }

    /// The zone that the proof of a name, which may be a wildcard, is put into, as far as is known.
    pub(super) fn zone_of_proof(&self, name: &Name) -> Option<Name> {
        self.place_of(&bare(name), Since::Ever).ok().map(|(apex, _)| apex)
    }

    /// The zone and the owner that the proof of a name stands at: where aliases lead elsewhere, there.
    fn place_of(&self, name: &Name, since: Since) -> Result<(Name, Name), Unplaced> {
        let never = |why| Err(Unplaced::Never(why));
        let proof = proof_owner(name).map_err(|error| Unplaced::Never(format!("{}: {error}", name.to_host())))?;
        let mut owner = proof.clone();
        for _ in 0..ALIASES_MAX {
            let Some(zone) = self.authority(&owner) else {
                owner = self.alias_elsewhere(name, &proof, owner, since)?;
                continue;
            };
            if zone.is_presigned() {
                return never(format!(
                    "zone {} is signed elsewhere, so the proof of {} can't be put into it: let {} be a CNAME into a zone that is \
                     signed here",
                    zone.origin,
                    name.to_host(),
                    owner.to_host()
                ));
            }
            let Some(contents) = &zone.contents else {
                return never(format!("zone {} has no good version", zone.origin));
            };
            let alias =
                contents.rrset(&owner, Rtype::CNAME).and_then(|cname| Name::from_wire(cname.rdatas.first()?).ok());
            match alias {
                Some(target) => owner = target,
                None => return Ok((zone.origin.clone(), owner)),
            }
        }
        never(format!("the aliases at {} lead nowhere", proof.to_host()))
    }

    /// What a name in a zone elsewhere, on the way from the owner of a proof, is an alias of.
    fn alias_elsewhere(&self, name: &Name, proof: &Name, owner: Name, since: Since) -> Result<Name, Unplaced> {
        let question = Question::Alias(owner.clone());
        let place = if owner == *proof {
            format!("the zone of {} is not served here", owner.to_host())
        } else {
            format!("{} leads to {}, whose zone is not served here", proof.to_host(), owner.to_host())
        };
        match self.orders.elsewhere.found(&question, since) {
            None => Err(Unplaced::Asked(question)),
            Some(Err(why)) => {
                Err(Unplaced::Unknown(format!("{place}, and whether an alias is there can't be told: {why}")))
            }
            Some(Ok(Found { records, .. })) => {
                let target = records.first().and_then(|target| Name::from_wire(target).ok());
                target.ok_or_else(|| {
                    let (record, name) = (self.alias_for(name, &owner), name.to_host());
                    Unplaced::Never(format!("{place}: add {record} there, or take {name} out of the certificate"))
                })
            }
        }
    }

    /// The record that leads from an owner elsewhere to where the proof of a name can stand.
    fn alias_for(&self, name: &Name, owner: &Name) -> String {
        let hosts = self.config.ordered.iter().map(|certificate| &certificate.host);
        let zones = hosts.filter_map(|host| self.authority(host)).chain(self.zones.values().map(|zone| &**zone));
        let mut zones = zones.filter(|zone| !zone.is_presigned() && zone.contents.is_some());
        let place = zones.next().and_then(|zone| zone.origin.prepend(LABEL).ok());
        let labels: Vec<&[u8]> = name.labels().collect();
        let target = place.and_then(|place| labels.iter().rev().try_fold(place, |to, label| to.prepend(label)).ok());
        let target = target.map_or_else(|| "a name in a zone here".to_owned(), |target| target.to_string());
        format!("{owner} CNAME {target}")
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
        let events = self.ask_for_proofs(now);
        self.step_orders(events, now)
    }

    fn ask_for_proofs(&mut self, now: Timestamp) -> Events {
        let new = self.orders.each.iter().filter_map(|(id, driven)| {
            let asking = driven.asking.as_ref().filter(|asking| asking.waiting.is_none())?;
            Some((id.clone(), asking.proofs.clone()))
        });
        let new: Vec<(Id, Vec<Proof>)> = new.collect();
        new.into_iter()
            .filter_map(|(id, proofs)| Some((id.clone(), self.ask_servers_for(&id, &proofs, now)?)))
            .collect()
    }

    fn ask_servers_for(&mut self, id: &Id, proofs: &[Proof], now: Timestamp) -> Option<Event> {
        let (mut waiting, mut missing) = (BTreeSet::new(), None);
        let placed = match self.placed(proofs, Since::Moment(now.saturating_sub(FRESH))) {
            Ok(placed) => placed,
            // Nobody is asked before it is known who.
            Err((_, Unplaced::Asked(question))) => {
                self.ask_elsewhere(BTreeSet::from([elsewhere::Question::Resolver(question)]), now);
                return None;
            }
            Err((placed, Unplaced::Never(why) | Unplaced::Unknown(why))) => {
                missing = Some(why);
                placed
            }
        };
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
        let placed = self.placed(&proofs, Since::Ever).unwrap_or_else(|(placed, _)| placed);
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
