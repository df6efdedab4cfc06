//! Whether CAA lets the CA issue (RFC 8659 section 3): by the zones here as they are, and by the resolver where the way up leaves them.
//! What can't be told forbids nothing: the CA looks itself.

use std::collections::BTreeSet;

use tracing::debug;

use super::elsewhere::{Question, Since};
use super::proofs::ALIASES_MAX;
use crate::acme::bare;
use crate::act::acme::directory::Authority;
use crate::dns::{Name, Rdata, Rtype};
use crate::keeper::Keeper;
use crate::observe::outside::elsewhere::{Found, Question as Asked};
use crate::outside::caa::{Applicant, METHOD, remedy};

/// The CAA records that count for a name.
struct Counting {
    /// Where they stand.
    at: Name,
    records: Vec<Rdata>,
    /// In a zone that is served elsewhere.
    is_elsewhere: bool,
}

/// Why it isn't known which records count.
enum Lacking {
    /// The answer to a question is.
    Asked(Asked),
    /// It can't be told.
    Unknown(String),
}

impl Keeper {
    /// Whether CAA lets the CA issue for each of the names, else what to do; an error: what is to be asked first. Of what is asked,
    /// answers since then count.
    pub(super) fn may_issue(
        &self,
        names: &BTreeSet<Name>,
        since: Since,
    ) -> Result<Result<(), String>, BTreeSet<Question>> {
        let Some(acme) = &self.config.acme else { return Ok(Ok(())) };
        let authority = match self.orders.elsewhere.authority(&acme.directory, since) {
            None => return Err(BTreeSet::from([Question::Authority(acme.directory.clone())])),
            Some(Ok(authority)) => authority.clone(),
            Some(Err(why)) => {
                debug!("{}: it is not known what the CA says of itself: {why}", acme.directory);
                Authority::default()
            }
        };
        let identities = acme.issuers(&authority.identities);
        if identities.is_empty() {
            return Ok(Ok(()));
        }
        let applicant = Applicant { identities: &identities, account: authority.account.as_deref(), method: METHOD };
        let (mut asked, mut forbidden) = (BTreeSet::new(), None);
        for name in names {
            match self.counting(&bare(name), since) {
                Ok(counting) => forbidden = forbidden.or_else(|| forbids(&counting?, name != &bare(name), &applicant)),
                Err(Lacking::Asked(question)) => drop(asked.insert(Question::Resolver(question))),
                Err(Lacking::Unknown(why)) => {
                    debug!("{}: it is not known what CAA says, the CA looks itself: {why}", name.to_host());
                }
            }
        }
        match forbidden {
            Some(why) => Ok(Err(why)),
            None if asked.is_empty() => Ok(Ok(())),
            None => Err(asked),
        }
    }

    /// The records of a name itself, or of the nearest name above that has any; none: nothing restricts.
    fn counting(&self, name: &Name, since: Since) -> Result<Option<Counting>, Lacking> {
        let above = std::iter::once(name.clone()).chain(name.ancestors()).filter(|at| !at.is_root());
        for at in above {
            let counting = self.records_at(&at, since)?;
            if !counting.records.is_empty() {
                return Ok(Some(counting));
            }
        }
        Ok(None)
    }

    /// The records of a name, or of what it is an alias of.
    fn records_at(&self, name: &Name, since: Since) -> Result<Counting, Lacking> {
        let mut at = name.clone();
        for _ in 0..ALIASES_MAX {
            let contents = match self.authority(&at).map(|zone| &zone.contents) {
                Some(Some(contents)) => contents,
                Some(None) => {
                    return Err(Lacking::Unknown(format!("the zone of {} has no good version", at.to_host())));
                }
                None => {
                    let question = Asked::Caa(at.clone());
                    return match self.orders.elsewhere.found(&question, since) {
                        None => Err(Lacking::Asked(question)),
                        Some(Err(why)) => Err(Lacking::Unknown(format!("{}: {why}", at.to_host()))),
                        Some(Ok(Found { records, alias })) => {
                            let at = alias.clone().unwrap_or(at);
                            Ok(Counting { at, records: records.clone(), is_elsewhere: true })
                        }
                    };
                }
            };
            let records = |rtype| contents.rrset(&at, rtype).map(|rrset| rrset.rdatas);
            match (records(Rtype::CAA), records(Rtype::CNAME)) {
                (None, Some(aliases)) => match aliases.first().and_then(|alias| Name::from_wire(alias).ok()) {
                    Some(target) => at = target,
                    None => break,
                },
                (records, _) => {
                    return Ok(Counting { at, records: records.unwrap_or_default(), is_elsewhere: false });
                }
            }
        }
        Err(Lacking::Unknown(format!("the aliases at {} lead nowhere", name.to_host())))
    }
}

/// What to do where the records forbid it; none: they don't.
fn forbids(counting: &Counting, is_wildcard: bool, applicant: &Applicant<'_>) -> Option<String> {
    let Counting { at, records, is_elsewhere } = counting;
    let place = if *is_elsewhere { " in its zone, which is served elsewhere" } else { "" };
    remedy(at, place, records, is_wildcard, applicant)
}
