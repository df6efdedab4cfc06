//! Correct against others: the example zones before ldns, BIND, Knot and NSD. Each of them has to be installed.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod generate;
mod keys;
mod mutate;
mod options;
mod parse;
mod series;
mod signatures;
mod tools;

use danelaw::dns::Rtype;
use danelaw::zone::{Published, print};

/// A zone's dump with HIP in the form that RFC 3597 section 5 has for unknown types: Knot 3.2 and NSD 4.6 don't know its name.
fn dump_with_generic_hip(published: &Published) -> String {
    print::published(published).lines().map(|line| generic_hip(published, line) + "\n").collect()
}

fn generic_hip(published: &Published, line: &str) -> String {
    let fields: Vec<&str> = line.splitn(5, '\t').collect();
    let [owner, ttl, class, rtype, rdata] = fields[..] else { panic!("not a record: {line}") };
    match rtype {
        "HIP" => {
            let hip = published.set(&common::name(owner), Rtype::HIP).unwrap();
            let generic = danelaw::dns::text::print_rdata_generic(&hip.rrset.rdatas[0]);
            format!("{owner}\t{ttl}\t{class}\tTYPE55\t{generic}")
        }
        "RRSIG" if rdata.starts_with("HIP ") => format!("{owner}\t{ttl}\t{class}\tRRSIG\tTYPE55{}", &rdata[3..]),
        "NSEC" | "NSEC3" => format!("{owner}\t{ttl}\t{class}\t{rtype}\t{}", rdata.replace(" HIP", " TYPE55")),
        _ => line.to_owned(),
    }
}
