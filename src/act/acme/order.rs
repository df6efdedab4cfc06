//! An order at the CA, a function a step (RFC 8555 section 7.4). Each looks at the order by its URL first and does what is left to
//! do, so that it may be done again: after a crash, a lost answer, a refused nonce.

use std::collections::BTreeSet;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error, Identifier, NewOrder,
    OrderStatus,
};

use crate::dns::Name;

use super::account::Session;
use super::problems::ours;
use crate::acme::{Problem, Proof, Status};
use crate::crash;

/// How often the proofs of an order that was just made are asked for again when the CA refuses a nonce.
const REFUSED: usize = 20;

/// An order that was made.
pub struct Made {
    /// Where it is.
    pub url: String,
    /// What has to be in the zones.
    pub proofs: Vec<Proof>,
}

/// Makes an order.
pub async fn make(
    session: &Session,
    names: &BTreeSet<Name>,
    replaces: Option<&str>,
    profile: Option<&str>,
) -> Result<Made, Problem> {
    let identifiers: Vec<Identifier> =
        names.iter().map(|name| Identifier::Dns(name.to_lowercase().to_host())).collect();
    if let Some(profile) = profile
        && !session.account.profiles().any(|known| known.name == profile)
    {
        let mut known: Vec<&str> = session.account.profiles().map(|known| known.name).collect();
        known.sort_unstable();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let detail = format!("the CA has no profile {profile}; it has: {known}");
        return Err(Problem { kind: Some("invalidProfile".to_owned()), ..ours(detail) });
    }
    let plain = || match profile {
        None => NewOrder::new(&identifiers),
        Some(profile) => NewOrder::new(&identifiers).profile(profile),
    };
    let mut made = match replaces.and_then(identifier) {
        None => session.account.new_order(&plain()).await,
        Some(replaces) => match session.account.new_order(&plain().replaces(replaces)).await {
            Err(error) if is_about_replacing(&error) => session.account.new_order(&plain()).await,
            made => made,
        },
    }
    .map_err(|error| if replaces.is_some() { session.heard(&error) } else { session.problem(&error) })?;
    crash::point("acme: the CA has made the order");
    let url = made.url().to_owned();
    let mut found = proofs(session, &mut made, names).await;
    // The step done again would be another order.
    for _ in 0..REFUSED {
        match found {
            Err(problem) if problem.is("badNonce") => {}
            found => return Ok(Made { url, proofs: found? }),
        }
        found = match open(session, &url).await {
            Ok(mut made) => proofs(session, &mut made, names).await,
            Err(problem) => Err(problem),
        };
    }
    Ok(Made { url, proofs: found? })
}

/// The identifier of a certificate by its text (RFC 9773 section 4.1).
pub(super) fn identifier(text: &str) -> Option<CertificateIdentifier<'_>> {
    let (authority, serial) = text.split_once('.')?;
    Some(CertificateIdentifier { authority_key_identifier: authority.into(), serial: serial.into() })
}

/// It is a hint (RFC 9773 section 5): a CA without it, or one that counts a lost order as the successor, is asked without.
fn is_about_replacing(error: &Error) -> bool {
    match error {
        Error::Unsupported(_) => true,
        Error::Api(problem) => problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":alreadyReplaced")),
        Error::Other(why) => why.to_string().starts_with("replaces field mismatch"),
        _ => false,
    }
}

async fn proofs(
    session: &Session,
    order: &mut instant_acme::Order,
    names: &BTreeSet<Name>,
) -> Result<Vec<Proof>, Problem> {
    let proven = |name: &Name| name.to_lowercase().to_host().trim_start_matches("*.").to_owned();
    let asked: BTreeSet<String> = names.iter().map(proven).collect();
    let mut proofs = BTreeSet::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| session.problem(&error))?;
        let name = name_of(authorization.identifier().identifier);
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => return Err(ours(format!("the authorization for {name} is {other:?} in a new order"))),
        }
        // Whoever stands in the CA's place gets no record at another name.
        let Some(name) = Some(name.to_ascii_lowercase()).filter(|name| asked.contains(name)) else {
            return Err(ours(format!("the CA wants a proof for {name}, which was not ordered")));
        };
        let challenge = authorization.challenge(ChallengeType::Dns01);
        let challenge = challenge.ok_or_else(|| ours(format!("the CA takes no proof by DNS for {name}")))?;
        let value = challenge.key_authorization().dns_value();
        let name = name.parse().map_err(|_| ours(format!("{name} is no name")))?;
        proofs.insert(Proof { name, value });
    }
    Ok(proofs.into_iter().collect())
}

/// Says of each name that its proof is there, where that was not said before.
pub async fn say_ready(session: &Session, url: &str) -> Result<Status, Problem> {
    let mut order = open(session, url).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| session.problem(&error))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01)
            && challenge.status == ChallengeStatus::Pending
        {
            challenge.set_ready().await.map_err(|error| session.problem(&error))?;
            crash::point("acme: the CA is told of a proof");
        }
    }
    status(session, url).await
}

/// How far an order is.
pub async fn status(session: &Session, url: &str) -> Result<Status, Problem> {
    let mut order = open(session, url).await?;
    Ok(match order.state().status {
        OrderStatus::Pending => Status::Pending,
        OrderStatus::Ready => Status::Ready,
        OrderStatus::Processing => Status::Processing,
        OrderStatus::Valid => Status::Valid,
        OrderStatus::Invalid => Status::Invalid(why_invalid(session, &mut order).await?),
    })
}

/// The order says it seldom; the challenge that failed does.
async fn why_invalid(session: &Session, order: &mut instant_acme::Order) -> Result<Problem, Problem> {
    if let Some(problem) = &order.state().error {
        return Ok(session.client.told(problem));
    }
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(|error| session.problem(&error))?;
        let name = name_of(authorization.identifier().identifier);
        if let Some(error) = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            let mut problem = session.client.told(error);
            problem.detail = format!("{name}: {}", problem.detail);
            return Ok(problem);
        }
    }
    Ok(ours("the CA has given the order up, and says no reason"))
}

/// Sends the request for the certificate, in DER, where the CA waits for one.
pub async fn finalize(session: &Session, url: &str, request: &[u8]) -> Result<Status, Problem> {
    let mut order = open(session, url).await?;
    if order.state().status == OrderStatus::Ready {
        order.finalize_csr(request).await.map_err(|error| session.problem(&error))?;
        crash::point("acme: the CA has the request");
    }
    status(session, url).await
}

/// Fetches the chain in PEM.
pub async fn fetch(session: &Session, url: &str) -> Result<String, Problem> {
    let mut order = open(session, url).await?;
    if order.state().status != OrderStatus::Valid {
        return Err(ours(format!("the order is {:?}, not valid", order.state().status)));
    }
    let chain = order.certificate().await.map_err(|error| session.problem(&error))?;
    crash::point("acme: the chain is fetched");
    chain.ok_or_else(|| ours("the order is still processed"))
}

async fn open(session: &Session, url: &str) -> Result<instant_acme::Order, Problem> {
    session.account.order(url.to_owned()).await.map_err(|error| session.problem(&error))
}

fn name_of(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
