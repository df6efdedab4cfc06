//! Puts the room together: which TLSA RRset each owner gets, why, from which certificate, and what is remembered.
//!
//! Hand-written TLSA records in a zone file are served as they stand and nothing is synthesised beside them. They are
//! in conflict when, for one of their {usage, selector, matching type}, a current certificate of the host matches none of
//! them (RFC 7671 section 8): an error that names both sides.

use std::collections::{BTreeMap, BTreeSet};

use crate::dns::{Name, RRset, Rtype, Timestamp};

use super::certificate::Chain;
use super::checks::{self, Context};
use super::config::{DaneConfig, ServiceConfig, ZoneDane};
use super::explain::{Explanation, Record, Source, SourceStatus, Status};
use super::keyset::{self, Changes, Keyset, Known, Sightings};
use super::led::{Led, LedHosts};
use super::plans::{Plans, Replanned, Touched};
use super::prerequisites::{Assessment, Readiness, Served};
use super::publication::{self, Decision, Phase, Publication, Reason};
use super::state::{HostState, State, Verdicts};
use super::tlsa::{Parameters, Service, Tlsa};

/// More records than this in an RRset and big senders stop reading it.
pub const MAX_RECORDS: usize = 12;

/// Everything a plan depends on, but for the state.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The served zones, without synthesised records.
    pub served: &'a dyn Served,
    /// The configuration.
    pub config: &'a DaneConfig,
    /// What was seen in the certificate directories.
    pub certificates: &'a Sightings,
    /// The hosts whose certificates are installed here, and what their rollovers want.
    pub led: &'a LedHosts,
    /// Whether a TXT value is a usable DKIM key; if not, why.
    pub dkim_ok: &'a dyn Fn(&[u8]) -> Result<(), String>,
    /// Now.
    pub now: Timestamp,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each TLSA owner that is known of, in canonical order.
    pub owners: Vec<Planned>,
    /// What changed in the certificates of each host.
    pub changes: BTreeMap<Name, Changes>,
    /// What must be stored before the RRsets go out.
    pub state: State,
    /// When to plan again at the latest; none when only a change of the facts can change anything.
    pub next: Option<Timestamp>,
}

/// One TLSA owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The owner.
    pub owner: Name,
    /// The apex of the served zone that it goes into; none where that zone is not ours.
    pub zone: Option<Name>,
    /// The RRset to put in; none when nothing is to be synthesised there.
    pub rrset: Option<RRset>,
    /// Why.
    pub explanation: Explanation,
}

/// What the zones and the configuration say of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The domains that have it as their MX host, in canonical order, each with the host as it is written there.
    pub domains: Vec<(Name, Name)>,
    /// Its services in the configuration.
    pub services: Vec<ServiceConfig>,
}

/// What comes out for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Its TLSA owners, in canonical order.
    pub owners: Vec<Planned>,
    /// What changed in its certificates.
    pub changes: Changes,
    /// What must be stored before the RRsets go out.
    pub state: HostState,
    /// When to plan again at the latest; none when only a change of the facts can change anything.
    pub next: Option<Timestamp>,
}

/// A service that may get a TLSA.
struct Task {
    owner: Name,
    service: Service,
    domains: Vec<Name>,
    parameters: Option<Vec<Parameters>>,
    ttl: Option<u32>,
}

/// Plans. Pure: the same input and state give the same plan.
pub fn plan(input: Input<'_>, mut state: State) -> Plan {
    let step = Plans::default().step(input, &state, &Touched::all());
    let mut changes = BTreeMap::new();
    let mut owners = Vec::new();
    let next = step.next;
    for (host, Replanned { plan, .. }) in step.hosts {
        state.put(&host, plan.state);
        owners.extend(plan.owners);
        if plan.changes != Changes::default() {
            changes.insert(host, plan.changes);
        }
    }
    owners.sort_by(|left, right| left.owner.cmp(&right.owner));
    Plan { owners, changes, state, next }
}

