//! danelaw orders a certificate with a short life by itself and renews it by the clock, under one mail a second: the key is another
//! each time, its record was out before, no mail is put off, and the operator has mails that say what happened.

use std::collections::BTreeSet;
use std::thread::sleep;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::house::{HOST, ZONE, wait_within};
use super::load::{Seen, under_load};
use super::tlsa::{Chain, has, key};
use super::world::{FIRST, RESOLVER, SECOND, Setting, World};
use super::{LONG, QUIET, STAGED, delivers_all};

/// How long a certificate lives, in seconds: a third of it is left when it is renewed.
const LIFE: u64 = 90;
const RENEWALS: usize = 3;

pub fn by_the_clock() {
    let (world, first) = World::ordering(Setting { ordered: Some(LIFE), ..STAGED });
    let mut chains = vec![first];
    let seen = under_load(&world, || {
        sleep(QUIET);
        for _ in 0..RENEWALS {
            chains.push(renewal(&world, &chains[chains.len() - 1]));
        }
        sleep(QUIET);
    });
    delivers_all("three renewals by the clock", &world, &seen);
    has_new_keys(&seen, &chains);
    tells(&world, &chains);
}

/// From one certificate until the next one is presented, and nothing is left of it. Nobody says a word.
fn renewal(world: &World, before: &Chain) -> Chain {
    let next = wait_within(LONG, "a renewed certificate is presented", || {
        world.presented_everywhere().filter(|chain| chain != before)
    });
    for server in [FIRST, SECOND, RESOLVER] {
        wait_within(LONG, "the old record is gone", || (!has(&world.ask(server).ok()?.records, before)).then_some(()));
    }
    next
}

/// Each certificate has a key of its own, whose record the resolver held while the one before was presented still.
fn has_new_keys(seen: &Seen, chains: &[Chain]) {
    let keys: BTreeSet<Vec<u8>> = chains.iter().map(|chain| key(chain)).collect();
    assert_eq!(keys.len(), chains.len());
    for pair in chains.windows(2) {
        let is_before = |sample: &&super::load::Sample| {
            has(&sample.held, &pair[1]) && sample.presented.iter().all(|chain| *chain == pair[0])
        };
        let count = seen.samples.iter().filter(is_before).count();
        assert!(count > 1, "{count}");
    }
}

/// The operator has a mail of each certificate that says which it is, why it is there and how long it is valid; and one that says that
/// it is installed.
fn tells(world: &World, chains: &[Chain]) {
    for (number, chain) in chains.iter().enumerate() {
        let (fingerprint, until) = known_by(chain);
        let (what, why) = match number {
            0 => ("issued", "there was none"),
            _ => ("renewed", "it was time to replace the one before"),
        };
        let issued = [
            format!("{HOST}: certificate: {what}, valid until {until}\n"),
            format!("for {ZONE}, {HOST}\n"),
            format!("SHA-256 fingerprint {fingerprint}\n"),
            format!("It was ordered because {why}.\n"),
        ];
        let installed = [
            format!("{HOST}: certificate installed: certificate "),
            format!("SHA-256 fingerprint {fingerprint}, valid until {until}\n"),
        ];
        for parts in [&issued[..], &installed[..]] {
            wait_within(LONG, &format!("a mail says {parts:?}"), || {
                let notices = notices(&world.mails());
                notices.iter().any(|notice| parts.iter().all(|part| notice.contains(part))).then_some(())
            });
        }
    }
    let mails = world.mails();
    mails.iter().for_each(|mail| println!("{mail}"));
    let notices = notices(&mails);
    let headlines: BTreeSet<&str> = notices.iter().filter_map(|notice| notice.lines().next()).collect();
    assert_eq!(headlines.len(), notices.len(), "nothing is told twice");
    assert!(!headlines.iter().any(|headline| headline.contains("ALARM")), "{headlines:?}");
}

/// The notices of mails, each with a headline that begins with its subject.
fn notices(mails: &[String]) -> Vec<String> {
    // Of quoted-printable there is nothing in them but what breaks lines (RFC 2045 section 6.7).
    let body = |mail: &String| mail.split_once("\n\n").map(|(_, body)| body.replace("=\n", "")).unwrap_or_default();
    let bodies: Vec<String> = mails.iter().map(body).collect();
    let blocks = bodies.iter().flat_map(|body| body.split("\n\n"));
    blocks.filter(|block| block.starts_with(HOST)).map(|block| format!("{block}\n")).collect()
}

/// The SHA-256 fingerprint of a chain's first certificate, and its last moment.
fn known_by(chain: &Chain) -> (String, String) {
    let end = X509Certificate::from_der(&chain[0]).unwrap().1.validity().not_after.to_datetime();
    let until = format!(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        end.year(),
        u8::from(end.month()),
        end.day(),
        end.hour(),
        end.minute(),
        end.second()
    );
    (data_encoding::HEXLOWER.encode(&Sha256::digest(&chain[0])), until)
}
