//! Every name, type and DO bit of the example zones, asked of danelaw and of NSD that serves the same signed bytes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::rtype::TYPES;
use danelaw::dns::{Name, Rtype};
use danelaw::zone::{Contents, Denial, Draft, Published, Snapshot};

use super::common::wire::{self, DNSSEC, PLAIN, Response, Rr, TCP};
use super::common::{EXAMPLES, delegations, denials, example, free_port, hashes, name, server, sign_denying, snapshot};

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
        let file = format!("{}.signed", zone.origin().to_host());
        std::fs::write(folder.join(&file), super::dump_with_generic_hip(zone)).unwrap();
        config += &format!("zone:\n  name: {}\n  zonefile: {file}\n", zone.origin());
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
    let probe = wire::query(zones[0].origin().as_wire(), 6, PLAIN);
    let deadline = Instant::now() + Duration::from_secs(10);
    while wire::exchange(nsd.address, &probe, true).is_none() {
        let log = std::fs::read_to_string(folder.join("nsd.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "nsd does not answer:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
    nsd
}

/// Every owner and empty non-terminal, every NSEC3's owner, and names beside, below and between them.
fn names(zones: &[Published]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for zone in zones {
        names.extend(hashes(zone).into_iter().flat_map(|owner| [owner.prepend(b"0"), Ok(owner)]).flatten());
        let owners = zone.sets().filter(|(_, set)| set.rrset.rtype != Rtype::NSEC3).map(|(owner, _)| owner);
        for owner in owners {
            names.insert(owner.clone());
            names.extend(owner.ancestors().take_while(|above| above.is_at_or_below(zone.origin())));
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
fn reconcile(name: &Name, rtype: Rtype, ours: &mut Response, theirs: &mut Response) {
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
    let has = |rtype: Rtype| ours.answer.iter().any(|record| record.rtype == rtype.0);
    // RFC 1034 section 3.6.2: a CNAME is followed for every type but its own. NSD makes an exception of NSEC3 and says NODATA.
    if rtype == Rtype::NSEC3 && has(Rtype::CNAME) && theirs.answer.is_empty() {
        theirs.answer.clone_from(&ours.answer);
        theirs.authority.clone_from(&ours.authority);
        theirs.rcode = ours.rcode;
        theirs.tc = ours.tc;
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
    // RFC 4035 section 3.1.3.2: NXDOMAIN is proven by an NSEC that covers the name and one that covers the wildcard. Behind a DNAME
    // NSD leaves out the former.
    let has_dname = ours.answer.iter().any(|record| record.rtype == Rtype::DNAME.0);
    if ours.rcode == 3 && has_dname && theirs.authority.is_subset(&ours.authority) {
        theirs.authority.clone_from(&ours.authority);
    }
    let hashed = |response: &Response| response.authority.iter().any(|record| record.rtype == Rtype::NSEC3.0);
    if hashed(ours) {
        // RFC 5155 section 7.2.3: NODATA at a name that exists is proven by the NSEC3 that matches it. At a wildcard that is asked for by its
        // own name NSD adds the closest encloser's.
        if name.is_wildcard() && ours.rcode == 0 && ours.authority.is_subset(&theirs.authority) {
            theirs.authority.clone_from(&ours.authority);
        }
        // RFC 5155 section 7.2.4: that a name which opt-out leaves out has no DS is proven by the closest encloser and the NSEC3 that covers the
        // name one label longer. For an empty non-terminal NSD leaves out the latter.
        if rtype == Rtype::DS && ours.rcode == 0 && hashed(theirs) && theirs.authority.is_subset(&ours.authority) {
            theirs.authority.clone_from(&ours.authority);
        }
        // RFC 5155 section 7.2.8: an NSEC3's owner is no name of the zone, so it encloses nothing (section 1.3). NSD knows that of the name, and
        // takes it for an encloser of names below it, with a proof that validates nowhere.
        let below_hash = name.parent().is_some_and(|parent| parent.labels().next().is_some_and(is_hash));
        if below_hash && ours.rcode == 3 && theirs.rcode == 3 {
            theirs.authority.clone_from(&ours.authority);
        }
    }
    ours.length = 0;
    theirs.length = 0;
}

/// Whether a label looks like a hash of NSEC3.
fn is_hash(label: &[u8]) -> bool {
    data_encoding::BASE32_DNSSEC.decode(label).is_ok_and(|hash| hash.len() == 20)
}

fn covers(record: &Rr, rtype: Rtype) -> bool {
    record.rtype == Rtype::RRSIG.0 && record.rdata[..2] == rtype.0.to_be_bytes()
}

fn contents() -> Vec<Contents> {
    EXAMPLES.iter().map(|origin| example(origin)).chain([delegations()]).collect()
}

fn signed(denial: &Denial) -> Vec<Published> {
    EXAMPLES.iter().map(|origin| sign_denying(&example(origin), Algorithm::EcdsaP256Sha256, denial.clone())).collect()
}

#[test]
fn answers_equal_nsds_under_nsec() {
    compare("nsec", &signed(&denials()[0].1));
}

#[test]
fn answers_equal_nsds_under_nsec3() {
    compare("nsec3", &signed(&denials()[1].1));
}

#[test]
fn answers_equal_nsds_under_nsec3_with_opt_out() {
    compare("nsec3 with opt-out", &signed(&denials()[2].1));
}

#[test]
fn answers_equal_nsds_of_unsigned_zones() {
    let unsigned = |contents: &Contents| Draft::unsigned(contents).unwrap().finish(1).unwrap();
    compare("unsigned", &contents().iter().map(unsigned).collect::<Vec<_>>());
}

/// What one response has and the other lacks.
fn but(one: &Response, other: &Response) -> String {
    let records = |one: &BTreeSet<Rr>, other: &BTreeSet<Rr>| format!("{:?}", one.difference(other).collect::<Vec<_>>());
    format!(
        "rcode {} AA {} TC {} answer {} authority {} additional {}",
        one.rcode,
        one.aa,
        one.tc,
        records(&one.answer, &other.answer),
        records(&one.authority, &other.authority),
        records(&one.additional, &other.additional)
    )
}

/// Every name, type and DO bit.
pub fn compare(kind: &str, zones: &[Published]) {
    let folder = tempfile::tempdir().unwrap();
    let ours = server::serve(Snapshot::new(zones.iter().map(snapshot), []));
    let nsd = start_nsd(zones, folder.path());

    let types: Vec<Rtype> = TYPES.iter().map(|info| info.rtype).chain([Rtype(65280)]).collect();
    let mut differences = Vec::new();
    let mut asked = 0;
    for name in names(zones) {
        for &rtype in &types {
            for ask in [PLAIN, DNSSEC, TCP] {
                asked += 1;
                let mut answer = wire::ask(ours, name.as_wire(), rtype.0, ask);
                let mut expected = wire::ask(nsd.address, name.as_wire(), rtype.0, ask);
                reconcile(&name, rtype, &mut answer, &mut expected);
                if answer != expected {
                    differences.push(format!(
                        "{name} {rtype} DO={} TCP={}\n  danelaw {}\n  nsd     {}",
                        ask.dnssec,
                        ask.tcp,
                        but(&answer, &expected),
                        but(&expected, &answer)
                    ));
                }
            }
        }
    }
    assert!(asked > 10_000, "only {asked} questions");
    assert!(
        differences.is_empty(),
        "{kind}: {} of {asked} answers differ; the first:\n{}",
        differences.len(),
        differences[..differences.len().min(6)].join("\n")
    );
}
