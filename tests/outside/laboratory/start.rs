//! How the laboratory is laid out in its folder, and how what is in it is started.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;

use danelaw::dns::dnssec::Algorithm;
use danelaw::keys::ZoneKey;

use super::certificates::{Authority, Certificates, When};
use super::zones::{Mail, Zone};
use super::{DANELAW, GONE, KNOT, MAIL, NSD, ORG, RESOLVER, ROOT, STALE, STANDINS};
use super::{domains, servers, standins};
use crate::common::postfix::{lay as lay_postfix, log};
use crate::house::BINARY;
use crate::namespace::Namespace;

/// A folder in the laboratory's.
fn place(folder: &Path, name: &str) -> PathBuf {
    let place = folder.join(name);
    fs::create_dir_all(&place).unwrap();
    place
}

/// danelaw's folder and the zones above; gives the domains, the key that they are signed with, and the file with the root's.
pub fn lay(folder: &Path) -> (Vec<Zone>, ZoneKey, PathBuf) {
    let (key, pem) = ZoneKey::generate(Algorithm::EcdsaP256Sha256).unwrap();
    lay_key(&place(folder, "danelaw/keys"), &pem);
    let certificates = Certificates::new(&place(folder, "danelaw/certs"), &place(folder, "presented"));
    let (zones, record) = domains::all(&key, &certificates);
    place(folder, "danelaw/zones");
    zones.iter().for_each(|zone| put(folder, zone, &zone.text));
    let anchor = super::above::write(&place(folder, "above"), &zones, &key, &record);
    let anchors = fs::read_to_string(&anchor).unwrap();
    let config = servers::danelaw(&zones, &anchors.lines().collect::<Vec<_>>());
    fs::write(folder.join("danelaw/danelaw.toml"), config).unwrap();
    (zones, key, anchor)
}

/// The network, with every address but those to which no way leads.
pub fn network(folder: &Path, zones: &[Zone]) -> Namespace {
    let resolver = folder.join("resolv.conf");
    fs::write(&resolver, format!("nameserver {RESOLVER}\noptions edns0 trust-ad\n")).unwrap();
    let namespace = Namespace::of_root(addresses(zones), &resolver);
    let unreachable = zones.iter().filter(|zone| matches!(zone.mail, Mail::Unreachable));
    for address in unreachable.flat_map(|zone| &zone.addresses) {
        namespace.succeed("ip", &["route", "add", "unreachable", address]);
    }
    // What goes into that cable comes out where nobody has the address.
    namespace.succeed("ip", &["link", "add", "silence", "type", "veth", "peer", "name", "nobody"]);
    for end in ["silence", "nobody"] {
        namespace.succeed("ip", &["link", "set", end, "up"]);
    }
    let silent = zones.iter().filter(|zone| matches!(zone.mail, Mail::Silence | Mail::Half(_)));
    for address in silent.flat_map(|zone| &zone.addresses[count(zone)..]) {
        namespace.succeed("ip", &["route", "add", address, "dev", "silence"]);
        let nobody = ["lladdr", "02:00:00:00:00:01", "dev", "silence", "nud", "permanent"];
        namespace.succeed("ip", &[&["neighbour", "add", address], &nobody[..]].concat());
    }
    namespace
}

/// What no real server does, and the web servers.
pub fn stand_ins(namespace: &Namespace, folder: &Path, zones: &[Zone]) {
    for (_, address, twist) in STANDINS {
        standins::nameserver(namespace, address, DANELAW, twist);
    }
    let authority = Authority::new("an authority that everybody trusts");
    fs::write(folder.join("roots.pem"), authority.pem()).unwrap();
    for zone in zones {
        let addresses = parsed(&zone.addresses);
        if let Some(policy) = &zone.policy {
            let made = authority.issue(&format!("mta-sts.{}", zone.name()), When::Now);
            standins::web_server(namespace, addresses[0], &made, policy);
        }
        if let Mail::Says(says) = zone.mail {
            standins::mail_server(namespace, &addresses, 25, says);
        }
        if let Some((port, says)) = zone.other {
            standins::mail_server(namespace, &addresses, port, says);
        }
    }
}

/// The servers of the zones above; gives the one that is to go.
pub fn above(namespace: &mut Namespace, folder: &Path) -> Child {
    let files = folder.join("above");
    for (name, address, origins) in [
        ("root", ROOT, &[(".", "root")][..]),
        ("org", ORG, &[("org", "org"), ("plain", "plain"), ("arpa", "arpa")]),
        ("stale", STALE, &[("org", "org.stale")]),
    ] {
        let config = lay_nsd(&place(folder, name), &files, address, origins);
        namespace.start("nsd", &["-d", "-c", &config], &folder.join(name).join("log"), |_| true);
    }
    let config = lay_nsd(&place(folder, "gone"), &files, GONE, &[("gone", "gone")]);
    namespace.spawn("nsd", &["-d", "-c", &config], &folder.join("gone/log"), |_| true)
}

