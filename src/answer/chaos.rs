//! Class CH: the four names at which a server says what it is (RFC 4892, and BIND's older custom).

use super::message::Message;
use super::query::Query;
use super::settings::Settings;
use crate::dns::Rtype;
use crate::dns::header::{ExtendedError, Rcode};
use crate::dns::name::is_same;

/// Answers a question of class CH: TXT at the four names, REFUSED to all else and where the operator has nothing to say.
pub fn answer(settings: &Settings, query: &Query<'_>, message: &mut Message<'_>) {
    let is_any_of = |names: [&[u8]; 2]| names.iter().any(|name| is_same(name, query.name.as_wire()));
    let text: &[u8] = if is_any_of([b"\x07version\x04bind\x00", b"\x07version\x06server\x00"]) {
        &settings.version
    } else if is_any_of([b"\x02id\x06server\x00", b"\x08hostname\x04bind\x00"]) {
        &settings.identity
    } else {
        &[]
    };
    if text.is_empty() || !matches!(query.qtype, Rtype::TXT | Rtype::ANY) {
        message.rcode(Rcode::Refused);
        message.explain(ExtendedError::NotAuthoritative);
        return;
    }
    message.authoritative();
    if !message.put_chaos_text(text) {
        message.truncated();
    }
}