/// Plans one host: nothing that is remembered of another is read.
pub(super) fn plan_host(input: Input<'_>, named: &Named, before: &HostState) -> HostPlan {
    let tasks = tasks(named, before);
    let mut state = before.clone();
    let (mut next, mut changes) = (None, Changes::default());
    let retention = retention(input, before, &tasks);
    let first = tasks.first().map(|task| &task.service.host);
    if first.is_some_and(|host| input.led.contains_key(host)) {
        state.keyset = Keyset::default();
    } else if let Some((host, retention)) = first.zip(retention) {
        // Each is asked: what has to be asked for is not to depend on an answer.
        let lags = tasks.iter().fold(false, |lags, task| input.served.lags(&task.owner) | lags);
        (state.keyset, changes) = step_keyset(input, host, state.keyset, (!lags).then_some(retention));
        sooner(&mut next, state.keyset.next(retention));
    }
    let mut verdicts = Verdicts::new();
    let mut owners = Vec::with_capacity(tasks.len());
    for task in tasks {
        let planned = plan_owner(input, &mut state, &mut verdicts, task, retention.unwrap_or(0));
        sooner(&mut next, planned.explanation.next);
        owners.push(planned);
    }
    state.verdicts = verdicts;
    // A service that is configured no longer is forgotten; what the operator withdrew is not.
    state.publications.retain(|owner, publication| {
        let planned = owners.iter().any(|planned| planned.owner == *owner);
        planned || publication.withdrawn_by_operator
    });
    HostPlan { owners, changes, state, next }
}

/// The sooner of two moments, where there are any.
pub(super) fn sooner(next: &mut Option<Timestamp>, candidate: Option<Timestamp>) {
    *next = next.iter().copied().chain(candidate).min();
}

/// Port 25 of an MX host, the configured services, and what was planned before: an owner that lost its MX still has
/// a publication to be looked after.
fn tasks(named: &Named, state: &HostState) -> Vec<Task> {
    let mut tasks: BTreeMap<Name, Task> = BTreeMap::new();
    let mut add = |service: Service, domains: Vec<Name>| -> Option<Name> {
        let owner = service.owner().ok()?;
        let task = Task { owner: owner.clone(), service, domains, parameters: None, ttl: None };
        tasks.entry(owner.clone()).or_insert(task);
        Some(owner)
    };
    if let Some((_, host)) = named.domains.first() {
        add(Service::smtp(host.clone()), named.domains.iter().map(|(domain, _)| domain.clone()).collect());
    }
    let configured: Vec<_> =
        named.services.iter().filter_map(|config| Some((add(config.service(), Vec::new())?, config))).collect();
    for (owner, publication) in &state.publications {
        // A configured service that is configured no longer is the operator's word, an MX that is gone is not.
        let service = Service::from_owner(owner).filter(Service::is_smtp);
        if let Some(service) = service.filter(|_| publication.phase != Phase::Never) {
            add(service, Vec::new());
        }
    }
    for (owner, config) in configured {
        if let Some(task) = tasks.get_mut(&owner) {
            task.parameters.clone_from(&config.parameters);
            task.ttl = config.ttl;
        }
    }
    tasks.into_values().collect()
}

/// How long an old record of the host stays in seconds: the longest of its services. None where its zone is not ours.
fn retention(input: Input<'_>, state: &HostState, tasks: &[Task]) -> Option<u64> {
    let config = input.config.zone(&input.served.zone_of(&tasks.first()?.service.host)?);
    let of_task = |task: &Task| {
        // A set that was published with a longer TTL may still be in caches.
        let cached = state.publications.get(&task.owner).and_then(|publication| publication.cached);
        config.retention(task.ttl.unwrap_or(config.ttl).max(cached.map_or(0, |cached| cached.ttl)))
    };
    tasks.iter().map(of_task).max()
}

fn step_keyset(input: Input<'_>, host: &Name, keyset: Keyset, retention: Option<u64>) -> (Keyset, Changes) {
    let Sightings { seen, waiting } = input.certificates;
    let is_ours = |chain: &Chain, source: &str| chain.covers(host) || keyset.claims_source(source);
    let own: Vec<_> = seen.iter().filter(|sighting| is_ours(&sighting.chain, &sighting.source)).collect();
    keyset::step(keyset, &own, waiting, retention, input.now)
}

/// One owner while it is planned.
struct Site<'a> {
    input: Input<'a>,
    config: ZoneDane,
    task: Task,
    retention: u64,
    keyset: Keyset,
    /// In the place of the keyset.
    led: Option<&'a Led>,
    /// The parameter sets that are published.
    sets: BTreeSet<Parameters>,
    explanation: Explanation,
}

/// A record, and which of the known chains it comes from.
struct Made {
    tlsa: Tlsa,
    from: Vec<usize>,
}

