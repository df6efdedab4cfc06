//! Who may change what: names by pattern, and types. What no grant allows is not allowed.

use crate::dns::name::is_same;
use crate::dns::{Name, Rtype};

/// What one grant allows, of the zones that it is for. Some records are never updated, whatever stands here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The names; none: every one.
    pub names: Option<Vec<Pattern>>,
    /// The types; none: every one.
    pub types: Option<Vec<Rtype>>,
}

/// Names that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Name(Name),
    /// Those below it, however deep; not itself.
    Below(Name),
    /// Those whose leftmost label is this, in any case.
    Label(Box<[u8]>),
}

impl Pattern {
    /// Whether a name is one of these.
    pub fn matches(&self, name: &Name) -> bool {
        match self {
            Pattern::Name(this) => name == this,
            Pattern::Below(above) => name.is_below(above),
            Pattern::Label(label) => name.labels().next().is_some_and(|first| is_same(first, label)),
        }
    }
}

impl Grant {
    /// Whether it covers a name and a type. [`Rtype::ANY`] asks whether there is any type that it covers at this name.
    pub fn covers(&self, name: &Name, rtype: Rtype) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|pattern| pattern.matches(name)))
            && self.types.as_ref().is_none_or(|types| rtype == Rtype::ANY || types.contains(&rtype))
    }
}

/// The grants that somebody has for a zone. They add up; without any, nothing is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants<'a>(Vec<&'a Grant>);

impl<'a> FromIterator<&'a Grant> for Grants<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Grant>>(grants: I) -> Grants<'a> {
        Grants(grants.into_iter().collect())
    }
}

impl Grants<'_> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them covers a name and a type, as [`Grant::covers`] says.
    pub fn cover(&self, name: &Name, rtype: Rtype) -> bool {
        self.0.iter().any(|grant| grant.covers(name, rtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn grant(names: Option<Vec<Pattern>>, types: Option<Vec<Rtype>>) -> Grant {
        Grant { names, types }
    }

    #[test]
    fn patterns_are_of_one_name_of_all_below_one_and_of_a_first_label() {
        let this = Pattern::Name(name("mail.example.org"));
        assert!(this.matches(&name("MAIL.example.org")) && !this.matches(&name("a.mail.example.org")));
        let below = Pattern::Below(name("dyn.example.org"));
        for inside in ["a.dyn.example.org", "b.a.DYN.example.org", "*.dyn.example.org"] {
            assert!(below.matches(&name(inside)), "{inside}");
        }
        for outside in ["dyn.example.org", "adyn.example.org", "example.org", "dyn.example.net"] {
            assert!(!below.matches(&name(outside)), "{outside}");
        }
        let label = Pattern::Label(b"_acme-challenge"[..].into());
        for inside in ["_acme-challenge.example.org", "_ACME-challenge.a.b.example.org"] {
            assert!(label.matches(&name(inside)), "{inside}");
        }
        for outside in ["example.org", "x._acme-challenge.example.org", "_acme-challenges.example.org", "."] {
            assert!(!label.matches(&name(outside)), "{outside}");
        }
    }

    #[test]
    fn grants_add_up_and_do_not_mix() {
        let challenge = grant(Some(vec![Pattern::Label(b"_acme-challenge"[..].into())]), Some(vec![Rtype::TXT]));
        let host = grant(Some(vec![Pattern::Name(name("www.example.org"))]), Some(vec![Rtype::A, Rtype::AAAA]));
        let grants: Grants<'_> = [&challenge, &host].into_iter().collect();
        for (owner, rtype, expected) in [
            ("_acme-challenge.www.example.org", Rtype::TXT, true),
            ("_acme-challenge.www.example.org", Rtype::A, false),
            ("www.example.org", Rtype::A, true),
            ("www.example.org", Rtype::TXT, false),
            ("www.example.org", Rtype::ANY, true),
            ("mail.example.org", Rtype::ANY, false),
        ] {
            assert_eq!(grants.cover(&name(owner), rtype), expected, "{owner} {rtype}");
        }
    }

    #[test]
    fn without_a_grant_nothing_is_allowed_and_a_grant_without_lists_covers_all() {
        assert!(Grants::default().is_empty() && !Grants::default().cover(&name("a.example.org"), Rtype::TXT));
        let all = Grant::default();
        assert!(all.covers(&name("a.example.org"), Rtype(65_400)));
        assert!(!grant(Some(Vec::new()), None).covers(&name("a.example.org"), Rtype::A));
        assert!(!grant(None, Some(Vec::new())).covers(&name("a.example.org"), Rtype::A));
    }
}
