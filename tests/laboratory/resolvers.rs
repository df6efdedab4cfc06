//! Validating resolvers, each told the laboratory's root servers and their key, and nothing else.

use super::namespace::Namespace;
use super::universe::{RESOLVER, Universe};

pub fn unbound(universe: &mut Universe) {
    let config = format!(
        "server:\n  directory: \"\"\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
         interface: {RESOLVER}\n  access-control: 0.0.0.0/0 allow\n  module-config: \"validator iterator\"\n  \
         root-hints: \"{}\"\n  trust-anchor: \". DS {}\"\n  val-log-level: 2\nremote-control:\n  control-enable: no\n",
        universe.hints(),
        universe.anchor
    );
    let config = universe.file("unbound.conf", &config);
    start(universe, "unbound", &["-d", "-c", &config]);
}

pub fn pdns_recursor(universe: &mut Universe) {
    let anchor = format!("clearTA('.')\naddTA('.', \"{}\")\n", universe.anchor);
    let folder = universe.folder.path().to_str().unwrap().to_owned();
    let config = format!(
        "local-address={RESOLVER}\nquery-local-address=0.0.0.0, ::\nallow-from=0.0.0.0/0\nhint-file={}\n\
         dnssec=validate\ndnssec-log-bogus=yes\nlua-config-file={}\nsocket-dir={folder}\nsecurity-poll-suffix=\n\
         daemon=no\nthreads=1\n",
        universe.hints(),
        universe.file("anchor.lua", &anchor)
    );
    universe.file("recursor.conf", &config);
    start(universe, "pdns_recursor", &[&format!("--config-dir={folder}")]);
}

pub fn knot_resolver(universe: &mut Universe) {
    let folder = universe.folder.path().join("kresd");
    std::fs::create_dir(&folder).unwrap();
    let config = format!(
        "net.listen('{RESOLVER}', 53, {{ kind = 'dns' }})\ntrust_anchors.remove('.')\n\
         trust_anchors.add('. 3600 IN DS {}')\nmodules = {{ 'hints > iterate' }}\nhints.root_file('{}')\n\
         cache.size = 10 * MB\n",
        universe.anchor,
        universe.hints()
    );
    let config = universe.file("kresd.conf", &config);
    start(universe, "kresd", &["-n", "-c", &config, folder.to_str().unwrap()]);
}

/// It is up when it has validated the root's own SOA.
fn start(universe: &mut Universe, program: &str, arguments: &[&str]) {
    let log = universe.folder.path().join(format!("{program}.log"));
    universe.namespace.start(program, arguments, &log, |namespace: &Namespace| {
        let server = format!("@{RESOLVER}");
        let said = namespace.ask("dig", &[&server, "+tries=1", "+time=1", "+noall", "+comments", ".", "SOA"]);
        said.contains("status: NOERROR") && said.contains(" ad;")
    });
}