fn plan_owner(input: Input<'_>, state: &mut HostState, verdicts: &mut Verdicts, task: Task, retention: u64) -> Planned {
    let Some(apex) = input.served.zone_of(&task.owner) else { return not_ours(task) };
    let owner = task.owner.clone();
    let keyset = state.keyset.clone();
    let explanation = Explanation::new(&owner, &task.service.host, Some(&apex));
    let sets = state.publications.get(&owner).map(|publication| publication.sets.clone()).unwrap_or_default();
    let (config, led) = (input.config.zone(&apex), input.led.get(&task.service.host).map(|led| &**led));
    let mut site = Site { input, config, task, retention, keyset, led, sets, explanation };
    site.explanation.assessments = site.assess();
    remember(&mut site.explanation.assessments, &state.verdicts, verdicts);
    let mut records = site.records();

    let before = state.publications.remove(&owner).unwrap_or_else(|| Publication::new(input.now).into());
    if records.is_empty() && before.phase == Phase::Published {
        records = site.last_resort();
    }
    if site.is_taken(&records) {
        state.publications.insert(owner.clone(), before);
        return Planned { owner, zone: Some(apex), rrset: None, explanation: site.explanation };
    }
    if input.served.is_presigned(&apex) {
        site.leave_to_the_signer(&records);
        state.publications.insert(owner.clone(), before);
        return Planned { owner, zone: Some(apex), rrset: None, explanation: site.explanation };
    }
    let readiness = Readiness::of(&site.explanation.assessments, !input.served.is_whole());
    let step = publication::Input {
        enabled: site.config.enabled,
        records: !records.is_empty(),
        readiness: &readiness,
        hold: site.config.hold,
    };
    let (mut publication, decision) = publication::step(*before, &step, input.now);
    if decision.publish {
        publication.note_ttl(site.ttl(), input.now);
        publication.sets = records.iter().map(|made| made.tlsa.parameters).collect();
    }
    if input.served.lags(&owner) {
        let text = format!("what was decided for {owner} is not served yet: its zone could not be published");
        site.explanation.warnings.push(text);
    }
    site.explanation.since = Some(publication.since);
    state.publications.insert(owner.clone(), publication.into());
    let rrset = site.decided(decision, records);
    Planned { owner, zone: Some(apex), rrset, explanation: site.explanation }
}

fn not_ours(task: Task) -> Planned {
    let mut explanation = Explanation::new(&task.owner, &task.service.host, None);
    explanation.status = Status::NotOurs;
    explanation.todo.push(format!(
        "whoever serves the zone of {} has to publish {} TLSA; it is not served here",
        task.service.host.to_host(),
        task.owner
    ));
    Planned { owner: task.owner, zone: None, rrset: None, explanation }
}

/// Carries over since when each verdict stands.
fn remember(assessments: &mut [Assessment], before: &Verdicts, after: &mut Verdicts) {
    for Assessment { domain, host, findings } in assessments {
        for finding in findings {
            let domain = domain.as_ref().map(Name::to_lowercase).map(|domain| domain.to_string()).unwrap_or_default();
            let key = format!("{domain} {} {}", host.to_lowercase(), finding.prerequisite);
            if let Some((verdict, since)) = before.get(&key)
                && *verdict == finding.verdict
            {
                finding.since = *since;
            }
            after.insert(key, (finding.verdict, finding.since));
        }
    }
}

