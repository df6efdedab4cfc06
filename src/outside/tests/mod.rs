//! The rules of this room, one file each.

mod absent;
mod addressed;
mod caa;
mod chain;
mod dmarc;
mod domain;
mod host;
mod neighbours;
mod reports;
mod service;
mod sts;
mod watched;
mod zone;

use super::*;

#[test]
fn a_fault_is_spelled_alike_for_machines_and_people() {
    for fault in Fault::ALL {
        assert_eq!(serde_json::to_value(fault).unwrap(), fault.to_string());
    }
    assert_eq!(Fault::DsMissing.to_string(), "ds-missing");
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}
