//! Accounts at CAs: one for each directory, made once, its key in `<state>/acme`, for its owner alone. What is refused by the CA is
//! told and never replaced by a new account: that is the operator's to decide.

use std::path::{Path, PathBuf};

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::act::messages::Secret;
use crate::dns::Timestamp;

use super::blocking;
use super::client::Client;
use super::files;
use super::problems::ours;
use crate::acme::Problem;
use crate::crash;

/// The folder of all accounts within the state's.
pub const ACCOUNTS: &str = "acme";
/// The form of an account's file.
const VERSION: u32 = 1;
/// Octets that an account's file needs at most, about.
const ROOM: usize = 4096;

/// With whom, as whom.
#[derive(Debug)]
pub struct Settings {
    /// The CA's directory: an HTTPS URL.
    pub directory: String,
    /// URLs by which the CA reaches the operator, `mailto:` as a rule.
    pub contacts: Vec<String>,
    /// The account that the CA knows already (RFC 8555 section 7.3.4).
    pub external: Option<External>,
    /// Roots in PEM that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The state's folder.
    pub state: PathBuf,
}

/// An account that was made elsewhere.
#[derive(Debug)]
pub struct External {
    /// The key's identifier.
    pub key_id: String,
    /// The key in base64url, as CAs show it.
    pub key: Secret,
}

impl Settings {
    /// Where the account's key lies.
    pub fn path(&self) -> PathBuf {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(self.directory.as_bytes()));
        self.state.join(ACCOUNTS).join(format!("{}.json", &digest[..16]))
    }
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    contacts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external: Option<String>,
    credentials: AccountCredentials,
}

/// An account that is open, and what is heard over it.
pub struct Session {
    /// The account.
    pub account: Account,
    /// Its client.
    pub client: Client,
    /// Where its key lies.
    path: PathBuf,
}

impl Session {
    /// Opens the account, which is made when there is none; other contacts are told to the CA.
    pub async fn open(settings: &Settings, now: fn() -> Timestamp) -> Result<Session, Problem> {
        let client = Client::new(settings.ca_file.as_deref(), now)?;
        let path = settings.path();
        let reading = path.clone();
        let account = match blocking(move || kept(&reading)).await? {
            Some(kept) => reopen(settings, kept, &client, path.clone()).await?,
            None => make(settings, &client, path.clone()).await?,
        };
        Ok(Session { account, client, path })
    }

    /// An error in plain words. What answers a request says nothing of a proof: it is the account that may not.
    pub fn problem(&self, error: &instant_acme::Error) -> Problem {
        match self.heard(error) {
            problem if problem.is("unauthorized") => problem.of_account(),
            problem => problem,
        }
    }

    /// The same, as the CA calls it: it may not be the account.
    pub fn heard(&self, error: &instant_acme::Error) -> Problem {
        problem(&self.client, &self.path, error)
    }
}

/// The URI by which the CA knows the account; none: there is none yet.
pub(super) async fn uri(settings: &Settings) -> Result<Option<String>, Problem> {
    let path = settings.path();
    let Some(kept) = blocking(move || kept(&path)).await? else { return Ok(None) };
    let credentials = serde_json::to_value(&kept.credentials).map_err(ours)?;
    Ok(credentials.get("id").and_then(|id| id.as_str()).map(str::to_owned))
}

fn problem(client: &Client, path: &Path, error: &instant_acme::Error) -> Problem {
    let mut problem = client.problem(error);
    if problem.is("accountDoesNotExist") {
        let (path, detail) = (path.display(), problem.detail.trim_end_matches('.'));
        problem.detail = format!("{detail}; to make a new account: mv {path} {path}.before");
    }
    problem
}

/// What is lost between the CA's answer and the disk is an account that nobody uses.
async fn make(settings: &Settings, client: &Client, path: PathBuf) -> Result<Account, Problem> {
    let trying = path.clone();
    blocking(move || try_to_keep(&trying)).await?;
    let contacts: Vec<&str> = settings.contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let external = settings.external.as_ref().map(External::key).transpose()?;
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let made = builder.create(&new, settings.directory.clone(), external.as_ref()).await;
    let (account, credentials) = made.map_err(|error| client.problem(&error).of_account())?;
    crash::point("acme: the CA has made the account");
    let external = settings.external.as_ref().map(|external| external.key_id.clone());
    let kept = Kept { version: VERSION, contacts: settings.contacts.clone(), external, credentials };
    blocking(move || keep(&path, &kept)).await?;
    crash::point("acme: the account is kept");
    Ok(account)
}

async fn reopen(settings: &Settings, mut kept: Kept, client: &Client, path: PathBuf) -> Result<Account, Problem> {
    let external = settings.external.as_ref().map(|external| external.key_id.as_str());
    if external.is_some() && external != kept.external.as_deref() {
        let path = path.display();
        let was = kept.external.as_deref().unwrap_or("none");
        return Err(ours(format!(
            "the account was made with another external account ({was}): to make a new one, mv {path} {path}.before"
        )));
    }
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let credentials = again(&kept.credentials).map_err(ours)?;
    let account = builder.from_credentials(credentials).await.map_err(|error| problem(client, &path, &error))?;
    if kept.contacts != settings.contacts {
        let contacts: Vec<&str> = settings.contacts.iter().map(String::as_str).collect();
        account.update_contacts(&contacts).await.map_err(|error| problem(client, &path, &error).of_account())?;
        kept.contacts.clone_from(&settings.contacts);
        blocking(move || keep(&path, &kept)).await?;
    }
    Ok(account)
}

impl External {
    /// Why its key can't be one; none: it can.
    pub fn unfit(&self) -> Option<String> {
        self.key().err().map(|problem| problem.detail)
    }

    fn key(&self) -> Result<ExternalAccountKey, Problem> {
        let text = self.key.0.trim_end_matches('=');
        let key = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes());
        let key = key.map_err(|_| ours("the key of the external account is not base64url"))?;
        Ok(ExternalAccountKey::new(self.key_id.clone(), &key))
    }
}

/// The credentials once more: they are taken by whoever opens the account.
fn again(credentials: &AccountCredentials) -> serde_json::Result<AccountCredentials> {
    serde_json::from_value(serde_json::to_value(credentials)?)
}

fn kept(path: &Path) -> Result<Option<Kept>, Problem> {
    let Some(text) = files::read_private(path).map_err(ours)? else { return Ok(None) };
    // What serde_json says of a string it could not read would show it.
    let kept: Option<Kept> = serde_json::from_slice(&text).ok().filter(|kept: &Kept| kept.version == VERSION);
    let why = || ours(format!("{}: no account that this version can read", path.display()));
    kept.ok_or_else(why).map(Some)
}

/// A disk that is full is known before an account is made, not each time after one was.
fn try_to_keep(path: &Path) -> Result<(), Problem> {
    path.parent().map_or(Ok(()), files::make_folder).map_err(ours)?;
    files::check_replaceable(path).map_err(ours)?;
    let new = files::write_beside(path, &[0; ROOM]).map_err(ours)?;
    files::remove(&new).map_err(ours)
}

fn keep(path: &Path, kept: &Kept) -> Result<(), Problem> {
    let text = serde_json::to_vec(kept).map_err(ours)?;
    let new = files::write_beside(path, &text).map_err(ours)?;
    files::rename(&new, path).map_err(ours)
}
