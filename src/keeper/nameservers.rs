//! A zone's nameservers that are told of changes besides the secondaries (RFC 1996 section 2.1): who they are, and where.
//!
//! Hosts in zones served here have the addresses that those say; others are looked up by the system's resolver, again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::zone::Zone;
use crate::config::Config;
use crate::dns::{Name, Rtype, Timestamp, rdata};
use crate::observe::way::is_local;

/// Seconds until a host's addresses are looked up again, and where that failed.
const AGAIN: u64 = 3600;
const AFTER_FAILURE: u64 = 300;
/// Seconds until an answer that never came is asked for again.
const PATIENCE: u64 = 60;
/// The port that nameservers are told at.
const PORT: u16 = 53;

/// Where a nameserver is asked what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// This server.
    Here,
    /// Another one.
    At(SocketAddr),
}

/// Hosts that are looked up, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Nameservers {
    hosts: BTreeMap<Name, Host>,
    due: BTreeSet<(Timestamp, Name)>,
    /// Addresses of this machine, and others, as far as it was looked.
    local: HashMap<IpAddr, bool>,
}

#[derive(Debug, Default)]
struct Host {
    /// The last good ones.
    addresses: Vec<IpAddr>,
    /// Why there are no newer ones.
    failure: Option<String>,
    due: Timestamp,
}

/// The zones that are served here.
pub(super) struct Ours<'a> {
    pub(super) config: &'a Config,
    pub(super) zones: &'a BTreeMap<Name, Box<Zone>>,
}

impl Ours<'_> {
    /// The hosts of a zone's NS records but for the one that its SOA names, and that one.
    fn nameservers(&self, zone: &Name) -> Option<(Vec<Name>, Name)> {
        let published = self.zones.get(zone)?.published()?;
        let apex = published.tree.apex_node();
        let soa = apex.set(Rtype::SOA)?.rdatas().next().map(|soa| rdata::names(Rtype::SOA, &soa))?;
        let primary = soa.into_iter().next()?;
        let hosts = self.all_nameservers(zone)?;
        Some((hosts.into_iter().filter(|host| *host != primary).collect(), primary))
    }

    /// The hosts of a zone's NS records.
    fn all_nameservers(&self, zone: &Name) -> Option<Vec<Name>> {
        let published = self.zones.get(zone)?.published()?;
        let ns = published.tree.apex_node().set(Rtype::NS)?;
        Some(ns.rdatas().flat_map(|host| rdata::names(Rtype::NS, &host)).collect())
    }

    /// The addresses of a host that zones served here know; none where they don't say.
    pub(super) fn addresses(&self, host: &Name) -> Option<Vec<IpAddr>> {
        let mut above = std::iter::once(host.clone()).chain(host.ancestors());
        let contents = above.find_map(|apex| self.zones.get(&apex))?.contents.as_ref()?;
        if contents.cut(host).is_some() || contents.is_below_dname(host) {
            return None;
        }
        let of = |rtype| contents.rrset(host, rtype).map(|rrset| rrset.rdatas).unwrap_or_default();
        let v4 = of(Rtype::A).into_iter().filter_map(|rdata| Some(<[u8; 4]>::try_from(&*rdata).ok()?.into()));
        let v6 = of(Rtype::AAAA).into_iter().filter_map(|rdata| Some(<[u8; 16]>::try_from(&*rdata).ok()?.into()));
        Some(v4.chain(v6).collect())
    }
}

