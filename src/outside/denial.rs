//! Whether an answer proves that a name is not there, as far as that is seen without its hashes: each NSEC and NSEC3 with its signature.

use std::collections::BTreeSet;

use crate::dns::{Name, Rtype};

/// What is in an answer to a name that is not there, or that a wildcard stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// Whether the answer section has records: of a wildcard, or an alias.
    pub is_answered: bool,
    /// The NSEC and NSEC3 of the authority section: owner and type.
    pub proofs: BTreeSet<(Name, Rtype)>,
    /// What the signatures there are of: owner and type.
    pub signed: BTreeSet<(Name, Rtype)>,
}

impl Denial {
    /// Why nobody who validates takes it (RFC 4035 section 3.1.3, RFC 5155 section 7.2); none where nothing speaks against it.
    pub(super) fn failure(&self) -> Option<String> {
        if self.is_answered {
            return None;
        }
        if self.proofs.is_empty() {
            let why = "it gives neither NSEC nor NSEC3, so nobody who validates takes it (RFC 4035 section 3.1.3)";
            return Some(why.to_owned());
        }
        let (owner, rtype) = self.proofs.difference(&self.signed).next()?;
        Some(format!(
            "its {rtype} at {owner} has no signature, so nobody who validates takes it (RFC 4035 section 3.1.3)"
        ))
    }
}