pub fn postfix(namespace: &mut Namespace, folder: &Path, zones: &[Zone]) {
    let (main, services) = servers::postfix(zones, &folder.join("presented"));
    let folder = place(folder, "postfix");
    lay_postfix(&folder, &main, &services);
    let etc = folder.join("etc").display().to_string();
    namespace
        .start("postfix", &["-c", &etc, "start-fg"], &folder.join("said"), |_| log(&folder).contains("daemon started"));
}

pub fn unbound_first(namespace: &Namespace, folder: &Path, anchor: &Path) -> Child {
    let config = servers::unbound(&place(folder, "unbound"), anchor);
    fs::write(folder.join("unbound/unbound.conf"), config).unwrap();
    unbound(namespace, folder)
}

pub fn danelaw(namespace: &mut Namespace, folder: &Path) {
    let folder = folder.join("danelaw");
    let (config, ready) = (folder.join("danelaw.toml").display().to_string(), folder.join("ready"));
    let arguments = ["--config", &config, "serve", "--ready-file", &ready.display().to_string()];
    namespace.start(BINARY, &arguments, &folder.join("log"), |_| ready.exists());
}

pub fn knot(namespace: &mut Namespace, folder: &Path, zones: &[Zone]) {
    let folder = place(folder, "knot");
    fs::write(folder.join("knot.conf"), servers::knot(&folder, zones)).unwrap();
    let config = folder.join("knot.conf").display().to_string();
    namespace.start("knotd", &["-c", &config], &folder.join("log"), |_| true);
}

fn parsed(addresses: &[String; 2]) -> [IpAddr; 2] {
    addresses.each_ref().map(|address| address.parse().unwrap())
}

fn addresses(zones: &[Zone]) -> Vec<IpAddr> {
    let fixed = [DANELAW, NSD, KNOT, RESOLVER, ROOT, ORG, STALE, GONE, MAIL[0], MAIL[1]];
    let fixed = fixed.into_iter().chain(STANDINS.iter().map(|(_, address, _)| *address));
    let mut addresses: Vec<IpAddr> = fixed.map(|address| address.parse().unwrap()).collect();
    addresses.extend(zones.iter().flat_map(|zone| parsed(&zone.addresses).into_iter().take(count(zone))));
    addresses
}

/// How many of a zone's own addresses somebody has.
fn count(zone: &Zone) -> usize {
    match zone.mail {
        _ if zone.policy.is_some() => 2,
        Mail::Shared | Mail::Silence | Mail::Unreachable => 0,
        Mail::Half(_) => 1,
        Mail::Postfix(_) | Mail::Says(_) | Mail::Nobody => 2,
    }
}

/// danelaw finds this in the zone's file.
pub fn put(folder: &Path, zone: &Zone, text: &str) {
    fs::write(folder.join(format!("danelaw/zones/{}.zone", zone.name())), text).unwrap();
}

fn lay_key(folder: &Path, pem: &str) {
    let path = folder.join("shared.pem");
    fs::write(&path, pem).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

/// An NSD with zones by files of another folder; gives its configuration.
fn lay_nsd(folder: &Path, files: &Path, address: &str, origins: &[(&str, &str)]) -> String {
    let zones = origins
        .iter()
        .map(|(origin, file)| format!("  name: \"{origin}\"\n  zonefile: \"{}\"\n", files.join(file).display()));
    let config: PathBuf = folder.join("nsd.conf");
    fs::write(&config, crate::servers::nsd(folder, address, &zones.collect::<Vec<_>>().join("zone:\n"))).unwrap();
    config.display().to_string()
}

/// NSD as the second server of the domains. `are_copied`: it has some zones by itself.
pub fn second(namespace: &Namespace, folder: &Path, zones: &[Zone], are_copied: bool) -> Child {
    let folder = place(folder, "second");
    let config = folder.join("nsd.conf");
    fs::write(&config, crate::servers::nsd(&folder, NSD, &servers::second(zones, are_copied))).unwrap();
    namespace.spawn("nsd", &["-d", "-c", &config.display().to_string()], &folder.join("log"), |_| true)
}

/// unbound, which holds nothing yet.
pub fn unbound(namespace: &Namespace, folder: &Path) -> Child {
    let config = folder.join("unbound/unbound.conf").display().to_string();
    namespace.spawn("unbound", &["-d", "-c", &config], &folder.join("unbound/log"), |namespace| {
        let question = [&format!("@{RESOLVER}"), "+tries=1", "+time=1", "+noall", "+comments", "org", "SOA"];
        namespace.ask("dig", &question).contains(" ad;")
    })
}
