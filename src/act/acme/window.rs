//! When a CA wants a certificate renewed (RFC 9773), and revocation: what is asked of a certificate that is there.

use std::ops::RangeInclusive;

use instant_acme::{Error, RevocationReason, RevocationRequest};
use rustls::pki_types::CertificateDer;

use crate::acme::{Event, Problem};
use crate::dns::Timestamp;

use super::account::Session;
use super::order;
use super::problems::{ours, shown};

/// When to ask again where the CA offers no renewal information, seconds.
const NOT_OFFERED: u64 = 86_400;
/// When to ask again after a window that is none (RFC 9773 section 4.3.3), seconds.
const FAILED: u64 = 6 * 3600;
/// How long to wait before asking again, whatever the CA says (RFC 9773 section 4.3.2), seconds.
const AGAIN: RangeInclusive<u64> = 60..=86_400;

/// Asks for the window.
pub async fn ask(session: &Session, ari_id: &str) -> Result<Event, Problem> {
    let now = session.client.now();
    let no_window = |wait: u64| Event::NoWindow { ari_id: ari_id.to_owned(), again: now.saturating_add(wait) };
    let id = order::identifier(ari_id).ok_or_else(|| ours(format!("{ari_id} is no certificate's")))?;
    let (info, again) = match session.account.renewal_info(&id).await {
        Err(Error::Unsupported(_)) => return Ok(no_window(NOT_OFFERED)),
        asked => asked.map_err(|error| session.problem(&error))?,
    };
    let time = |at: i64| Timestamp::try_from(at).unwrap_or(0);
    let (start, end) =
        (time(info.suggested_window.start.unix_timestamp()), time(info.suggested_window.end.unix_timestamp()));
    if start >= end {
        return Ok(no_window(FAILED));
    }
    let again = now.saturating_add(again.as_secs().clamp(*AGAIN.start(), *AGAIN.end()));
    let explanation = info.explanation_url.map(|url| shown(&url));
    Ok(Event::Window { ari_id: ari_id.to_owned(), start, end, again, explanation })
}

/// Revokes a certificate in DER. One that is revoked already is revoked.
pub async fn revoke(session: &Session, certificate: &[u8], reason: u8) -> Result<(), Problem> {
    let reason = Some(of_code(reason)?);
    let certificate = CertificateDer::from(certificate);
    match session.account.revoke(&RevocationRequest { certificate: &certificate, reason }).await {
        Err(error) => {
            let problem = session.problem(&error);
            if problem.is("alreadyRevoked") { Ok(()) } else { Err(problem) }
        }
        Ok(()) => Ok(()),
    }
}

/// The reasons that CAs take from who holds a certificate (RFC 5280 section 5.3.1).
fn of_code(code: u8) -> Result<RevocationReason, Problem> {
    Ok(match code {
        0 => RevocationReason::Unspecified,
        1 => RevocationReason::KeyCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        9 => RevocationReason::PrivilegeWithdrawn,
        _ => return Err(ours(format!("no CA takes reason {code} from who holds a certificate"))),
    })
}
