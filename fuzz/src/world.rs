//! Zones of every kind beside, above and below each other, for packets to be asked of.

use std::sync::LazyLock;

use danelaw::dns::Name;
use danelaw::zone::print::published;
use danelaw::zone::sign::Policy;
use danelaw::zone::{Contents, Denial, Draft, Published, Snapshot, ZoneSnapshot};

use super::signing::{KEY, NOW, built, denials, sign, with_key, zone};

const CORNERS: &str = include_str!("../../zones/corners.example.zone");
const TYPES: &str = include_str!("../../zones/types.example.zone");

/// What the corners lack: a child that is served here, names that only lead to delegations, a chain that is longer than any that is followed.
const MORE: &str = "
child NS ns.child
 DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ns.child A 192.0.2.70
x.deep NS ns
y.deeper.deep NS ns.y.deeper.deep
ns.y.deeper.deep A 192.0.2.3
z.mixed NS ns1
a.b.mixed TXT here
*.mixed TXT wild
*.wide.wild CNAME ns1
p DNAME q
q DNAME p
self DNAME x.self
*.unsigned CNAME ns1.plain.example.
many 60 A 192.0.2.80
$GENERATE 1-30 many A 192.0.2.$
$GENERATE 1-14 step$ CNAME step${1}
$GENERATE 1-13 cut NS ns$.cut
$GENERATE 1-13 ns$.cut A 192.0.2.$
$GENERATE 1-13 ns$.cut AAAA 2001:db8::$
";
const CHILD: &str = "$TTL 300\n@ SOA ns h 2 2 3 4 5\n NS ns\nns A 192.0.2.71\nwww A 192.0.2.72\n*.w TXT wild\nback CNAME ns1.corners.example.\n";
const ROOT: &str = "$TTL 300\n. SOA ns. h. 1 2 3 4 5\n. NS ns.\nns. A 192.0.2.1\n*.z. MX 1 ns.\nexample. NS ns.\ntest. NS ns.test.\nns.test. A 192.0.2.2\n";

/// Apexes of zones without signatures.
pub const UNSIGNED: &str = "plain.example.";

/// Everything, without the root zone and with it.
pub static SNAPSHOTS: LazyLock<[Snapshot; 2]> = LazyLock::new(|| {
    let [nsec, nsec3, opt_out] = denials();
    let corners = format!("{CORNERS}{MORE}");
    let signed = |origin: &str, text: &str, denial: Denial| sign(&zone(origin, text), &*KEY, denial).unwrap();
    let elsewhere = published(&signed("presigned.example", &corners, nsec3.clone()));
    let zones = [
        signed("corners.example", &corners, nsec.clone()),
        signed("child.corners.example", CHILD, nsec3.clone()),
        signed("hashed.example", &corners, nsec3),
        signed("optout.example", &corners, opt_out),
        signed("types.example", TYPES, nsec.clone()),
        unsigned(&zone("plain.example", &corners)),
        unsigned(&zone("presigned.example", &elsewhere)),
    ];
    let stale = vec![Name::parse("hashed.example", None).unwrap()];
    let snapshot = Snapshot::new(zones.iter().map(built), [Name::parse("broken.example", None).unwrap()]);
    let snapshot = snapshot.with(changed(&corners).into()).with_stale(stale);
    let with_root = snapshot.with(built(&signed(".", ROOT, nsec)));
    [snapshot, with_root]
});

fn unsigned(contents: &Contents) -> Published {
    Draft::unsigned(contents).unwrap().finish(7).unwrap()
}

/// A zone that became what it is step by step, each at the cost of its difference.
fn changed(text: &str) -> ZoneSnapshot {
    let signers = [&*KEY as _];
    let versions = ["", "new.a.b.ent TXT x\n", "new.a.b.ent TXT y\nalias2 CNAME alias\n", "alias2 A 192.0.2.9\n"];
    let mut versions = versions.iter().map(|more| with_key(&zone("changed.example", &format!("{text}{more}")), &*KEY));
    let mut contents = versions.next().unwrap();
    let draft = Draft::signed(&contents, &signers, None, Policy::default(), NOW).unwrap();
    let mut last = draft.finish(1).unwrap();
    let mut laid_out = ZoneSnapshot::build(&last).unwrap();
    for (serial, next) in (2..).zip(versions) {
        let draft = Draft::changed((&contents, &next), &signers, &last, Policy::default(), NOW).unwrap();
        let fresh = draft.unwrap().finish(serial).unwrap();
        laid_out = ZoneSnapshot::after(Some(&laid_out), &fresh).unwrap();
        (contents, last) = (next, fresh);
    }
    laid_out
}
