//! What a CA's problem means (RFC 8555 section 6.7), what to do about it, and what the machine does.

use super::facts::Problem;

/// What follows from a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The same is asked for again at once: it says nothing of the order.
    AtOnce,
    /// The same is asked for again later.
    Later,
    /// The order is asked for before anything else.
    Look,
    /// The order is lost; another one is made later.
    Anew,
    /// Another order, later, and nothing changes until the operator does something.
    Operator,
}

/// A type of problem in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What is wrong.
    pub says: &'static str,
    /// What to do.
    pub todo: &'static str,
    /// What the machine does.
    pub follows: Follows,
}

/// The type of a problem with the account itself, which CAs call by one that says something else of an order. It is danelaw's own.
pub const REFUSED: &str = "accountRefused";

const NOTHING: &str = "It is tried again.";
const DEFECT: &str = "Nothing helps here but a newer danelaw or another CA: report it with the CA's words.";

/// What a type of problem means, without its URN's prefix. None: it is not known here.
pub fn meaning(kind: &str) -> Option<Meaning> {
    use Follows::{Anew, AtOnce, Later, Look, Operator};
    let (says, todo, follows) = match kind {
        "accountDoesNotExist" => (
            "the CA does not know the account, or has deactivated it",
            "Ask the CA why; a new account is made when the account's file in the state folder is moved away.",
            Operator,
        ),
        REFUSED => (
            "the CA does not let the account do this, or makes none",
            "The CA's words say why; where it wants its customers only, look whether `eab-key-id` and `eab-key-file` are what it shows.",
            Operator,
        ),
        "alreadyRevoked" => ("the certificate is revoked already", "Nothing to do.", Later),
        "badCSR" => (
            "the CA does not take the certificate request",
            "Look whether it takes this key type and these names.",
            Anew,
        ),
        "badNonce" => ("the CA wants another anti-replay nonce", NOTHING, AtOnce),
        "badPublicKey" => (
            "the CA does not take the key: weak, of a type that it does not sign, or known to be compromised",
            "`danelaw certificate rotate` takes another key; or choose another key type.",
            Operator,
        ),
        "badRevocationReason" => (
            "the CA does not take this reason for a revocation",
            "Revoke it with another reason, or without one.",
            Operator,
        ),
        "badSignatureAlgorithm" => {
            ("the CA does not know the signature algorithm of the account's key", DEFECT, Operator)
        }
        "caa" => (
            "a CAA record forbids the CA to issue",
            "Add the CA to the CAA records of the domain, or remove them; mind those of the zones above.",
            Operator,
        ),
        "compound" => ("several names failed, each for its own reason", "Look at each of the reasons.", Anew),
        "connection" => (
            "the CA could not reach a server that it looked for the proof at",
            "Look whether every nameserver of the domain answers from outside, over UDP and TCP.",
            Anew,
        ),
        "dns" => (
            "the CA could not look up the proof",
            "Look at the delegation, DNSSEC and the nameservers of the domain: `danelaw check --online`.",
            Anew,
        ),
        "externalAccountRequired" => (
            "the CA takes only accounts that are bound to one of its customers",
            "Configure the key id and the MAC key that the CA gives its customers (external account binding).",
            Operator,
        ),
        "incorrectResponse" => (
            "the CA found another proof than the right one",
            "Look whether every nameserver shows the same TXT at _acme-challenge, and who else puts one there.",
            Anew,
        ),
        "invalidContact" => {
            ("the CA does not take the account's contact", "Configure an e-mail address that exists.", Operator)
        }
        "malformed" => ("the CA does not understand the request, or does not know the order any more", NOTHING, Anew),
        "orderNotReady" => ("the CA has not seen every proof yet", NOTHING, Look),
        "rateLimited" => (
            "too much was asked of the CA",
            "Nothing to do, if it can wait: it is tried again when the CA allows it. The CA's words say which of its limits it is.",
            Later,
        ),
        "rejectedIdentifier" => (
            "the CA does not issue for one of the names",
            "Look whether the name is spelt right and public; else take it out or choose another CA.",
            Operator,
        ),
        "serverInternal" => ("the CA has trouble of its own", NOTHING, Later),
        "tls" => (
            "the CA could not speak TLS with a server that it looked at",
            "Look at the certificate and TLS of that server.",
            Anew,
        ),
        "unauthorized" => (
            "the CA did not find the proof",
            "The nameservers that are known here showed the TXT at _acme-challenge, which stands only as long as an order waits for it: \
             look whether the delegation leads to others (`danelaw check --online`).",
            Anew,
        ),
        "unprovable" => (
            "the proof of a name can stand nowhere, so there is no order",
            "It is tried again; at once with `danelaw certificate order`.",
            Operator,
        ),
        "unsupportedContact" => (
            "the CA does not take this kind of contact",
            "Configure an e-mail address as the contact, or none.",
            Operator,
        ),
        "unsupportedIdentifier" => {
            ("the CA does not issue for this kind of name", "Take out the name, or choose another CA.", Operator)
        }
        "userActionRequired" => (
            "the CA wants a person to do something first, often to agree to new terms",
            "Follow the address in the CA's words.",
            Operator,
        ),
        "autoRenewalCanceled" => ("the CA was told to renew no more", NOTHING, Anew),
        "autoRenewalExpired" => ("the order under which the CA renews by itself is over", NOTHING, Anew),
        "autoRenewalCancellationInvalid" => ("the CA does not renew this order by itself", NOTHING, Anew),
        "autoRenewalRevocationNotSupported" => {
            ("the CA revokes no certificate that it renews by itself", "Wait until it expires.", Operator)
        }
        "alreadyReplaced" => ("the CA has an order that replaces this certificate already", NOTHING, Anew),
        "invalidProfile" => {
            ("the CA does not offer the profile", "Configure a `profile` that it offers, or none.", Operator)
        }
        _ => return None,
    };
    Some(Meaning { says, todo, follows })
}

impl Problem {
    /// What follows from it. Without a problem document nothing is known of the order; with one of an unknown type it is lost.
    pub fn follows(&self) -> Follows {
        match &self.kind {
            None => Follows::Later,
            Some(kind) => meaning(kind).map_or(Follows::Anew, |meaning| meaning.follows),
        }
    }

    /// The same of an account: what is meant where no order is looked at.
    #[must_use]
    pub fn of_account(mut self) -> Problem {
        if let Some(kind @ ("unauthorized" | "malformed")) = self.kind.as_deref() {
            self.detail = format!("{kind}: {}", self.detail);
            self.kind = Some(REFUSED.to_owned());
        }
        self
    }

    /// In plain words: what is wrong, the CA's own words, and what to do.
    pub fn plain(&self) -> String {
        let detail = self.detail.trim().trim_end_matches('.');
        let Some(kind) = &self.kind else { return format!("{detail}. It is tried again.") };
        match meaning(kind) {
            Some(Meaning { says, todo, .. }) if detail.is_empty() => format!("{says} ({kind}). {todo}"),
            Some(Meaning { says, todo, .. }) => format!("{says} ({kind}: {detail}). {todo}"),
            None => format!("the CA says {kind}: {detail}. It is tried again; what to do is in the CA's words"),
        }
    }
}
