//! The daemon around both machines: it stores the state, then acts, and may die before, between and after.

use std::collections::BTreeSet;

use super::super::{DAY, HOUR, settings};
use super::world::{Cert, Folder, Happening, INTERVAL, Job, Record, TTL, World};
use crate::acme::{self, Action, Event, Held, Notice, Problem, Settings, Status, Step, Task};
use crate::dane::rollover::{self, Chain, Version};
use crate::dane::tlsa::{Matching, Parameters, Selector, Tlsa, Usage};

fn tlsa((usage, selector, data): Record) -> Tlsa {
    let usage = if usage == 3 { Usage::DaneEe } else { Usage::DaneTa };
    let selector = if selector == 1 { Selector::Spki } else { Selector::Cert };
    Tlsa { parameters: Parameters { usage, selector, matching: Matching::Sha256 }, data: data.to_be_bytes().to_vec() }
}

fn record(tlsa: &Tlsa) -> Record {
    let Parameters { usage, selector, .. } = tlsa.parameters;
    (usage as u8, selector as u8, u16::from_be_bytes([tlsa.data[0], tlsa.data[1]]))
}

fn version(cert: Cert) -> Version {
    let records = vec![tlsa((3, 0, cert.number)), tlsa((3, 1, cert.key)), tlsa((2, 1, cert.issuer))];
    let fingerprint = cert.number.to_string();
    Version { id: fingerprint.clone(), chains: vec![Chain { fingerprint, records, also: Vec::new() }] }
}

fn held(cert: Cert) -> Held {
    let Cert { number, not_before, not_after, .. } = cert;
    let (fingerprint, ari_id) = (number.to_string(), Some(format!("ari {number}")));
    Held { not_before, not_after, names: settings().names, fingerprint, ari_id }
}

impl World {
    fn dies(&mut self) -> bool {
        !self.plan.calm && self.chance.one_in(60)
    }

    pub fn tell_order(&mut self, event: Event) {
        if !self.up {
            return;
        }
        let dies = self.dies();
        let line = self.verbose.then(|| format!("{} {event:?}", self.now));
        let (state, actions) = acme::step(self.order.clone(), event, self.reading());
        if let Some(line) = line {
            let line = format!("{line} -> {:?} {actions:?}\n", state.phase());
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("stderr");
        }
        if dies && self.chance.one_in(3) {
            return self.kill();
        }
        self.order = state;
        let done = if dies { self.chance.below(actions.len() as u64 + 1) as usize } else { actions.len() };
        for action in actions.into_iter().take(done) {
            match action {
                Action::Tell(Notice::Begun(_)) => {
                    let left = self.judge.valid_until().map_or(0, |until| until.saturating_sub(self.now));
                    self.ca.trouble(&mut self.chance, left, self.now);
                }
                Action::Tell(_) | Action::Alarm(_) | Action::Cleared(_) => {}
                other => self.job(4, Job::Order(other)),
            }
        }
        if dies {
            return self.kill();
        }
        self.plan_tick(true);
    }

    pub fn tell_rollover(&mut self, event: rollover::Event) {
        if !self.up {
            return;
        }
        let dies = self.dies();
        let (state, actions) = rollover::step(std::mem::take(&mut self.rollover), event, self.reading());
        self.rollover = state;
        let done = if dies { self.chance.below(actions.len() as u64 + 1) as usize } else { actions.len() };
        for action in actions.into_iter().take(done) {
            self.job(4, Job::Rollover(action));
        }
        if dies {
            return self.kill();
        }
        self.plan_tick(false);
    }

    fn plan_tick(&mut self, of_order: bool) {
        let next = if of_order { self.order.next() } else { self.rollover.next() };
        let Some(next) = next else { return };
        // Whoever drives them looks at the clocks every few hours at least.
        let seconds = next.saturating_sub(self.wall()).clamp(1, 4 * HOUR);
        let planned = &mut self.planned[usize::from(!of_order)];
        if *planned != self.now + seconds {
            *planned = self.now + seconds;
            let planned = *planned;
            self.later(seconds, Happening::Tick { of_order, planned });
        }
    }

