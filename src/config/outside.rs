//! `[outside]`: by whom danelaw sees how the world sees its zones, and where trust begins.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::check::check_path;
use super::reader::{Problems, Section};
use crate::dns::text::{Word, read_rdata};
use crate::dns::{Name, Rdata, Rtype, verify};
use crate::outside::watched::Hysteresis;

/// A week in seconds.
const WEEK: u64 = 7 * 86_400;
const RESOLVER: &str = "the address of a resolver, such as \"127.0.0.1\" or \"[2001:db8::53]:5300\"";
const ANCHOR: &str = "a DNSKEY record, such as \"example.org. DNSKEY 257 3 13 mdsswUyr3DPW...\"";

/// Whom to ask, and what to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Resolvers that give DNSSEC's records; none: the system's.
    pub resolver: Vec<SocketAddr>,
    /// The zones whose keys are trusted as such, with a DNSKEY of each; none: the root.
    pub anchors: Vec<(Name, Rdata)>,
    /// When what is seen to be wrong counts, and when it is over.
    pub hysteresis: Hysteresis,
    /// The folder that TLS reports come into (RFC 8460).
    pub reports: Option<PathBuf>,
}

pub(super) fn check(mut section: Section<'_>, folder: &Path, problems: &mut Problems<'_>) -> Outside {
    let resolver = section.list("resolver", RESOLVER, problems, |text| {
        let with_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        text.parse::<SocketAddr>().or_else(|_| with_port()).map_err(|_| format!("\"{text}\" is not an address"))
    });
    let anchors = section.list("anchors", ANCHOR, problems, parse_anchor);
    let default = Hysteresis::default();
    let confirm = section.integer("confirm", 1..=100, problems).and_then(|confirm| u32::try_from(confirm).ok());
    let calm = section.duration("calm", 0..=WEEK, problems);
    let reports = check_path(&mut section, "reports", folder, problems);
    section.finish(problems);
    let values = |list: Vec<_>| list.into_iter().map(|(value, _)| value).collect();
    Outside {
        resolver: resolver.map(values).unwrap_or_default(),
        anchors: anchors.map_or(Vec::new(), |anchors| anchors.into_iter().map(|(anchor, _)| anchor).collect()),
        hysteresis: Hysteresis { confirm: confirm.unwrap_or(default.confirm), calm: calm.unwrap_or(default.calm) },
        reports,
    }
}

/// Owner and RDATA; a TTL and the class may stand between, as `dig` prints them.
fn parse_anchor(text: &str) -> Result<(Name, Rdata), String> {
    let mut words = text.split_whitespace();
    let owner = words.next().ok_or("it is empty")?;
    let owner = Name::parse(owner, Some(&Name::root())).map_err(|error| format!("{owner}: {error}"))?;
    let between = |word: &&str| word.eq_ignore_ascii_case("IN") || word.bytes().all(|octet| octet.is_ascii_digit());
    let rtype = words.find(|word| !between(word)).unwrap_or_default();
    if !rtype.eq_ignore_ascii_case("DNSKEY") {
        return Err(format!("\"{text}\" is not a DNSKEY record"));
    }
    let words: Vec<Word<'_>> = words.map(|word| Word::bare(word.as_bytes())).collect();
    let rdata = read_rdata(Rtype::DNSKEY, &words, &Name::root()).map_err(|error| error.to_string())?;
    match rdata.get(3) {
        Some(&algorithm) if verify::is_known(algorithm) => Ok((owner, rdata)),
        _ => Err("signatures of its algorithm can't be checked here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};

    const KEY: &str =
        "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";

    #[test]
    fn resolvers_and_anchors_are_read() {
        let text = format!(
            "[outside]\nresolver = [\"127.0.0.1\", \"[::1]:5353\"]\nanchors = [\"example.org. DNSKEY {KEY}\", \"lab 3600 IN dnskey {KEY}\"]"
        );
        let outside = parse(&text).unwrap().outside;
        assert_eq!(outside.resolver, ["127.0.0.1:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]);
        let owners: Vec<_> = outside.anchors.iter().map(|(owner, key)| (owner.clone(), key.len())).collect();
        assert_eq!(owners, [(name("example.org."), 68), (name("lab."), 68)]);
        assert_eq!(parse("").unwrap().outside, super::Outside::default());
        let outside = parse("[outside]\nconfirm = 3\ncalm = \"1h\"\nreports = \"reports\"").unwrap().outside;
        assert_eq!((outside.hysteresis.confirm, outside.hysteresis.calm), (3, 3600));
        assert!(outside.reports.unwrap().ends_with("reports"));
    }

    #[test]
    fn what_can_not_be_is_said() {
        for (text, expected) in [
            ("resolver = [\"dns.example\"]", "not an address"),
            ("resolver = \"127.0.0.1\"", "must be a list"),
            ("anchors = [\"example.org. DS 1 13 2 00\"]", "not a DNSKEY record"),
            ("anchors = [\"example.org. DNSKEY 257 3 13 =\"]", "DNSKEY"),
            ("anchors = [\"example.org. DNSKEY 257 3 3 AAAA\"]", "can't be checked"),
            ("anchor = []", "did you mean `anchors`?"),
            ("confirm = 0", "from 1 to 100"),
            ("calm = \"8d\"", "calm"),
        ] {
            let message = parse(&format!("[outside]\n{text}")).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
