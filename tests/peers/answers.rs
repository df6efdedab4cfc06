//! Every name, type and DO bit of the example zones, asked of danelaw and of NSD that serves the same signed bytes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::rtype::TYPES;
use danelaw::dns::{Name, Rtype};
use danelaw::zone::{Published, Snapshot};

use super::common::wire::{self, DNSSEC, PLAIN, Response, Rr, TCP};
use super::common::{EXAMPLES, example, free_port, name, server, sign, snapshot};

struct Nsd {
    child: Child,
    address: SocketAddr,
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // A server that ended by itself has nothing left to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_nsd(zones: &[Published], folder: &Path) -> Nsd {
    let port = free_port();
    let folder_text = folder.display();
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder_text}\"\n  \
         database: \"\"\n  pidfile: \"{folder_text}/nsd.pid\"\n  xfrdfile: \"{folder_text}/xfrd\"\n  \
         zonelistfile: \"{folder_text}/zone.list\"\n  ipv4-edns-size: 1232\n  minimal-responses: no\n  server-count: 1\n  \
         rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n\
         remote-control:\n  control-enable: no\n"
    );
    for zone in zones {
        let file = format!("{}.signed", zone.origin.to_host());
        std::fs::write(folder.join(&file), super::dump_with_generic_hip(zone)).unwrap();
        config += &format!("zone:\n  name: {}\n  zonefile: {file}\n", zone.origin);
    }
    std::fs::write(folder.join("nsd.conf"), config).unwrap();
    let child = Command::new("nsd")
        .args(["-d", "-c", &format!("{folder_text}/nsd.conf")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("nsd.log")).unwrap())
        .spawn()
        .expect("nsd is needed here (`.ci/run` installs what the tests need)");
    let nsd = Nsd { child, address: SocketAddr::from(([127, 0, 0, 1], port)) };
    let probe = wire::query(zones[0].origin.as_wire(), 6, PLAIN);
    let deadline = Instant::now() + Duration::from_secs(10);
    while wire::exchange(nsd.address, &probe, true).is_none() {
        let log = std::fs::read_to_string(folder.join("nsd.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "nsd does not answer:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    nsd
}

/// Every owner and empty non-terminal, and names beside, below and between them.
fn names(zones: &[Published]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for zone in zones {
        for owner in zone.nodes.keys() {
            names.insert(owner.clone());
            names.extend(owner.ancestors().take_while(|above| above.is_at_or_below(&zone.origin)));
            for label in ["0", "zzz", "*", "a.b"] {
                let below = label.rsplit('.').try_fold(owner.clone(), |name, label| name.prepend(label.as_bytes()));
                names.extend(below);
            }
        }
    }
    names.insert(name("unserved.test"));
    names
}

/// A difference that an RFC decides for us, or that both allow. What is not listed fails the test.
fn reconcile(rtype: Rtype, ours: &mut Response, theirs: &mut Response) {
    // NSD adds the apex's NS RRset to the authority section of positive answers, and the addresses of its targets. RFC 1034 section
    // 4.3.2 asks for neither; a minimal response is what RFC 9715 section 3.2 recommends.
    let positive = ours.rcode == 0 && !ours.answer.is_empty() && ours.aa;
    if positive {
        let ns = |record: &Rr| record.rtype == Rtype::NS.0 || covers(record, Rtype::NS);
        theirs.authority.retain(|record| !ns(record) || ours.authority.contains(record));
    }
    // The additional section is a courtesy outside referrals (RFC 2181 section 9): what both give has to be equal, and is a matter of
    // room.
    if ours.aa || ours.tc {
        ours.additional.clear();
        theirs.additional.clear();
    }
    // RFC 2181 section 9: after TC the rest of the message means nothing.
    if ours.tc && theirs.tc {
        for response in [ours, theirs] {
            response.answer.clear();
            response.authority.clear();
            response.length = 0;
        }
        return;
    }
    let has = |rtype: Rtype| ours.answer.iter().any(|record| record.rtype == rtype.0);
    // RFC 1034 section 3.6.2: a CNAME is followed for every type but its own. NSD makes an exception of NSEC3 and says NODATA.
    if rtype == Rtype::NSEC3 && has(Rtype::CNAME) && theirs.answer.is_empty() {
        theirs.answer.clone_from(&ours.answer);
        theirs.authority.clone_from(&ours.authority);
        theirs.rcode = ours.rcode;
    }
    // RFC 4035 section 3.1.3.2: NXDOMAIN is proven by an NSEC that covers the name and one that covers the wildcard. Behind a DNAME
    // NSD leaves out the former.
    if ours.rcode == 3 && has(Rtype::DNAME) && theirs.authority.is_subset(&ours.authority) {
        theirs.authority.clone_from(&ours.authority);
    }
    ours.length = 0;
    theirs.length = 0;
}

fn covers(record: &Rr, rtype: Rtype) -> bool {
    record.rtype == Rtype::RRSIG.0 && record.rdata[..2] == rtype.0.to_be_bytes()
}

#[test]
fn answers_equal_nsds_for_every_name_type_and_do_bit() {
    let folder = tempfile::tempdir().unwrap();
    let zones: Vec<Published> =
        EXAMPLES.iter().map(|origin| sign(&example(origin), Algorithm::EcdsaP256Sha256)).collect();
    let ours = server::serve(Snapshot::new(zones.iter().map(snapshot), []));
    let nsd = start_nsd(&zones, folder.path());

    let types: Vec<Rtype> = TYPES.iter().map(|info| info.rtype).chain([Rtype(65280)]).collect();
    let mut differences = Vec::new();
    let mut asked = 0;
    for name in names(&zones) {
        for &rtype in &types {
            for ask in [PLAIN, DNSSEC, TCP] {
                asked += 1;
                let mut answer = wire::ask(ours, name.as_wire(), rtype.0, ask);
                let mut expected = wire::ask(nsd.address, name.as_wire(), rtype.0, ask);
                reconcile(rtype, &mut answer, &mut expected);
                if answer != expected {
                    differences.push(format!(
                        "{name} {rtype} DO={} TCP={}\n  danelaw {answer:?}\n  nsd     {expected:?}",
                        ask.dnssec, ask.tcp
                    ));
                }
            }
        }
    }
    assert!(asked > 10_000, "only {asked} questions");
    assert!(
        differences.is_empty(),
        "{} of {asked} answers differ; the first:\n{}",
        differences.len(),
        differences[..differences.len().min(6)].join("\n")
    );
}
