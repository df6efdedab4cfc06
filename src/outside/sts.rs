//! MTA-STS (RFC 8461): the record that says that a domain has a policy, and the policy. TLS-RPT's record (RFC 8460) is of the same form.

use crate::dns::Name;
use crate::dns::text::show;

/// Where a policy is kept (RFC 8461 section 3.3).
pub const PATH: &str = "/.well-known/mta-sts.txt";
/// The longest that a policy may be kept, in seconds (RFC 8461 section 3.2).
const LONGEST: u64 = 31_557_600;

/// The host that has the policy of a domain (RFC 8461 section 3.3); none where that would be too long, or no host.
pub fn host(domain: &Name) -> Option<Name> {
    let is_host = domain.labels().flatten().all(|octet| is_of_host(*octet));
    domain.prepend(b"mta-sts").ok().filter(|_| is_host)
}

/// Whether an octet may stand in a label of a host's name; `_` is what some have.
fn is_of_host(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')
}

/// What senders do where no MX host passes (RFC 8461 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not deliver.
    Enforce,
    /// They deliver, and report.
    Testing,
    /// There is no policy any more.
    None,
}

/// A policy (RFC 8461 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What comes of a failure.
    pub mode: Mode,
    /// The hosts that may take mail; a wildcard is for one label.
    pub mx: Vec<Name>,
    /// How long it is kept, in seconds.
    pub max_age: u64,
}

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A line without `:`.
    #[error("`{0}` is not a line of a policy: expected key: value")]
    BadLine(String),
    /// `version` is missing or another.
    #[error("version must be STSv1")]
    BadVersion,
    /// `mode` is missing or not known.
    #[error("mode must be enforce, testing or none")]
    BadMode,
    /// `max_age` is missing, no number, or too large.
    #[error("max_age must be a number of seconds, {LONGEST} at most")]
    BadMaxAge,
    /// An `mx` that is no host.
    #[error("`mx: {0}` is no host, and no host with `*` as its first label")]
    BadMx(String),
    /// No `mx` where mail is to come.
    #[error("it has no mx")]
    NoMx,
}

impl Policy {
    /// Reads a policy. Keys that are not known are passed over, and of others than `mx` the first counts (RFC 8461 section 3.2).
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':').ok_or_else(|| PolicyError::BadLine(show(line.as_bytes())))?;
            lines.push((key, value.trim_matches([' ', '\t'])));
        }
        let find = |key: &str| lines.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        if find("version") != Some("STSv1") {
            return Err(PolicyError::BadVersion);
        }
        let mode = match find("mode") {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(PolicyError::BadMode),
        };
        let max_age = find("max_age").filter(|age| age.bytes().all(|octet| octet.is_ascii_digit()));
        let max_age = max_age.and_then(|age| age.parse().ok()).filter(|age| *age <= LONGEST);
        let max_age = max_age.ok_or(PolicyError::BadMaxAge)?;
        let mx = lines.iter().filter(|(key, _)| *key == "mx").map(|(_, value)| pattern(value));
        let mx: Vec<Name> = mx.collect::<Result<_, _>>()?;
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::NoMx);
        }
        Ok(Policy { mode, mx, max_age })
    }

    /// Whether an MX host is one of the policy's (RFC 8461 section 4.1).
    pub fn has(&self, host: &Name) -> bool {
        self.mx.iter().any(|mx| mx == host || (mx.is_wildcard() && host.parent() == mx.parent()))
    }
}

fn pattern(value: &str) -> Result<Name, PolicyError> {
    let host = value.strip_prefix("*.").unwrap_or(value);
    let is_host = host.bytes().all(|octet| octet == b'.' || is_of_host(octet));
    let name = if is_host { value.parse().ok() } else { None };
    name.filter(|name: &Name| !host.is_empty() && !name.is_root())
        .ok_or_else(|| PolicyError::BadMx(show(value.as_bytes())))
}

/// The records among TXT values that are of a version: those that begin with `v=<version>;` (RFC 8461 section 3.1, RFC 8460 section 3).
pub fn of_version<'a>(values: &'a [Vec<u8>], version: &str) -> Vec<&'a [u8]> {
    let is_one = |value: &&[u8]| {
        let text = value.strip_prefix(b"v=").and_then(|rest| rest.strip_prefix(version.as_bytes()));
        text.is_some_and(|rest| rest.trim_ascii_start().starts_with(b";"))
    };
    values.iter().map(Vec::as_slice).filter(is_one).collect()
}

/// The fields of such a record after its version: name and value. None where it is not of that form.
pub fn fields(record: &[u8]) -> Option<Vec<(&str, &str)>> {
    let text = str::from_utf8(record).ok()?.trim_end_matches([' ', '\t']);
    let text = text.strip_suffix(';').unwrap_or(text);
    let fields = text.split(';').skip(1).map(|field| field.trim_matches([' ', '\t']).split_once('='));
    fields.map(|field| field.filter(|(name, value)| is_name(name) && is_value(value))).collect()
}

fn is_name(name: &str) -> bool {
    let mut octets = name.bytes();
    octets.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() <= 32
        && octets.all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.'))
}

/// Whether it is what a field may hold; a list has spaces in it (RFC 8460 section 3).
fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|octet| matches!(octet, b' ' | b'\t' | b'!'..=b'~'))
}

/// Whether a record of MTA-STS can be read: it has an `id` of letters and digits, 32 at most (RFC 8461 section 3.1).
pub fn is_record(record: &[u8]) -> bool {
    let is_id = |id: &str| (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
    fields(record).is_some_and(|fields| fields.iter().find(|(name, _)| *name == "id").is_some_and(|(_, id)| is_id(id)))
}

/// Where a record of TLS-RPT has reports sent (RFC 8460 section 3); none where it can't be read.
pub fn destinations(record: &[u8]) -> Option<Vec<&str>> {
    let rua = fields(record)?.into_iter().find(|(name, _)| *name == "rua")?.1;
    let is_destination = |uri: &&str| {
        let (scheme, rest) = uri.split_once(':').unwrap_or_default();
        let is_mail =
            scheme.eq_ignore_ascii_case("mailto") && rest.split_once('@').is_some_and(|(_, host)| !host.is_empty());
        let is_web = scheme.eq_ignore_ascii_case("https") && rest.len() > 2 && rest.starts_with("//");
        (is_mail || is_web) && !uri.contains([' ', '\t', '!'])
    };
    rua.split(',').map(|uri| Some(uri.trim()).filter(is_destination)).collect()
}
