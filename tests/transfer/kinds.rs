//! BIND, Knot and NSD as primaries: servers of zone files that tell of changes and let whoever has the key transfer.

use std::path::{Path, PathBuf};

use super::common::program::Program;
use super::common::run;
use super::house::{HEAD, wait_until};

/// The TSIG key's name.
pub const KEY: &str = "transfer.test";

/// A server that a zone comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bind,
    Knot,
    Nsd,
}

/// One that runs until this is dropped, in a folder with its zones' files.
pub struct Primary {
    pub port: u16,
    pub folder: PathBuf,
    pub program: Program,
}

/// What is said on both sides.
pub struct Sides<'a> {
    pub port: u16,
    pub secret: &'a str,
    /// Where danelaw is told of changes.
    pub danelaw: u16,
    pub zones: &'a [String],
}

impl Kind {
    pub fn start(self, sides: &Sides<'_>, put: impl Fn(&Path)) -> Primary {
        let temporary = tempfile::tempdir().unwrap();
        let (port, folder) = (sides.port, temporary.path().to_owned());
        put(&folder);
        let (name, arguments, config): (_, &[&str], _) = match self {
            Kind::Bind => ("named", &["-g", "-n", "1", "-c"], bind(&folder, sides)),
            Kind::Knot => ("knotd", &["-c"], knot(&folder, sides)),
            Kind::Nsd => ("nsd", &["-d", "-c"], nsd(&folder, sides)),
        };
        let program = Program::start(temporary, name, arguments, &config);
        let primary = Primary { port, folder, program };
        for zone in sides.zones {
            wait_until(&format!("{self:?} has {zone}"), || primary.serial(zone).is_some());
        }
        primary
    }
}

impl Primary {
    pub fn serial(&self, zone: &str) -> Option<u32> {
        let port = self.port.to_string();
        // It may not be there yet.
        let said = run("dig", &["@127.0.0.1", "-p", &port, "+short", "+tries=1", "+time=1", zone, "SOA"]).stdout;
        String::from_utf8(said).ok()?.split_whitespace().nth(2)?.parse().ok()
    }
}

fn bind(folder: &Path, Sides { port, secret, danelaw, zones }: &Sides<'_>) -> String {
    let mut config = format!(
        "key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
         options {{\n  directory \"{}\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  notify explicit;\n  \
         notify-delay 0;\n  also-notify {{ 127.0.0.1 port {danelaw} key {KEY}; }};\n  \
         allow-transfer {{ key {KEY}; }};\n}};\ncontrols {{ }};\n",
        folder.display()
    );
    for zone in *zones {
        config += &format!("zone \"{zone}\" {{ type primary; file \"{zone}\"; ixfr-from-differences yes; }};\n");
    }
    config
}

fn knot(folder: &Path, Sides { port, secret, danelaw, zones }: &Sides<'_>) -> String {
    let folder = folder.display();
    let mut config = format!(
        "server:\n  listen: 127.0.0.1@{port}\n  rundir: \"{folder}\"\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\ndatabase:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         remote:\n  - id: danelaw\n    address: 127.0.0.1@{danelaw}\n    key: {KEY}\n\
         acl:\n  - id: danelaw\n    key: {KEY}\n    action: transfer\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    file: \"%s\"\n    notify: danelaw\n    acl: danelaw\n    \
         zonefile-load: difference\n    zonefile-sync: -1\n    journal-content: changes\nzone:\n"
    );
    for zone in *zones {
        config += &format!("  - domain: \"{zone}\"\n");
    }
    config
}

fn nsd(folder: &Path, Sides { port, secret, danelaw, zones }: &Sides<'_>) -> String {
    let folder = folder.display();
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  \
         database: \"\"\n  pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  xfrdir: \"{folder}\"\n  \
         zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  verbosity: 2\nremote-control:\n  control-enable: no\n\
         key:\n  name: \"{KEY}\"\n  algorithm: hmac-sha256\n  secret: \"{secret}\"\n"
    );
    for zone in *zones {
        config += &format!(
            "zone:\n  name: \"{zone}\"\n  zonefile: \"{zone}\"\n  provide-xfr: 127.0.0.1 {KEY}\n  \
             notify: 127.0.0.1@{danelaw} {KEY}\n  store-ixfr: yes\n  create-ixfr: yes\n"
        );
    }
    config
}

/// Puts a file where a server looks for it: whole or not at all, and never with the time of the one before.
pub fn put(folder: &Path, zone: &str, text: &str) {
    let path = folder.join(zone);
    let fresh = folder.join(format!("{zone}.new"));
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// A zone's head with a serial and timers.
pub fn head(serial: u32, timers: &str) -> String {
    HEAD.replace("hostmaster 1 4h 1h 2w", &format!("hostmaster {serial} {timers}"))
}
