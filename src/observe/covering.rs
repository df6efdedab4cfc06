//! Which of the certificates that were found are a host's, without a look at each. Says what [`crate::dane::Chain::covers`] says.

use std::collections::HashMap;

use super::certificates::{Found, Scan};
use crate::dns::Name;

/// The certificates of some scans by their names.
#[derive(Debug, Default)]
pub struct Covering {
    /// Scan and place in it, by a dNSName as it stands in the certificate, without its final dot.
    places: HashMap<String, Vec<(usize, usize)>>,
}

impl Covering {
    /// Of these.
    pub fn new(scans: &[Scan]) -> Covering {
        let mut places: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        for (scan, found) in scans.iter().enumerate() {
            for (place, found) in found.certificates.iter().enumerate() {
                for name in &found.chain.leaf().dns_names {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    places.entry(name.to_owned()).or_default().push((scan, place));
                }
            }
        }
        Covering { places }
    }

    /// Those of a host, each with the number of its scan, in the order of both. `scans` are those that this was made of.
    pub fn of<'a>(&self, host: &Name, scans: &'a [Scan]) -> Vec<(usize, &'a Found)> {
        let text = host.to_host().to_ascii_lowercase();
        let wildcard = text.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let names = [Some(text), wildcard].into_iter().flatten();
        let mut places: Vec<(usize, usize)> =
            names.filter_map(|name| self.places.get(&name)).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let found = |(scan, place): (usize, usize)| Some((scan, scans.get(scan)?.certificates.get(place)?));
        places.into_iter().filter_map(found).filter(|(_, found)| found.chain.covers(host)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dane::Chain;
    use crate::observe::layouts::Layout;

    fn found(names: &[&str]) -> Found {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        let chain = Chain::parse(made.cert.pem().as_bytes()).unwrap();
        Found {
            chain,
            path: names.join(",").into(),
            layout: Layout::Plain,
            key: None,
            key_checked: true,
            next_key: None,
        }
    }

    #[test]
    fn those_of_a_host_are_those_that_cover_it() {
        let one =
            [&["mail.example.org", "*.example.org"][..], &["*.example.org"], &["MX.example.org"], &["example.org"]];
        let two = [&["*.org"][..], &["*.mail.example.org", "mail.example.org"], &["xn--ls8h.example.org"]];
        let scan = |all: &[&[&str]]| Scan {
            certificates: all.iter().map(|names| found(names)).collect(),
            older: vec![],
            problems: vec![],
        };
        let scans = [scan(&one), scan(&two)];
        let covering = Covering::new(&scans);
        let hosts =
            ["mail.example.org", "MAIL.example.ORG", "mx.example.org", "example.org", "a.mail.example.org", "org", "."];
        for host in hosts {
            let host: Name = host.parse().unwrap();
            let all = scans.iter().enumerate();
            let all = all.flat_map(|(number, scan)| scan.certificates.iter().map(move |found| (number, found)));
            let expected: Vec<_> = all.filter(|(_, found)| found.chain.covers(&host)).collect();
            assert_eq!(covering.of(&host, &scans), expected, "{host}");
        }
        assert_eq!(covering.of(&"mail.example.org".parse().unwrap(), &scans).len(), 3);
    }
}