    pub fn restart(&mut self) {
        if self.up || !self.is_booted() {
            return;
        }
        self.up = true;
        self.planned = [0; 2];
        let text = serde_json::to_string(&self.order).expect("serialises");
        self.order = serde_json::from_str(&text).expect("reads back");
        let text = serde_json::to_string(&self.rollover).expect("serialises");
        self.rollover = serde_json::from_str(&text).expect("reads back");
        let addresses: BTreeSet<String> = ["0", "1"].map(str::to_owned).into();
        let servers: BTreeSet<String> = ["0", "1", "2"].map(str::to_owned).into();
        let mut parameters = BTreeSet::from([Parameters::DEFAULT]);
        if self.plan.issuer {
            parameters.insert(tlsa((2, 1, 0)).parameters);
        }
        let of_rollover = rollover::Settings {
            parameters,
            ttl: TTL,
            interval: INTERVAL,
            expire: 14 * 86_400,
            delegation: 172_800,
            hook: true,
            vouched: false,
        };
        for event in [
            rollover::Event::Started,
            rollover::Event::Settings(of_rollover),
            rollover::Event::Servers(servers),
            rollover::Event::Addresses(addresses),
            rollover::Event::Withheld(false),
        ] {
            self.tell_rollover(event);
        }
        self.tell_published();
        if let Some(disk) = self.disk {
            self.tell_rollover(rollover::Event::Deployed(version(disk)));
        }
        self.tell_folder();
        let hold = if self.plan.issuer { INTERVAL + 2 * u64::from(TTL) } else { 0 };
        self.tell_order(Event::Started);
        self.tell_order(Event::Settings(Settings { hold, margin: DAY, ..settings() }));
        self.tell_order(Event::Held(self.folder.cert.map(held)));
    }

    fn tell_published(&mut self) {
        let records = self.zone.of(0).records.iter().copied().map(tlsa).collect();
        self.tell_rollover(rollover::Event::Published { serial: self.zone.serial(0), records, ttl: TTL });
    }

    /// What lies in the folder: the certificate before the key that comes next, so that no key is without its record.
    fn tell_folder(&mut self) {
        if let Some(cert) = self.folder.cert {
            self.tell_rollover(rollover::Event::Source(version(cert)));
        }
        let chain =
            |key: u16| Chain { fingerprint: format!("key {key}"), records: vec![tlsa((3, 1, key))], also: Vec::new() };
        self.tell_rollover(rollover::Event::NextKeys(self.folder.roll.map(chain).into_iter().collect()));
    }

    /// Does what was asked for. What goes over the network may arrive though the daemon died meanwhile.
    pub fn does(&mut self, alive: bool, job: Job) {
        match job {
            Job::Order(action) => {
                let is_local = matches!(
                    action,
                    Action::Prove { .. } | Action::Do(Task::Store { .. }) | Action::Do(Task::MakeNextKey)
                );
                if !alive && (is_local || self.chance.one_in(2)) {
                    return;
                }
                let event = self.does_order(action);
                if let Some(event) = event.filter(|_| alive) {
                    self.job(4, Job::OrderHears(event));
                }
            }
            Job::Rollover(action) if alive => self.does_rollover(action),
            Job::Rollover(_) | Job::OrderHears(_) => {}
        }
    }

    fn does_order(&mut self, action: Action) -> Option<Event> {
        let now = self.now;
        let left = self.judge.valid_until().map_or(0, |until| until.saturating_sub(now));
        let (step, answer) = match action {
            Action::Do(Task::AskWindow { ari_id }) => (Step::Window, self.window(ari_id)),
            Action::AskCaa { .. } => (Step::Caa, Ok(Event::MayIssue(Ok(())))),
            Action::Do(Task::Order { .. }) => {
                let answer = self.ca.order(&mut self.chance, left, now);
                (Step::Order, answer.map(|(url, proofs)| Event::Ordered { url, proofs }))
            }
            Action::Prove { proofs } => {
                if self.change(|content| content.proofs = proofs) {
                    self.tell_published();
                }
                return None;
            }
            Action::AskNameservers { proofs } => {
                let lacks = self.zone.lacks(&proofs).map(|server| Event::NotShown { why: format!("ns{server}") });
                (Step::Nameservers, Ok(lacks.unwrap_or(Event::Shown { proofs })))
            }
            Action::Do(Task::SayReady { url }) => {
                // It looks at whichever has the oldest zone.
                let slowest = (0..3).min_by_key(|server| self.zone.has[*server]).unwrap_or(0);
                let shown = self.zone.of(slowest).proofs.clone();
                let answer = self.ca.ready(&mut self.chance, &url, &shown, now);
                if answer == Ok(false) {
                    self.judge.wrong.push(format!("{now}: {url} was validated before every server showed its proofs"));
                }
                (Step::Ready, answer.map(|_| Event::Status { url, status: Status::Pending }))
            }
            Action::Do(Task::AskStatus { url }) => {
                let answer = self.ca.status(&mut self.chance, &url, now);
                (Step::Status, answer.map(|status| Event::Status { url, status }))
            }
            Action::Do(Task::Finalize { url, .. }) => {
                let key = self.next_key();
                let answer = self.ca.finalize(&mut self.chance, &url, key, now);
                (Step::Finalize, answer.map(|status| Event::Status { url, status }))
            }
            Action::Do(Task::Store { url, .. }) => (Step::Store, self.store(&url)),
            Action::Do(Task::MakeNextKey) => {
                self.next_key();
                self.tell_folder();
                (Step::NextKey, Ok(Event::NextKey))
            }
            _ => return None,
        };
        Some(answer.unwrap_or_else(|problem| {
            let retry_after = problem.retry_after.map(|at| self.by_clock(at));
            Event::Failed { step, problem: Problem { retry_after, ca_time: Some(now), ..problem } }
        }))
    }

