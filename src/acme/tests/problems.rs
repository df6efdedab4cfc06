//! A CA's problems in plain words.

use crate::acme::Problem;
use crate::acme::problem::{Follows, meaning};

/// RFC 8555 section 6.7, RFC 8739 section 6.2, RFC 9773 section 7.4, and the profiles of the Internet-Draft.
const KINDS: [&str; 30] = [
    "accountDoesNotExist",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
    "autoRenewalCanceled",
    "autoRenewalExpired",
    "autoRenewalCancellationInvalid",
    "autoRenewalRevocationNotSupported",
    "alreadyReplaced",
    "invalidProfile",
];

#[test]
fn each_type_has_a_sentence_and_something_to_do() {
    for kind in KINDS {
        let meaning = meaning(kind).expect(kind);
        assert!(meaning.says.len() > 20 && !meaning.says.ends_with('.'), "{kind}");
        assert!(meaning.todo.ends_with('.'), "{kind}");
    }
    assert_eq!(meaning("teapot"), None);
}

#[test]
fn what_only_the_operator_can_mend_does_not_say_that_nothing_is_to_be_done() {
    for kind in KINDS {
        let meaning = meaning(kind).expect(kind);
        assert!(meaning.follows != Follows::Operator || !meaning.todo.starts_with("Nothing to do"), "{kind}");
    }
}

#[test]
fn a_problem_says_what_is_wrong_in_the_ca_s_words_and_ours() {
    let problem = |kind: Option<&str>, detail: &str| {
        Problem { kind: kind.map(str::to_owned), detail: detail.to_owned(), ..Problem::default() }.plain()
    };
    assert_eq!(
        problem(Some("userActionRequired"), "Terms changed: https://ca.example/terms."),
        "the CA wants a person to do something first, often to agree to new terms (userActionRequired: Terms changed: \
         https://ca.example/terms). Follow the address in the CA's words."
    );
    assert_eq!(
        problem(Some("caa"), ""),
        "a CAA record forbids the CA to issue (caa). Add the CA to the CAA records of the domain, or remove them; mind those \
         of the zones above."
    );
    assert!(problem(Some("unauthorized"), "no TXT").contains("did not find the proof (unauthorized: no TXT)"));
    assert_eq!(problem(None, "connection refused"), "connection refused. It is tried again.");
    assert!(problem(Some("teapot"), "short and stout").contains("the CA says teapot: short and stout"));
}

#[test]
fn what_is_wrong_with_the_account_is_not_told_as_a_missing_proof() {
    for kind in ["unauthorized", "malformed"] {
        let problem = Problem { kind: Some(kind.to_owned()), detail: "unknown kid".to_owned(), ..Problem::default() };
        let refused = problem.of_account();
        let said = refused.plain();
        assert!(said.contains("eab-key-id") && said.contains(&format!("{kind}: unknown kid")), "{said}");
        assert!(!said.contains("proof") && refused.follows() == Follows::Operator, "{said}");
    }
    let other = Problem { kind: Some("rateLimited".to_owned()), ..Problem::default() };
    assert_eq!(other.clone().of_account(), other);
}
