//! What the room promises, with certificates that openssl made (tests/golden/certificates) and a world made of values.

mod certificate;
mod kept;
mod keyset;
mod laws;
mod plan;
mod prerequisites;
mod publication;
mod rollover;
mod world;

use super::Chain;
use crate::dns::Name;

/// A PEM file of tests/golden/certificates.
macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../../../tests/golden/certificates/", $name, ".pem"))
    };
}
use pem;

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn chain(pem: &str) -> Chain {
    Chain::parse(pem.as_bytes()).expect("a chain")
}
