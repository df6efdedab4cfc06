//! `[catalog."NAME"]`: the catalog zones that this server produces (RFC 9432).

use std::collections::BTreeMap;

use super::reader::{Problems, Section, Span, as_section, list_of, text_of};
use super::secondary::parse_name;
use super::values::Config;
use crate::dns::Name;
use crate::zone::catalog::{self, Member, Members};

/// A TXT record's string, which a group is told in.
const GROUP_MAX: usize = 255;
const ZONES: &str = "zones' names, such as \"example.org\"";

/// One catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogConfig {
    /// Its apex.
    pub origin: Name,
    /// The zones that are its members, where they are served here; none: all that are.
    pub zones: Option<Vec<Name>>,
    /// What it says of some of them.
    said: Members,
}

impl CatalogConfig {
    /// Its members among the zones that are served here.
    pub fn members<'a>(&self, served: impl Iterator<Item = &'a Name>) -> Members {
        let is_member = |zone: &&Name| self.zones.as_ref().is_none_or(|zones| zones.binary_search(zone).is_ok());
        let said = |zone: &Name| self.said.get(zone).cloned().unwrap_or_default();
        served.filter(is_member).map(|zone| (zone.clone(), said(zone))).collect()
    }
}

/// Reads all of them.
pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let Some(catalogs) = root.section("catalog", problems) else { return };
    for (name, span, value) in catalogs.entries() {
        let title = format!("catalog.\"{name}\"");
        let Some(section) = as_section(&title, value, problems) else { continue };
        let origin = match parse_name(name) {
            // Room for the members' labels is there or not, whoever they are.
            Ok(origin) if !origin.is_root() && catalog::contents(&origin, 0, &probe()).is_ok() => origin,
            Ok(_) => {
                problems.error(span, format!("[{title}]: too long or too short"), "a name of up to 200 octets");
                continue;
            }
            Err(why) => {
                problems.error(span, format!("[{title}]: {why}"), "[catalog.\"catalog.example\"], in quotes");
                continue;
            }
        };
        if config.catalogs.iter().any(|other| other.origin == origin) {
            problems.error(span, format!("[{title}] stands here twice"), "one table for each catalog");
        } else if config.overrides.contains_key(&origin) {
            let help = "a catalog has no zone file: give it a name of its own";
            problems.error(span, format!("[{title}]: there is a [zone.\"...\"] of this name"), help);
        } else {
            config.catalogs.push(check_catalog(section, origin, problems));
        }
    }
}

/// A member whose records have the longest owners that there are.
fn probe() -> Members {
    let group = Member { groups: vec!["group".to_owned()], ..Member::default() };
    BTreeMap::from([(Name::root(), group)])
}

fn check_catalog(mut section: Section<'_>, origin: Name, problems: &mut Problems<'_>) -> CatalogConfig {
    let zones = section.list("zones", ZONES, problems, parse_name);
    let zones = zones.map(|zones| {
        let mut zones: Vec<Name> = zones.into_iter().map(|(zone, _)| zone).collect();
        zones.sort();
        zones.dedup();
        zones
    });
    let mut catalog = CatalogConfig { origin, zones, said: Members::new() };
    if let Some(groups) = section.section("groups", problems) {
        check_groups(&groups, &mut catalog, problems);
    }
    if let Some(coo) = section.section("coo", problems) {
        for (zone, (text, span)) in texts(&coo, &catalog, problems) {
            match parse_name(text) {
                Ok(next) if next != catalog.origin => catalog.said.entry(zone).or_default().coo = Some(next),
                Ok(_) => problems.error(span, "`coo`: it is in this catalog", "the name of another catalog"),
                Err(why) => problems.error(span, format!("`coo`: {why}"), "the name of another catalog"),
            }
        }
    }
    if let Some(reset) = section.section("reset", problems) {
        for (zone, (text, _)) in texts(&reset, &catalog, problems) {
            catalog.said.entry(zone).or_default().reset = text.to_owned();
        }
    }
    section.finish(problems);
    catalog
}

fn check_groups(groups: &Section<'_>, catalog: &mut CatalogConfig, problems: &mut Problems<'_>) {
    for (group, span, value) in groups.entries() {
        if group.is_empty() || group.len() > GROUP_MAX {
            problems.error(span, format!("a group's name of {} octets", group.len()), "from 1 to 255 octets");
            continue;
        }
        for (zone, span) in list_of(group, value, ZONES, problems, parse_name).into_iter().flatten() {
            if !is_member(catalog, &zone) {
                problems.error(
                    span,
                    format!("`{group}`: {zone} is none of this catalog's `zones`"),
                    "put it there too",
                );
                continue;
            }
            let said = &mut catalog.said.entry(zone).or_default().groups;
            if !said.iter().any(|other| other == group) {
                said.push(group.to_owned());
            }
        }
    }
}