impl Nameservers {
    /// Only what these zones' nameservers need is still known; what is this machine's is looked at anew.
    pub(super) fn retain<'a>(&mut self, ours: &Ours<'_>, zones: impl Iterator<Item = &'a Name>) {
        self.local.clear();
        if self.hosts.is_empty() {
            return;
        }
        let of = |zone: &Name| ours.nameservers(zone).map(|(hosts, primary)| hosts.into_iter().chain([primary]));
        let wanted: BTreeSet<Name> = zones.filter_map(of).flatten().collect();
        self.hosts.retain(|host, _| wanted.contains(host));
        self.due.retain(|(_, host)| wanted.contains(host));
    }

    /// Where a zone's nameservers are told: never where this server listens, nor at the addresses of the SOA's primary.
    pub(super) fn told(&mut self, ours: &Ours<'_>, zone: &Name) -> Vec<SocketAddr> {
        if !ours.config.tells_nameservers(zone) {
            return Vec::new();
        }
        let Some((hosts, primary)) = ours.nameservers(zone) else { return Vec::new() };
        let left_out = self.addresses(ours, &primary);
        let all: Vec<IpAddr> = hosts.iter().flat_map(|host| self.addresses(ours, host)).collect();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in all {
            let told = SocketAddr::new(address, PORT);
            let can = !address.is_unspecified() && !address.is_multicast();
            if can && !left_out.contains(&address) && !addresses.contains(&told) && !self.is_us(ours.config, told) {
                addresses.push(told);
            }
        }
        addresses
    }

    fn addresses(&mut self, ours: &Ours<'_>, host: &Name) -> Vec<IpAddr> {
        if let Some(addresses) = ours.addresses(host) {
            return addresses;
        }
        match self.hosts.get(host) {
            Some(known) => known.addresses.clone(),
            None => {
                self.hosts.insert(host.clone(), Host::default());
                self.due.insert((0, host.clone()));
                Vec::new()
            }
        }
    }

    /// Where each of a zone's nameservers is asked what it shows, or those that the configuration names in their place. An error: a
    /// host whose address is not known yet.
    pub(super) fn asked(&mut self, ours: &Ours<'_>, zone: &Name) -> Result<BTreeSet<Place>, Name> {
        let named = ours.config.rollover.nameservers.get(zone);
        let addresses: Vec<SocketAddr> = match (named, ours.all_nameservers(zone)) {
            (Some(named), _) => named.clone(),
            (None, None) => Vec::new(),
            (None, Some(hosts)) => {
                let mut all = Vec::new();
                for host in hosts {
                    let found = self.addresses(ours, &host);
                    if found.is_empty() && ours.addresses(&host).is_none() {
                        return Err(host);
                    }
                    all.extend(found.into_iter().map(|address| SocketAddr::new(address, PORT)));
                }
                all
            }
        };
        let can = |address: &SocketAddr| !address.ip().is_unspecified() && !address.ip().is_multicast();
        let place = |address| if self.is_us(ours.config, address) { Place::Here } else { Place::At(address) };
        Ok(addresses.into_iter().filter(can).map(place).collect())
    }

    /// Whether what is sent to an address would come back here.
    fn is_us(&mut self, config: &Config, at: SocketAddr) -> bool {
        let address = at.ip();
        let listeners = config.listen.iter().filter(|listener| listener.port() == at.port());
        let mut ips = listeners.map(SocketAddr::ip).filter(|ip| ip.is_ipv4() == address.is_ipv4());
        let mut is_local = || *self.local.entry(address).or_insert_with(|| is_local(address));
        ips.any(|ip| ip == address || ip.is_unspecified() && is_local())
    }

    /// The hosts that have to be looked up by now.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Name> {
        let due: Vec<Name> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, host)| host.clone()).collect();
        due.iter().for_each(|host| self.put_off(host, now + PATIENCE));
        due
    }

    /// When the next one has to be.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A host was looked up; whether it has other addresses now. What can't be found out changes nothing.
    pub(super) fn resolved(&mut self, host: &Name, found: &Result<Vec<IpAddr>, String>, now: Timestamp) -> bool {
        self.put_off(host, now + if found.is_ok() { AGAIN } else { AFTER_FAILURE });
        let Some(known) = self.hosts.get_mut(host) else { return false };
        known.failure = found.as_ref().err().cloned();
        match found {
            Ok(addresses) if *addresses != known.addresses => {
                known.addresses.clone_from(addresses);
                true
            }
            _ => false,
        }
    }

    fn put_off(&mut self, host: &Name, until: Timestamp) {
        if let Some(known) = self.hosts.get_mut(host) {
            self.due.remove(&(known.due, host.clone()));
            known.due = until;
            self.due.insert((until, host.clone()));
        }
    }

    /// The nameserver of a zone that an address belongs to.
    pub(super) fn name_of(&self, ours: &Ours<'_>, zone: &Name, address: IpAddr) -> Option<Name> {
        let (hosts, _) = ours.nameservers(zone).filter(|_| ours.config.tells_nameservers(zone))?;
        let known = |host: &Name| self.hosts.get(host).map(|known| known.addresses.clone());
        let has = |host: &Name| ours.addresses(host).or_else(|| known(host)).is_some_and(|all| all.contains(&address));
        hosts.into_iter().find(has)
    }

    /// Hosts of which no address was ever found, and why.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&Name, &str)> {
        let unknown = self.hosts.iter().filter(|(_, known)| known.addresses.is_empty());
        unknown.filter_map(|(host, known)| Some((host, known.failure.as_deref()?)))
    }

    /// Hosts that are not told, since nobody knows where they are.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let failed = self.hosts.iter().filter_map(|(host, known)| Some((host, known, known.failure.as_ref()?)));
        failed.map(|(host, known, why)| {
            let meanwhile =
                if known.addresses.is_empty() { "it is not told of changes" } else { "the last address is told" };
            format!(
                "nameserver {}: its address can't be looked up: {why}; {meanwhile} (notify-nameservers)",
                host.to_host()
            )
        })
    }
}
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::observe::zones::ZoneFile;
    use crate::zone::sign::SigningMode;
    use crate::zone::{Draft, NoIncludes, ZoneSnapshot, parse};

    const NOW: Timestamp = 1_800_000_000;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn zones(texts: &[(&str, &str)]) -> BTreeMap<Name, Box<Zone>> {
        let zone = |(origin, text): &(&str, &str)| {
            let text = format!("$TTL 300\n@ SOA ns1 h 1 2 3 4 60\n{text}");
            let parsed = parse(&name(origin), "zone", text.as_bytes(), &mut NoIncludes);
            let contents = parsed.contents.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
            let published = Draft::unsigned(&contents).unwrap().finish(1).unwrap();
            let mut zone = Zone::new(ZoneFile { origin: name(origin), path: "zone".into(), named: false });
            zone.take(contents, SigningMode::None);
            zone.snapshot = Some(ZoneSnapshot::build(&published).unwrap().into());
            (name(origin), Box::new(zone))
        };
        texts.iter().map(zone).collect()
    }

    fn config(text: &str) -> Config {
        Config::parse(&format!("notify-nameservers = true\n{text}"), "danelaw.toml", Path::new("/etc/danelaw")).unwrap()
    }

    fn told(nameservers: &mut Nameservers, ours: &Ours<'_>, zone: &str) -> Vec<String> {
        nameservers.told(ours, &name(zone)).into_iter().map(|address| address.to_string()).collect()
    }

    const HERE: &str = "listen = [\"192.0.2.53:53\", \"192.0.2.54:5353\"]\n";

    #[test]
    fn nameservers_of_our_zones_are_told_but_not_ourselves_and_not_the_primary() {
        let org = "@ NS ns1\n@ NS ns2\n@ NS ns3\n@ NS alias.example.net.\nns1 A 192.0.2.1\nns2 A 192.0.2.2\nns2 AAAA 2001:db8::2\n\
                   ns3 A 192.0.2.53\nns3 A 192.0.2.54\n";
        let net = "@ NS ns2.example.org.\nns1 A 192.0.2.9\nalias A 192.0.2.1\nalias A 192.0.2.2\n";
        let zones = zones(&[("example.org", org), ("example.net", net)]);
        let config = config(HERE);
        let ours = Ours { config: &config, zones: &zones };
        let mut nameservers = Nameservers::default();
        let expected = ["192.0.2.2:53", "[2001:db8::2]:53", "192.0.2.54:53"];
        assert_eq!(told(&mut nameservers, &ours, "example.org"), expected);
        assert_eq!(told(&mut nameservers, &ours, "example.net"), ["192.0.2.2:53", "[2001:db8::2]:53"]);
        assert_eq!((nameservers.next(), told(&mut nameservers, &ours, "else.test").len()), (None, 0));
        let who = nameservers.name_of(&ours, &name("example.org"), [192, 0, 2, 2].into());
        assert_eq!(who, Some(name("ns2.example.org")));
        let silent = Config { notify_nameservers: false, ..config.clone() };
        assert_eq!(told(&mut nameservers, &Ours { config: &silent, zones: &zones }, "example.org"), [""; 0]);
    }

    #[test]
    fn an_address_of_this_machine_is_ours_where_every_address_is_listened_on() {
        let zones =
            zones(&[("example.org", "@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 127.0.0.1\nns2 A 203.0.113.2\n")]);
        for (listen, expected) in [("0.0.0.0:53", 1), ("0.0.0.0:5353", 2), ("[::]:53", 2), ("127.0.0.1:53", 1)] {
            let config = config(&format!("listen = [\"{listen}\"]"));
            let told = told(&mut Nameservers::default(), &Ours { config: &config, zones: &zones }, "example.org");
            assert_eq!(told.len(), expected, "{listen}: {told:?}");
        }
    }

    #[test]
    fn other_hosts_are_looked_up_again_and_again_and_a_failure_changes_nothing() {
        let zones = zones(&[(
            "example.org",
            "@ NS ns1\n@ NS a.test.\n@ NS b.cut\ncut NS a.test.\nb.cut A 192.0.2.7\nns1 A 192.0.2.1\n",
        )]);
        let config = config(HERE);
        let ours = Ours { config: &config, zones: &zones };
        let mut nameservers = Nameservers::default();
        assert_eq!(told(&mut nameservers, &ours, "example.org"), [""; 0]);
        let (here, cut) = (name("a.test"), name("b.cut.example.org"));
        assert_eq!(nameservers.due(NOW), [cut.clone(), here.clone()], "what is delegated is others' to say");
        assert_eq!((nameservers.due(NOW), nameservers.next()), (vec![], Some(NOW + PATIENCE)));
        assert!(nameservers.resolved(&here, &Ok(vec![[192, 0, 2, 3].into(), [192, 0, 2, 1].into()]), NOW));
        assert!(!nameservers.resolved(&cut, &Err("no".to_owned()), NOW));
        assert_eq!(told(&mut nameservers, &ours, "example.org"), ["192.0.2.3:53"]);
        let problems: Vec<String> = nameservers.problems().collect();
        assert!(problems.len() == 1 && problems[0].contains("b.cut.example.org"), "{problems:?}");
        assert_eq!(nameservers.next(), Some(NOW + AFTER_FAILURE));
        assert_eq!(nameservers.due(NOW + AGAIN), [here.clone(), cut.clone()].into_iter().rev().collect::<Vec<_>>());
        assert!(!nameservers.resolved(&here, &Err("no".to_owned()), NOW + AGAIN));
        assert_eq!(told(&mut nameservers, &ours, "example.org"), ["192.0.2.3:53"], "the last good one");
        assert!(nameservers.resolved(&here, &Ok(vec![[192, 0, 2, 4].into()]), NOW + 2 * AGAIN));
        assert_eq!(told(&mut nameservers, &ours, "example.org"), ["192.0.2.4:53"]);
        nameservers.retain(&Ours { config: &config, zones: &BTreeMap::new() }, zones.keys());
        assert_eq!((nameservers.next(), nameservers.problems().count()), (None, 0));
    }
}
