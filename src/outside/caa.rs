//! CAA (RFC 8659): whether an authority is left that may issue a certificate for a host.

use crate::dns::Rdata;
use crate::dns::text::show;

/// The tags that authorities know: those of RFC 8659 section 4, RFC 9495, and of the CA/Browser Forum.
const KNOWN: [&str; 6] = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"];
/// The flag of a property that has to be understood (RFC 8659 section 4.1).
const CRITICAL: u8 = 128;

/// What a CAA RRset says of who may issue for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuers {
    /// Everybody: nothing restricts.
    All,
    /// These, by their names.
    Only(Vec<String>),
    /// Nobody.
    Nobody,
    /// Nobody, since a tag that has to be understood is not known.
    Critical(String),
    /// A record can't be read; which.
    Malformed(String),
}

/// A property (RFC 8659 section 4.1).
struct Property<'a> {
    flags: u8,
    tag: &'a str,
    value: &'a [u8],
}

fn property(rdata: &[u8]) -> Option<Property<'_>> {
    let [flags, length, rest @ ..] = rdata else { return None };
    let (tag, value) = rest.split_at_checked(usize::from(*length))?;
    let is_tag = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
    Some(Property { flags: *flags, tag: str::from_utf8(tag).ok().filter(|_| is_tag)?, value })
}

/// What the RRset says (RFC 8659 sections 4.2, 4.3 and 4.5); of a wildcard `issuewild` does, where there is any.
pub fn issuers(records: &[Rdata], is_wildcard: bool) -> Issuers {
    let (mut only, mut wild): (Option<Vec<String>>, Option<Vec<String>>) = (None, None);
    for rdata in records {
        let Some(Property { flags, tag, value }) = property(rdata) else {
            return Issuers::Malformed(show(rdata));
        };
        let is = |known: &str| tag.eq_ignore_ascii_case(known);
        if flags & CRITICAL != 0 && !KNOWN.iter().any(|known| is(known)) {
            return Issuers::Critical(show(tag.as_bytes()));
        }
        if is("issue") {
            only.get_or_insert_default().extend(issuer(value));
        } else if is("issuewild") {
            wild.get_or_insert_default().extend(issuer(value));
        }
    }
    match if is_wildcard { wild.or(only) } else { only } {
        None => Issuers::All,
        Some(only) if only.is_empty() => Issuers::Nobody,
        Some(only) => Issuers::Only(only),
    }
}

/// Whom an `issue` names. Nobody, where its value is not of the form that it has to have (RFC 8659 section 4.2).
fn issuer(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?;
    let (issuer, parameters) = text.split_once(';').unwrap_or((text, ""));
    let issuer = issuer.trim_matches([' ', '\t']);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    let is_parameter = |parameter: &str| {
        let parameter = parameter.trim_matches([' ', '\t']);
        let (tag, value) = parameter.split_once('=').unwrap_or_default();
        parameter.is_empty()
            || is_label(tag.trim_end_matches([' ', '\t']))
                && value.trim_start_matches([' ', '\t']).bytes().all(|octet| octet.is_ascii_graphic() && octet != b';')
    };
    let has_form = issuer.split('.').all(is_label) && parameters.split(';').all(is_parameter);
    has_form.then(|| show(issuer.as_bytes()))
}
