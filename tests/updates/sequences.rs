//! Generated requests, one after the other, to BIND and to `decide`: the same response codes, and the same zone.

use std::collections::BTreeSet;
use std::time::Instant;

use danelaw::dns::{Rtype, rdata};
use danelaw::update::{Grant, Grants, Request, decide};
use danelaw::zone::Contents;

use super::bind::Bind;
use super::common;
use super::common::wire::Rr;
use super::generate::{Generator, TEXT, ZONE, zone};
use super::message::{IN, Message};

/// A zone is looked at after so many requests.
const EVERY: usize = 5;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What a zone has, as BIND's transfers are read.
pub fn records(contents: &Contents) -> BTreeSet<Rr> {
    let mut all = BTreeSet::new();
    for node in contents.nodes() {
        for record in node.records() {
            let owner = node.owner().to_lowercase().to_string();
            let rdata = rdata::canonical(record.rtype, &record.rdata).into_owned();
            all.insert(Rr { owner, rtype: record.rtype.0, ttl: record.ttl, rdata });
        }
    }
    all
}

/// Does to contents what a request asks for, and counts the serial on where that changes anything; its response code, and whether it did.
pub fn apply(contents: &mut Contents, octets: &[u8]) -> (u8, bool) {
    let everything = Grant::default();
    let grants: Grants<'_> = [&everything].into_iter().collect();
    let done = Request::read(octets).and_then(|request| decide(&request, contents, &grants, &|_, _| false));
    match done {
        Ok(changed) => {
            let is_change = !changed.is_empty();
            changed.into_iter().for_each(|(owner, rrset)| contents.replace(&owner, rrset));
            if is_change {
                let mut soa = contents.soa().unwrap();
                let at = soa.rdatas[0].len() - 20;
                let serial = u32::from_be_bytes(*soa.rdatas[0][at..].first_chunk().unwrap()) + 1;
                soa.rdatas[0][at..at + 4].copy_from_slice(&serial.to_be_bytes());
                contents.replace(&zone(), soa);
            }
            (0, is_change)
        }
        Err(rcode) => (rcode as u8, false),
    }
}

/// Whether a request adds a DS record where nothing is delegated once it is done. BIND takes it away again, and counts the serial on.
fn adds_orphaned_ds(message: &Message, after: &Contents) -> bool {
    let added = message.updates.iter().filter(|raw| raw.class == IN && raw.rtype == Rtype::DS.0);
    added.into_iter().any(|raw| !after.has(&raw.owner, Rtype::NS))
}

#[test]
fn generated_sequences_do_to_a_zone_what_bind_does_with_them() {
    let seed = setting("DANELAW_SEED").unwrap_or(1);
    let count = setting("DANELAW_UPDATES").unwrap_or(3000) as usize;
    println!("DANELAW_SEED={seed} DANELAW_UPDATES={count}");
    let mut bind = Bind::start(&zone(), TEXT);
    let mut contents = common::zone(ZONE, TEXT);
    let mut generator = Generator::new(seed);
    assert_eq!(bind.zone(), records(&contents));
    let (mut rcodes, mut changes, mut since) = ([0; 16], 0, Vec::new());
    let started = Instant::now();
    for number in 0..count {
        let message = generator.request(&contents);
        let octets = message.octets();
        let before = contents.clone();
        let (ours, is_change) = apply(&mut contents, &octets);
        if adds_orphaned_ds(&message, &contents) {
            contents = before;
            continue;
        }
        let theirs = bind.update(&octets);
        assert_eq!(ours, theirs, "request {number}: ours, BIND's\n{message:?}\n{:?}\n{}", records(&before), bind.log());
        rcodes[usize::from(ours)] += 1;
        changes += usize::from(is_change);
        since.push(message);
        if since.len() == EVERY || number + 1 == count {
            let theirs = bind.zone();
            let ours = records(&contents);
            let (lacks, more) =
                (theirs.difference(&ours).collect::<Vec<_>>(), ours.difference(&theirs).collect::<Vec<_>>());
            assert!(theirs == ours, "request {number}: BIND has {lacks:?}, danelaw {more:?}, since\n{since:#?}");
            since.clear();
        }
    }
    println!("{changes} changes in {:?}; by response code: {rcodes:?}", started.elapsed());
    if count < 1000 {
        return;
    }
    // NOERROR, FORMERR, NXDOMAIN, YXDOMAIN, YXRRSET, NXRRSET, NOTZONE: all of them came up, and often.
    for rcode in [0, 1, 3, 6, 7, 8, 10] {
        assert!(rcodes[rcode] * 500 >= count, "response code {rcode}: {} of {count}", rcodes[rcode]);
    }
    assert!(changes * 5 >= count, "{changes} changes in {count} requests");
}