    fn window(&mut self, ari_id: String) -> Result<Event, Problem> {
        self.ca.hears(&mut self.chance, self.now)?;
        let again = self.wall() + 6 * HOUR;
        let cert = self.folder.cert.filter(|cert| ari_id == format!("ari {}", cert.number));
        let window = cert.and_then(|cert| self.ca.window(&mut self.chance, cert, self.now));
        Ok(match window {
            Some((start, end)) => Event::Window { ari_id, start, end, again, explanation: None },
            None => Event::NoWindow { ari_id, again },
        })
    }

    fn next_key(&mut self) -> u16 {
        let keys = &mut self.keys;
        *self.folder.roll.get_or_insert_with(|| {
            *keys += 1;
            *keys
        })
    }

    /// The disk may be full; what was laid down before a kill is found again.
    fn store(&mut self, url: &str) -> Result<Event, Problem> {
        let cert = self.ca.certificate(&mut self.chance, url, self.now)?;
        if !self.plan.calm && self.chance.one_in(10) {
            return Err(Problem { detail: "no space left on device".to_owned(), ..Problem::default() });
        }
        if self.folder.cert != Some(cert) {
            if self.folder.roll != Some(cert.key) {
                self.judge.wrong.push(format!("{}: {cert:?} has no key in {:?}", self.now, self.folder));
            }
            self.folder = Folder { cert: Some(cert), roll: None, stored: self.now };
        }
        self.tell_folder();
        Ok(Event::Stored(held(cert)))
    }

    fn does_rollover(&mut self, action: rollover::Action) {
        match action {
            rollover::Action::Publish { records, .. } => {
                let records: Vec<Record> = records.iter().map(record).collect();
                self.change(|content| content.records = records);
                self.tell_published();
            }
            rollover::Action::AskServers { servers, .. } => {
                for server in servers {
                    let at: usize = server.parse().expect("a number");
                    let records = self.zone.of(at).records.iter().copied().map(tlsa).collect();
                    let serial = self.zone.serial(at);
                    self.tell_rollover(rollover::Event::Shows { server, serial, records, ttl: TTL });
                }
            }
            rollover::Action::Probe { addresses, .. } => {
                for address in addresses {
                    let at: usize = address.parse().expect("a number");
                    let event = match self.judge.presented(at) {
                        Some(cert) => rollover::Event::Presents { address, chain: cert.number.to_string() },
                        None => rollover::Event::Unasked { address },
                    };
                    self.tell_rollover(event);
                }
            }
            rollover::Action::Install { version } => {
                let cert = self.ca.certs[version.parse::<usize>().expect("a number")];
                if self.disk != Some(cert) {
                    self.judge.installs(self.disk, cert, self.folder.stored, self.now);
                    self.disk = Some(cert);
                }
                self.tell_rollover(rollover::Event::Installed { version });
            }
            rollover::Action::RunHook { version } => {
                self.told_of = self.disk;
                for address in 0..2 {
                    self.within(4, Happening::Reload { address });
                }
                self.tell_rollover(rollover::Event::HookDone { version });
            }
            _ => {}
        }
    }
}
