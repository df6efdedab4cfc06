//! Signed queries (RFC 8945): who asks is known by a key, and what he gets is signed with it. They are off the fast path.

use tracing::warn;

use super::Occasionally;
use crate::answer::{self, Context, Seen, Signature};
use crate::dns::header::Rcode;
use crate::dns::tsig::{Checked, Fault, Keyring, Rejection, Signer, verify};
use crate::zone::Snapshot;

/// Answers a query, signed where it is. What [`answer::respond`] is without keys.
pub fn respond(
    snapshot: &Snapshot,
    context: &Context<'_>,
    keys: &Keyring,
    query: &[u8],
    out: &mut [u8],
) -> Option<(usize, Seen)> {
    let (length, seen) = answer::respond(snapshot, context, query, out)?;
    match seen.signature {
        Signature::Unverified => respond_signed(snapshot, context, keys, query, out),
        _ => Some((length, seen)),
    }
}

/// Once more, since the signature takes room of its own: what was written before it was looked at is thrown away.
#[cold]
fn respond_signed(
    snapshot: &Snapshot,
    context: &Context<'_>,
    keys: &Keyring,
    query: &[u8],
    out: &mut [u8],
) -> Option<(usize, Seen)> {
    match verify(query, keys, context.now) {
        Checked::Unsigned => reject(context, Rejection::MALFORMED, query, out),
        Checked::Bad(rejection) => reject(context, rejection, query, out),
        Checked::Good(mut signer) => {
            let context = context.signed(signer.added());
            let (length, seen) = answer::respond(snapshot, &context, query, out)?;
            Some((signer.sign(out, length, context.now)?, seen))
        }
    }
}

/// A response without records, signed where the request was.
pub fn say(
    context: &Context<'_>,
    rcode: Rcode,
    signer: Option<Signer>,
    request: &[u8],
    out: &mut [u8],
) -> Option<(usize, Seen)> {
    let Some(mut signer) = signer else { return answer::refuse(context, request, rcode, 0, out) };
    let behind = signer.added();
    let (length, seen) = answer::refuse(&context.signed(behind), request, rcode, behind, out)?;
    Some((signer.sign(out, length, context.now)?, seen))
}

/// Answers a request that is not believed: FORMERR, or NOTAUTH and why (RFC 8945 section 5.3.2).
pub fn reject(context: &Context<'_>, rejection: Rejection, request: &[u8], out: &mut [u8]) -> Option<(usize, Seen)> {
    let fault = rejection.fault();
    tell(context, &rejection);
    let (length, seen) = answer::refuse(context, request, rejection.rcode(), rejection.added(), out)?;
    let length = rejection.finish(out, length, context.now)?;
    Some((length, Seen { signature: Signature::Refused(fault), ..seen }))
}

/// A wrong key is somebody's mistake more often than an attack, and he may be told of only one of many.
fn tell(context: &Context<'_>, rejection: &Rejection) {
    static TOLD: [Occasionally; 5] = [const { Occasionally::new() }; 5];
    let (fault, peer) = (rejection.fault(), context.peer);
    let told = match fault {
        Fault::Malformed => &TOLD[0],
        Fault::BadSig => &TOLD[1],
        Fault::BadKey => &TOLD[2],
        Fault::BadTime => &TOLD[3],
        Fault::BadTrunc => &TOLD[4],
    };
    told.run(|before| match rejection.key_name() {
        Some(key) => warn!("TSIG: {fault} to {peer}, key {key} ({before} times before)"),
        None => warn!("TSIG: {fault} to {peer} ({before} times before)"),
    });
}