impl Site<'_> {
    /// The TTL of the RRset in seconds.
    fn ttl(&self) -> u32 {
        self.task.ttl.unwrap_or(self.config.ttl)
    }

    /// The parameter sets that are configured.
    fn parameters(&self) -> BTreeSet<Parameters> {
        self.task.parameters.as_ref().unwrap_or(&self.config.parameters).iter().copied().collect()
    }

    /// The certificates that the host may present now, each with the file that it is in.
    fn current(&self) -> impl Iterator<Item = (&str, &Chain)> {
        let led = self.led.into_iter().flat_map(|led| led.current.iter().map(|chain| (led.file.as_str(), chain)));
        self.keyset.current().map(|known| (known.source.as_str(), &known.chain)).chain(led)
    }

    fn assess(&self) -> Vec<Assessment> {
        let Input { served, config, dkim_ok, now, .. } = self.input;
        let context = Context { served, config, dkim_ok, now };
        let host = &self.task.service.host;
        if self.task.service.is_smtp() {
            self.task.domains.iter().map(|domain| checks::assess(context, domain, host)).collect()
        } else {
            vec![checks::assess_service(context, host)]
        }
    }

    /// The records of every known chain under every parameter set, without duplicates, in canonical order. A set that
    /// can't be made for each of the current chains is left out whole: RFC 7671 section 8 wants a match for every
    /// {usage, selector, matching type} that is published, whichever chain is presented.
    fn records(&mut self) -> Vec<Made> {
        let mut made: BTreeMap<Tlsa, Vec<usize>> = BTreeMap::new();
        for parameters in self.parameters() {
            match self.records_under(parameters) {
                Ok(records) => records.into_iter().for_each(|(tlsa, from)| made.entry(tlsa).or_default().extend(from)),
                Err(problem) => self.explanation.problems.push(problem),
            }
        }
        if made.len() > MAX_RECORDS {
            self.explanation.warnings.push(format!(
                "{} records; big senders handle about {MAX_RECORDS}: use fewer parameter sets or certificates",
                made.len()
            ));
        }
        made.into_iter().map(|(tlsa, from)| Made { tlsa, from }).collect()
    }

    /// What stays of a published RRset when no configured set can be made for all current chains, as when a renewal comes
    /// without its issuer under `2 1 1` alone. No certificate file and no setting takes a published TLSA away by itself:
    /// what can be made is kept, and `3 1 1` stands beside it for whichever chain is presented.
    fn last_resort(&mut self) -> Vec<Made> {
        let mut made: BTreeMap<Tlsa, Vec<usize>> = BTreeMap::new();
        let sets = self.parameters();
        let sound: BTreeSet<_> = sets.into_iter().filter(|set| set.check(&self.task.service).is_ok()).collect();
        if let Some(led) = self.led {
            made.extend(led.last_resort(&sound).into_iter().map(|tlsa| (tlsa, Vec::new())));
        }
        for parameters in sound.into_iter().chain([Parameters::DEFAULT]).collect::<BTreeSet<_>>() {
            for (index, known) in self.keyset.known.iter().enumerate() {
                if let Ok(tlsa) = Tlsa::from_chain(&known.chain, parameters) {
                    made.entry(tlsa).or_default().push(index);
                }
            }
        }
        if !made.is_empty() {
            let text =
                format!("{} is published beside what is left, so that nothing is withdrawn", Parameters::DEFAULT);
            self.explanation.problems.push(text);
        }
        made.into_iter().map(|(tlsa, from)| Made { tlsa, from }).collect()
    }

    /// The records under one set of parameters, and which of the keyset's chains each comes from.
    fn records_under(&mut self, parameters: Parameters) -> Result<Vec<(Tlsa, Option<usize>)>, String> {
        let warnings = parameters.check(&self.task.service).map_err(|error| error.to_string())?;
        self.explanation.warnings.extend(warnings);
        if let Some(led) = self.led {
            let records: Vec<_> = led.under(parameters).map(|tlsa| (tlsa.clone(), None)).collect();
            return match records.is_empty() && !led.records.is_empty() {
                true => Err(format!("no record with {parameters} until every certificate that is in use can have one")),
                false => Ok(records),
            };
        }
        let mut records = Vec::new();
        for (index, known) in self.keyset.known.iter().enumerate() {
            match Tlsa::from_chain(&known.chain, parameters) {
                Ok(tlsa) => records.push((tlsa, Some(index))),
                Err(error) if known.old.is_none() => {
                    return Err(format!("{}: {error}; no record with {parameters} is published", known.source));
                }
                // An old chain is on its way out, and may be presented still: a set that it can't match waits until it is gone
                // (RFC 7671 section 8), unless the set is out already.
                Err(_) if self.sets.contains(&parameters) => {}
                Err(error) => {
                    return Err(format!(
                        "{parameters} waits until the certificate before ({}) is gone, which it can't be made for: {error}",
                        known.source
                    ));
                }
            }
        }
        Ok(records)
    }

    /// Whether the owner holds something of the zone file's own, so that nothing is synthesised.
    fn is_taken(&mut self, records: &[Made]) -> bool {
        let served = self.input.served;
        let owner = &self.task.owner;
        if let Some(cname) = served.rrset(owner, Rtype::CNAME) {
            // RFC 7671 section 7: an alias to a shared TLSA is fine, and nothing may stand beside it (RFC 1034 section 3.6.2).
            let target =
                cname.rdatas.first().and_then(|target| Name::from_wire(target).ok()).unwrap_or_else(Name::root);
            self.explanation.status = Status::Alias { target };
            return true;
        }
        let Some(hand_written) = served.rrset(owner, Rtype::TLSA) else { return false };
        self.explanation.records = hand_written.rdatas.iter().map(|rdata| Record::hand_written(rdata)).collect();
        let stray = if self.config.enabled {
            let stray = self.current().find(|(_, chain)| !satisfied(&hand_written, chain));
            stray.map(|(file, _)| file.to_owned())
        } else {
            None
        };
        self.explanation.status = Status::HandWritten { conflict: stray.is_some() };
        if let Some(file) = stray {
            let texts = |records: Vec<String>| records.join(" | ");
            let of_led = |parameters: &Parameters| {
                let chains = self.led.into_iter().flat_map(|led| &led.current);
                chains.filter_map(|chain| Tlsa::from_chain(chain, *parameters).ok()).collect::<Vec<_>>()
            };
            let yields: BTreeSet<Tlsa> = match self.led {
                Some(_) => self.parameters().iter().flat_map(of_led).collect(),
                None => records.iter().map(|made| made.tlsa.clone()).collect(),
            };
            self.explanation.problems.push(format!(
                "conflict at {owner}: the TLSA in the zone file ({}) does not match the certificate in {}, which yields ({}): take the hand-written TLSA out or correct it; until then it is served as it stands",
                texts(self.explanation.records.iter().map(|record| record.text.clone()).collect()),
                file,
                texts(yields.iter().map(ToString::to_string).collect()),
            ));
        }
        true
    }

    /// In a zone that is signed elsewhere nothing can be added here: what belongs there is told, for whoever signs it.
    fn leave_to_the_signer(&mut self, records: &[Made]) {
        self.explanation.status = Status::Withheld(Reason::Presigned);
        self.explanation.records = records.iter().map(|made| self.record(made)).collect();
        for made in records {
            let (owner, ttl, tlsa) = (&self.task.owner, self.ttl(), &made.tlsa);
            self.explanation.todo.push(format!("add this before the zone is signed: {owner} {ttl} IN TLSA {tlsa}"));
        }
    }

    /// Turns the decision into the RRset and the rest of the explanation.
    fn decided(&mut self, decision: Decision, records: Vec<Made>) -> Option<RRset> {
        let now = self.input.now;
        let Decision { publish, reason, next } = decision;
        self.explanation.next = next;
        let reason = match reason {
            Reason::NoCertificate if self.led.is_some() => {
                let qualified = Readiness::of(&self.explanation.assessments, false).qualified;
                if qualified { Reason::NotPresented } else { Reason::NotYet }
            }
            reason => reason,
        };
        self.explanation.status = if publish { Status::Served(reason) } else { Status::Withheld(reason) };
        self.explanation.records = records.iter().map(|made| self.record(made)).collect();
        let host = self.task.service.host.to_host();
        if self.task.service.is_smtp() && self.task.domains.is_empty() {
            self.explanation
                .todo
                .push(format!("no MX in the zones served here names {host}: put it back, or leave it"));
        }
        if self.keyset.known.is_empty() && self.led.is_none() {
            self.explanation.todo.push(format!(
                "put a certificate with {host} among its dNSNames into a watched directory; common names don't count"
            ));
        }
        let mut warnings = Vec::new();
        for (file, chain) in self.current() {
            warnings.extend(chain.warnings(now).into_iter().map(|text| format!("{file}: {text}")));
            if !chain.covers(&self.task.service.host) {
                warnings.push(format!(
                    "{file}: the certificate no longer names {host}; its record is served since the server may present it"
                ));
            }
        }
        self.explanation.warnings.extend(warnings);
        let mut records = records.into_iter().map(|made| made.tlsa.rdata());
        let mut rrset = RRset::new(Rtype::TLSA, self.ttl(), records.next()?);
        for rdata in records {
            rrset.insert(rdata);
        }
        publish.then_some(rrset)
    }

    fn record(&self, made: &Made) -> Record {
        let source = |known: &Known| Source {
            file: known.source.clone(),
            fingerprint: known.chain.leaf().fingerprint(),
            status: match &known.old {
                Some(old) => SourceStatus::Old { until: old.elapsed.until(self.retention) },
                None if known.present => SourceStatus::Current,
                None if keyset::is_waiting(&self.input.certificates.waiting, &known.source) => SourceStatus::Waiting,
                None => SourceStatus::Gone,
            },
        };
        let sources = match self.led {
            Some(led) => led.sources(&made.tlsa),
            None => made.from.iter().map(|&index| source(&self.keyset.known[index])).collect(),
        };
        Record { text: made.tlsa.to_string(), sources }
    }
}

/// Whether each {usage, selector, matching type} of the RRset has a record that matches the chain (RFC 7671 section 8).
/// Records whose parameters are not assigned are unusable and don't count (RFC 7671 section 9).
fn satisfied(rrset: &RRset, chain: &Chain) -> bool {
    let records: Vec<Tlsa> = rrset.rdatas.iter().filter_map(|rdata| Tlsa::from_rdata(rdata)).collect();
    let combinations: BTreeSet<Parameters> = records.iter().map(|record| record.parameters).collect();
    combinations
        .into_iter()
        .all(|parameters| records.iter().any(|record| record.parameters == parameters && record.matches(chain)))
}
