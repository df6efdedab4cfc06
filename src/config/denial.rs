//! `denial` and the parameters of NSEC3, of the server or of one zone.

use super::reader::{Problems, Section};
use crate::zone::Denial;
use crate::zone::denial::nsec3::{MAX_ITERATIONS, Parameters};

/// What absence is proven by. The parameters of NSEC3 mean nothing under NSEC: to set one of them there is a mistake.
pub(super) fn check_denial(section: &mut Section<'_>, denial: &mut Denial, problems: &mut Problems<'_>) {
    let hashed = section.choice("denial", &[("nsec", false), ("nsec3", true)], problems);
    let hashed = hashed.unwrap_or(*denial != Denial::Nsec);
    let mut parameters = match denial {
        Denial::Nsec3(parameters) => parameters.clone(),
        Denial::Nsec => Parameters::default(),
    };
    let iterations = section.integer("nsec3-iterations", 0..=u64::from(MAX_ITERATIONS), problems);
    if let Some(iterations) = iterations.and_then(|iterations| u16::try_from(iterations).ok()) {
        parameters.iterations = iterations;
    }
    let expected = "up to 255 octets in hexadecimal, or \"-\" for none, which is best (RFC 9276 section 3.1)";
    if let Some(salt) = section.parsed("nsec3-salt", expected, problems, parse_salt) {
        parameters.salt = salt;
    }
    if let Some(opt_out) = section.boolean("nsec3-opt-out", problems) {
        parameters.opt_out = opt_out;
    }
    let set = ["nsec3-iterations", "nsec3-salt", "nsec3-opt-out"].into_iter().find(|key| section.has(key));
    if let Some(key) = set.filter(|_| !hashed && parameters != Parameters::default()) {
        let message = format!("`{key}` without NSEC3");
        problems.error(section.span_of(key), message, "denial = \"nsec3\" beside it, or leave it out");
    }
    *denial = if hashed { Denial::Nsec3(parameters) } else { Denial::Nsec };
}

fn parse_salt(text: &str) -> Result<Box<[u8]>, String> {
    let hex = if text == "-" { "" } else { text };
    let salt = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
    let salt = salt.map_err(|_| format!("\"{text}\" is not hexadecimal"))?;
    if salt.len() > usize::from(u8::MAX) {
        return Err(format!("{} octets are too many", salt.len()));
    }
    Ok(salt.into())
}
