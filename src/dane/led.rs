//! What a rollover says of its host: the records that are to be out, and where each comes from.
//!
//! A host whose certificates are installed here has no keyset: [`super::rollover`] knows what may be presented and what
//! caches hold, and what it wants is published as it stands, under the parameters of each owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::dns::Name;

use super::certificate::Chain;
use super::explain::{Source, SourceStatus};
use super::rollover::state::Role;
use super::rollover::{self, State};
use super::tlsa::{Parameters, Tlsa};

/// The hosts that rollovers lead.
pub type LedHosts = BTreeMap<Name, Arc<Led>>;

/// A host that a rollover leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// What is to be out; empty when nothing is yet.
    pub records: Vec<Tlsa>,
    /// The chains that they are of.
    origins: Vec<(SourceStatus, rollover::Chain)>,
    /// Where certificates are installed and where they come from: for people.
    pub file: String,
    /// What the mail server reads.
    pub live: Vec<Chain>,
}

impl Led {
    /// Of a state; what it wants is told by its last step. `file` and `live` are what stands on the disk.
    pub fn new(state: &State, file: String, live: Vec<Chain>) -> Led {
        let status = |role| match role {
            Role::Live => SourceStatus::Current,
            Role::Next => SourceStatus::Next,
            Role::NextKey => SourceStatus::NextKey,
            Role::Leaving => SourceStatus::Leaving,
        };
        let origins = state.chains().map(|(role, chain)| (status(role), chain.clone())).collect();
        Led { records: state.wanted().unwrap_or_default().to_vec(), origins, file, live }
    }

    /// The records under one set of parameters.
    pub(super) fn under(&self, parameters: Parameters) -> impl Iterator<Item = &Tlsa> {
        self.records.iter().filter(move |record| record.parameters == parameters)
    }

    /// What is left to publish where none of an owner's parameters has a record: those that are sound, and `3 1 1`.
    pub(super) fn last_resort(&self, sound: &BTreeSet<Parameters>) -> Vec<Tlsa> {
        let is_left = |record: &&Tlsa| sound.contains(&record.parameters) || record.parameters == Parameters::DEFAULT;
        self.records.iter().filter(is_left).cloned().collect()
    }

    /// The certificates that a record is of.
    pub(super) fn sources(&self, record: &Tlsa) -> Vec<Source> {
        let made = self.origins.iter().filter(|(_, chain)| chain.records.contains(record));
        let source = |(status, chain): &(SourceStatus, rollover::Chain)| Source {
            file: self.file.clone(),
            fingerprint: chain.fingerprint.clone(),
            status: *status,
        };
        made.map(source).collect()
    }
}
