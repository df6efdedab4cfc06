//! Asks the edge for one task after the other, each of a new edge: all that it may know is on the disk and at the CA.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use danelaw::acme::{Event, Held, Id, Problem, Proof, Status, Step, Task};
use danelaw::act::acme::{self, Order, Settings};
use danelaw::dane::certificate::KeyType;
use danelaw::dns::Name;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::common::{name, now};
use super::house::{Daemon, HOST, ZONE, good_zone, wait, wait_until};
use super::pebble::Pebble;

/// What a step takes at most.
const PATIENCE: Duration = Duration::from_secs(90);
/// A step that met a refused nonce is done again so often: one of a hundred may fail of 40 %.
const AGAIN: usize = 20;

pub struct Edge {
    state: tempfile::TempDir,
    pub settings: Arc<Settings>,
    /// How often a step ended with a refused nonce.
    pub refused: usize,
}

pub fn id(key_type: KeyType) -> Id {
    Id { host: name(HOST), key_type }
}

pub fn names() -> BTreeSet<Name> {
    [name(HOST), name(ZONE), name(&format!("*.{ZONE}"))].into()
}

impl Edge {
    pub fn new(directory: &str, roots: PathBuf) -> Edge {
        Edge::with(|state| settings(state, directory, roots))
    }

    pub fn at(pebble: &Pebble) -> Edge {
        Edge::new(&pebble.directory(), pebble.trusted())
    }

    pub fn with(settings: impl FnOnce(&Path) -> Settings) -> Edge {
        let state = tempfile::tempdir().unwrap();
        let settings = Arc::new(settings(state.path()));
        Edge { state, settings, refused: 0 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// What comes of an task.
    pub fn ask(&self, id: &Id, task: Task) -> Event {
        self.ask_all(&[(id.clone(), task)]).remove(id).unwrap()
    }

    /// What comes of tasks that are ordered at once, one for each certificate.
    pub fn ask_all(&self, tasks: &[(Id, Task)]) -> BTreeMap<Id, Event> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let ((orders, ordered), (news, mut heard)) = (mpsc::channel(tasks.len()), mpsc::channel(1));
            tokio::spawn(acme::run(ordered, news, now));
            for (id, task) in tasks {
                let settings = Arc::clone(&self.settings);
                orders.send(Order { id: id.clone(), task: task.clone(), settings }).await.unwrap();
            }
            let mut said = BTreeMap::new();
            while said.len() < tasks.len() {
                let news = tokio::time::timeout(PATIENCE, heard.recv()).await.expect("news in time").unwrap();
                said.insert(news.id, news.event);
            }
            said
        })
    }

    /// The same, again while nonces are refused.
    pub fn done(&mut self, id: &Id, task: Task) -> Event {
        for _ in 0..AGAIN {
            match self.ask(id, task.clone()) {
                Event::Failed { problem, .. } if problem.is("badNonce") => self.refused += 1,
                Event::NotRevoked { problem, .. } if problem.is("badNonce") => self.refused += 1,
                Event::Failed { problem, .. } | Event::NotRevoked { problem, .. } => panic!("{problem}"),
                event => return event,
            }
        }
        panic!("a nonce was refused {AGAIN} times");
    }

    /// The problem that an task ends with.
    #[track_caller]
    pub fn fails(&self, id: &Id, task: Task) -> Problem {
        let step = task.step();
        match self.ask(id, task) {
            Event::Failed { step: failed, problem } => {
                assert_eq!(failed, step);
                problem
            }
            Event::NotRevoked { problem, .. } if step == Step::Revoke => problem,
            other => panic!("{other:?}"),
        }
    }

    /// Makes an order for all names; its URL and what it wants.
    pub fn order(&mut self, id: &Id) -> (String, Vec<Proof>) {
        match self.done(id, Task::Order { names: names(), replaces: None, profile: None }) {
            Event::Ordered { url, proofs } => (url, proofs),
            other => panic!("{other:?}"),
        }
    }

    /// Gets a certificate: it and the next key lie in the folder.
    pub fn issue(&mut self, daemon: &Daemon<'_>, id: &Id) -> Held {
        let (url, proofs) = self.order(id);
        self.finish(daemon, id, &url, &proofs)
    }

    /// Asks until the order is so.
    pub fn wait_for(&mut self, id: &Id, url: &str, status: &Status) {
        wait_until(&format!("{status:?}"), || {
            self.done(id, Task::AskStatus { url: url.to_owned() })
                == Event::Status { url: url.to_owned(), status: status.clone() }
        });
    }

    /// Brings an order to its end: its certificate and the next key lie in the folder. Each step is done twice.
    pub fn finish(&mut self, daemon: &Daemon<'_>, id: &Id, url: &str, proofs: &[Proof]) -> Held {
        prove(daemon, proofs);
        let url = || url.to_owned();
        self.done(id, Task::SayReady { url: url() });
        self.done(id, Task::SayReady { url: url() });
        self.wait_for(id, &url(), &Status::Ready);
        self.done(id, Task::Finalize { url: url(), names: names(), reuse: false });
        self.done(id, Task::Finalize { url: url(), names: names(), reuse: false });
        self.wait_for(id, &url(), &Status::Valid);
        let stored = self.done(id, Task::Store { url: url(), names: names() });
        assert_eq!(self.done(id, Task::Store { url: url(), names: names() }), stored);
        assert_eq!(self.done(id, Task::MakeNextKey), Event::NextKey);
        assert_eq!(self.done(id, Task::MakeNextKey), Event::NextKey);
        let Event::Stored(held) = stored else { panic!("{stored:?}") };
        assert_eq!(self.done(id, Task::Look), Event::Held(Some(held.clone())));
        held
    }
}

pub fn settings(state: &Path, directory: &str, roots: PathBuf) -> Settings {
    Settings {
        directory: directory.to_owned(),
        contacts: vec![format!("mailto:hostmaster@{ZONE}")],
        external: None,
        ca_file: Some(roots),
        state: state.to_owned(),
    }
}

/// Puts proofs into the zone, and no others; the daemon shows them when this returns.
pub fn prove(daemon: &Daemon<'_>, proofs: &[Proof]) {
    let lines: Vec<String> =
        proofs.iter().map(|proof| format!("_acme-challenge.{} 30 TXT \"{}\"\n", proof.name, proof.value)).collect();
    daemon.house.put_zone(&(good_zone() + &lines.concat()));
    for proof in proofs {
        let owner = format!("_acme-challenge.{}", proof.name);
        wait(&format!("{owner} is shown"), || {
            daemon.records(&owner, "TXT").contains(&format!("\"{}\"", proof.value)).then_some(())
        });
    }
}