/// The zones of a table and what it says of each.
fn texts<'t>(
    table: &Section<'t>,
    catalog: &CatalogConfig,
    problems: &mut Problems<'_>,
) -> Vec<(Name, (&'t str, Span))> {
    let mut texts = Vec::new();
    for (key, span, value) in table.entries() {
        match parse_name(key) {
            Ok(zone) if is_member(catalog, &zone) => {
                texts.extend(text_of(value, &format!("`{key}`"), problems).map(|said| (zone, said)));
            }
            Ok(zone) => {
                problems.error(span, format!("`{key}`: {zone} is none of this catalog's `zones`"), "put it there too");
            }
            Err(why) => problems.error(span, why, ZONES),
        }
    }
    texts
}

fn is_member(catalog: &CatalogConfig, zone: &Name) -> bool {
    catalog.zones.as_ref().is_none_or(|zones| zones.binary_search(zone).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};
    use super::*;

    #[test]
    fn catalogs_are_read_and_have_the_served_zones_among_their_own() {
        let config = parse(
            "[catalog.\"all.example\"]\n[catalog.\"Some.example\"]\nzones = [\"B.test\", \"a.test\", \"gone.test\"]\n\
             [catalog.\"some.example\".groups]\nsigned = [\"a.test\", \"b.test\"]\nother = [\"a.test\"]\n\
             [catalog.\"some.example\".coo]\n\"b.test\" = \"all.example\"\n[catalog.\"some.example\".reset]\n\"a.test\" = \"2\"\n",
        );
        // The same name in another case is the same catalog.
        assert!(config.unwrap_err().to_string().contains("stands here twice"));
        let config = parse(
            "[catalog.\"all.example\"]\n[catalog.\"some.example\"]\nzones = [\"B.test\", \"a.test\", \"gone.test\"]\n\
             [catalog.\"some.example\".groups]\nsigned = [\"a.test\", \"b.test\"]\nother = [\"a.test\"]\n\
             [catalog.\"some.example\".coo]\n\"b.test\" = \"all.example\"\n[catalog.\"some.example\".reset]\n\"a.test\" = \"2\"\n",
        )
        .unwrap();
        let [all, some] = &config.catalogs[..] else { panic!("{:?}", config.catalogs) };
        let served = ["a.test", "b.test", "c.test"].map(name);
        assert!(all.members(served.iter()).values().eq(&[Member::default(), Member::default(), Member::default()]));
        let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = [
            (name("a.test"), Member { groups: groups(&["signed", "other"]), reset: "2".to_owned(), coo: None }),
            (
                name("b.test"),
                Member { groups: groups(&["signed"]), coo: Some(name("all.example")), ..Member::default() },
            ),
        ];
        assert_eq!(some.members(served.iter()), Members::from(expected));
    }

    #[test]
    fn mistakes_are_named() {
        let long =
            format!("[catalog.\"{}\"]", ["x".repeat(60), "y".repeat(60), "z".repeat(60), "w".repeat(40)].join("."));
        let group = format!("[catalog.c.groups]\n\"{}\" = [\"a.test\"]", "x".repeat(256));
        for (text, expected) in [
            (long.as_str(), "too long or too short"),
            ("[catalog.\".\"]", "too long or too short"),
            ("[catalog.\"a..b\"]", "a..b"),
            ("[zone.c]\n[catalog.c]", "a [zone.\"...\"] of this name"),
            ("[catalog.c]\nzone = [\"a\"]", "did you mean `zones`?"),
            ("[catalog.c]\nzones = [\"a\"]\n[catalog.c.groups]\ng = [\"b\"]", "b. is none of this catalog's `zones`"),
            ("[catalog.c]\nzones = [\"a\"]\n[catalog.c.coo]\nb = \"d\"", "b. is none of this catalog's `zones`"),
            ("[catalog.c.coo]\nb = \"c\"", "it is in this catalog"),
            ("[catalog.c.coo]\nb = 1", "must be a text"),
            ("[catalog.c.groups]\ng = \"b\"", "must be a list"),
            (&group, "256 octets"),
            ("catalog = \"c\"", "must be a table"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
