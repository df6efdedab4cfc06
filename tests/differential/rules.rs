//! Differences that an RFC decides for us, or that it leaves open.

use super::common::wire::Response;
use super::peers::Peer;
use super::questions::Question;

/// What is compared.
pub struct Case<'a> {
    pub peer: Peer,
    pub question: &'a Question,
}

/// Takes away what is accounted for; gives the names of the rules that did.
pub fn reconcile(_case: &Case<'_>, ours: &mut Response, theirs: &mut Response) -> Vec<&'static str> {
    ours.length = 0;
    theirs.length = 0;
    Vec::new()
}
