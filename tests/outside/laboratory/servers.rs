//! Configurations of the laboratory's servers: Knot and NSD as secondaries, unbound from the root on, one Postfix at all addresses.

use std::fmt::Write;
use std::path::Path;

use super::faults::{BEYOND, CUSTOMER};
use super::zones::{Mail, Second, Zone};
use super::{DANELAW, KNOT, MAIL, NSD, ORG, RESOLVER, ROOT};

/// danelaw's.
pub fn danelaw(zones: &[Zone], anchors: &[&str]) -> String {
    let mut addresses: Vec<&str> = MAIL.to_vec();
    addresses.extend(zones.iter().flat_map(|zone| zone.addresses.iter().map(String::as_str)));
    let mut config = format!(
        "listen = [\"{DANELAW}:53\"]\naddresses = {addresses:?}\n[dane]\nttl = \"30m\"\ndnssec = \"parent\"\nmail-service = \"declared\"\n\
         [[certificates]]\npath = \"certs\"\nmode = \"observed\"\n[outside]\nresolver = [\"{RESOLVER}\"]\nanchors = {anchors:?}\n\
         [secondary.\"ns2.org\"]\naddresses = [\"{NSD}\"]\n[secondary.\"ns3.org\"]\naddresses = [\"{KNOT}\"]\n\
         [domain.\"{CUSTOMER}\"]\nhosts = [\"mail.{BEYOND}.org\"]\ndkim-selectors = [\"s1\"]\n"
    );
    for zone in zones {
        let key = if zone.table.contains("signing") { "" } else { "key = \"shared.pem\"\n" };
        let _ = write!(config, "[zone.\"{}\"]\n{key}{}", zone.name(), zone.table);
    }
    config
}

/// The zones of NSD, the second server of all domains. `are_copied`: some have files of their own there.
pub fn second(zones: &[Zone], are_copied: bool) -> String {
    let follows =
        format!("  request-xfr: {DANELAW} NOKEY\n  allow-notify: 0.0.0.0/0 NOKEY\n  outgoing-interface: {NSD}\n");
    let tables = zones.iter().filter_map(|zone| {
        let name = zone.name();
        match zone.second {
            Second::Nothing if are_copied => None,
            Second::Follows => Some(format!("  name: {name}\n  zonefile: {name}\n{follows}")),
            _ if are_copied => Some(format!("  name: {name}\n  zonefile: {name}.copy\n")),
            _ => Some(format!("  name: {name}\n  zonefile: {name}\n{follows}")),
        }
    });
    tables.collect::<Vec<_>>().join("zone:\n")
}

/// Knot, the third one.
pub fn knot(folder: &Path, zones: &[Zone]) -> String {
    let folder = folder.display();
    let mut config = format!(
        "server:\n  listen: {KNOT}@53\n  rundir: \"{folder}\"\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\n\
         remote:\n  - id: primary\n    address: {DANELAW}@53\n    via: {KNOT}\n\
         acl:\n  - id: primary\n    action: notify\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    master: primary\n    acl: primary\nzone:\n"
    );
    for zone in zones {
        let _ = writeln!(config, "  - domain: \"{}\"", zone.name());
    }
    config
}

/// unbound; what it asks of org it asks of one server.
pub fn unbound(folder: &Path, anchor: &Path) -> String {
    std::fs::write(folder.join("hints"), format!(". 3600 NS a.rootns.\na.rootns. 3600 A {ROOT}\n")).unwrap();
    format!(
        "server:\n  directory: \"\"\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  interface: {RESOLVER}\n  \
         access-control: 0.0.0.0/0 allow\n  module-config: \"validator iterator\"\n  do-not-query-localhost: no\n  \
         root-hints: \"{}\"\n  trust-anchor-file: \"{}\"\n  val-log-level: 2\nremote-control:\n  control-enable: no\n\
         stub-zone:\n  name: org\n  stub-addr: {ORG}\n",
        folder.join("hints").display(),
        anchor.display()
    )
}

/// Postfix: `main.cf`, and a service for every address.
pub fn postfix(zones: &[Zone], presented: &Path) -> (String, String) {
    let main = format!(
        "myhostname = mail.whole.org\nmydestination = example.invalid\nmynetworks =\ninet_protocols = all\nlocal_recipient_maps =\n\
         local_transport = error:nobody\nsmtpd_peername_lookup = no\nsmtpd_relay_restrictions = reject_unauth_destination\n\
         smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {}\n",
        presented.join("shared.pem").display()
    );
    let mut services: String = MAIL.iter().map(|address| service(address, "")).collect();
    for zone in zones {
        match &zone.mail {
            Mail::Postfix(options) => {
                services.extend(zone.addresses.iter().zip(options).map(|(address, options)| service(address, options)));
            }
            Mail::Half(options) => services += &service(&zone.addresses[0], options),
            Mail::Shared | Mail::Says(_) | Mail::Nobody | Mail::Silence | Mail::Unreachable => {}
        }
    }
    (main, services)
}

fn service(address: &str, options: &str) -> String {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("{address}:25 inet n - n - - smtpd{options}\n")
}
