//! CAA (RFC 8659): whether an authority is left that may issue a certificate for a host; and, of one that is known, whether it may for an
//! account and by a way of proving (RFC 8657).

use crate::dns::text::show;
use crate::dns::{Name, Rdata};

/// The tags that authorities know: those of RFC 8659 section 4, RFC 9495, and of the CA/Browser Forum.
const KNOWN: [&str; 6] = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"];
/// How names are proven here (RFC 8555 section 8.4).
pub const METHOD: &str = "dns-01";
/// The flag of a property that has to be understood (RFC 8659 section 4.1).
const CRITICAL: u8 = 128;
/// What may stand around the parts of a value.
const BLANK: [char; 2] = [' ', '\t'];

/// What a CAA RRset says of who may issue for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuers {
    /// Everybody: nothing restricts.
    All,
    /// These.
    Only(Vec<Issuer>),
    /// Nobody.
    Nobody,
    /// Nobody, since a tag that has to be understood is not known.
    Critical(String),
    /// A record can't be read; which.
    Malformed(String),
}

/// Whom a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The name that the authority is known by.
    pub name: String,
    /// What it restricts besides: tags and values.
    pub parameters: Vec<(String, String)>,
}

/// Who wants a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Applicant<'a> {
    /// The names that its authority is known by.
    pub identities: &'a [String],
    /// The URI of its account there; none: that is not known yet.
    pub account: Option<&'a str>,
    /// How it proves names (RFC 8555 section 9.7.8).
    pub method: &'a str,
}

impl Issuer {
    /// Whether it is the applicant's authority, and may issue to it (RFC 8657 sections 3 and 4). Of an account that is not known yet that
    /// can't be told, and the authority looks itself.
    pub fn permits(&self, applicant: &Applicant<'_>) -> bool {
        let values = |tag: &str| {
            let of_tag = self.parameters.iter().filter(|(other, _)| other.eq_ignore_ascii_case(tag));
            of_tag.map(|(_, value)| &value[..]).collect::<Vec<_>>()
        };
        let is_account = match &values("accounturi")[..] {
            [] => true,
            [uri] => applicant.account.is_none_or(|account| account == *uri),
            _ => false,
        };
        let has_method = |methods: &&str| methods.split(',').any(|method| method == applicant.method);
        applicant.identities.iter().any(|identity| identity.eq_ignore_ascii_case(&self.name))
            && is_account
            && values("validationmethods").iter().all(has_method)
    }
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
    let (mut only, mut wild): (Option<Vec<Issuer>>, Option<Vec<Issuer>>) = (None, None);
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

/// What to do where the records at a name forbid it; none: they don't. `place`: words on where that is, behind the record to add.
pub fn remedy(
    at: &Name,
    place: &str,
    records: &[Rdata],
    is_wildcard: bool,
    applicant: &Applicant<'_>,
) -> Option<String> {
    match issuers(records, is_wildcard) {
        Issuers::All => None,
        Issuers::Only(only) if only.iter().any(|issuer| issuer.permits(applicant)) => None,
        Issuers::Only(_) | Issuers::Nobody => {
            let tag = if is_wildcard && has_wild(records) { "issuewild" } else { "issue" };
            let identity = applicant.identities.first()?;
            Some(format!("add {at} CAA 0 {tag} \"{identity}\"{place}"))
        }
        Issuers::Critical(tag) => Some(format!(
            "a CAA record at {at}{place} has the tag `{tag}`, which has to be understood and is not: correct the tag, or its flags to 0"
        )),
        Issuers::Malformed(rdata) => Some(format!("a CAA record at {at}{place} can't be read, correct it: `{rdata}`")),
    }
}

/// Whether there are other rules for wildcards.
fn has_wild(records: &[Rdata]) -> bool {
    records.iter().any(|rdata| rdata.get(2..11).is_some_and(|tag| tag.eq_ignore_ascii_case(b"issuewild")))
}

/// Whom an `issue` names. Nobody, where its value is not of the form that it has to have (RFC 8659 section 4.2).
fn issuer(value: &[u8]) -> Option<Issuer> {
    let text = str::from_utf8(value).ok()?;
    let (issuer, parameters) = text.split_once(';').unwrap_or((text, ""));
    let issuer = issuer.trim_matches(BLANK);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    let parameter = |text: &str| {
        let (tag, value) = text.split_once('=')?;
        let (tag, value) = (tag.trim_end_matches(BLANK), value.trim_start_matches(BLANK));
        let has_form = is_label(tag) && value.bytes().all(|octet| octet.is_ascii_graphic() && octet != b';');
        has_form.then(|| (tag.to_owned(), value.to_owned()))
    };
    let parameters = parameters.split(';').map(|text| text.trim_matches(BLANK)).filter(|text| !text.is_empty());
    let parameters: Vec<_> = parameters.map(parameter).collect::<Option<_>>()?;
    issuer.split('.').all(is_label).then(|| Issuer { name: show(issuer.as_bytes()), parameters })
}
