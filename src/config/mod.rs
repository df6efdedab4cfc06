//! danelaw.toml becomes a checked [`Config`], once: every mistake with file, line, column and what was expected.
//!
//! The file's TOML is the raw form and never leaves this room. Nothing here looks at a folder's contents.

mod acme;
mod catalog;
mod check;
mod denial;
mod elsewhere;
mod messages;
mod outside;
mod primary;
mod reader;
mod rollover;
mod secondary;
mod service;
mod tls;
mod update;
pub mod values;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::zone::Diagnostic;

pub use acme::{Acme, CertificateConfig};
pub use catalog::CatalogConfig;
pub use messages::{Mailer, Messages, Smarthost, SmtpTls, Webhook, internal};
pub use outside::Outside;
pub use primary::Primaries;
pub use reader::mistake_in;
pub use rollover::{Command, HostConfig, RolloverConfig};
pub use secondary::Secondary;
pub use service::{Cookies, Prefix, RateLimit, ServerConfig};
pub use update::Updater;
pub use values::{
    Algorithm, CertificateFolder, CertificateMode, Config, Encrypted, SigningConfig, SigningMode, TlsCertificate,
    ZoneConfig,
};

/// The file's name when none is given.
pub const FILE_NAME: &str = "danelaw.toml";
/// The biggest configuration that is read, bytes: a hundred thousand [zone] tables.
const MAX_BYTES: u64 = 16 << 20;

/// Why there is no configuration. Keep the last good one, and tell the operator.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    /// The file can't be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The file says something that can't be.
    #[error("{}", show(.0))]
    Invalid(Vec<Diagnostic>),
    /// An argument of the command line contradicts the file.
    #[error("{0}")]
    Argument(String),
}

impl ConfigErrors {
    /// The mistakes with their places; empty for the other kinds.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            ConfigErrors::Invalid(found) => found,
            _ => &[],
        }
    }
}

fn show(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

/// What the command line puts in the place of the file's values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`; empty means the file's.
    pub listen: Vec<SocketAddr>,
    /// `--zones`
    pub zones: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file. Relative paths in it start from its folder.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let unreadable = |why: String| ConfigErrors::Unreadable { path: path.to_owned(), why };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unreadable("not a regular file".to_owned()));
        }
        if metadata.len() > MAX_BYTES {
            return Err(unreadable(format!("larger than {MAX_BYTES} bytes")));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes)
            .map_err(|error| unreadable(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut config = Config::parse(&text, &path.display().to_string(), folder)?;
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// `danelaw.toml` in `folder` when it is there, the defaults otherwise.
    pub fn load_in(folder: &Path) -> Result<Config, ConfigErrors> {
        let path = folder.join(FILE_NAME);
        if path.exists() { Config::load(&path) } else { Ok(Config::default_in(folder)) }
    }

    /// The defaults, with every folder below `folder`.
    pub fn default_in(folder: &Path) -> Config {
        check::defaults(folder)
    }

    /// Checks a text; `file` is what messages call it.
    pub fn parse(text: &str, file: &str, folder: &Path) -> Result<Config, ConfigErrors> {
        check::check(text, file, folder).map_err(ConfigErrors::Invalid)
    }

    /// Puts the command line's values in and checks again what depends on them.
    pub fn with(mut self, overrides: &Overrides) -> Result<Config, ConfigErrors> {
        if !overrides.listen.is_empty() {
            for (index, address) in overrides.listen.iter().enumerate() {
                let before = &overrides.listen[..index];
                if let Some(why) = before.iter().find_map(|other| check::in_each_others_way(*other, *address)) {
                    return Err(ConfigErrors::Argument(format!("--listen: {why}; take one of them out")));
                }
            }
            self.listen.clone_from(&overrides.listen);
        }
        if let Some(zones) = &overrides.zones {
            self.zones.clone_from(zones);
        }
        let public = self.listeners().copied().find(|address| !address.ip().is_loopback());
        match public {
            Some(address) if !self.example_certificates.is_empty() => Err(ConfigErrors::Argument(format!(
                "--listen {address}: [example] is on, and an example's certificate is served on loopback only; \
                 listen on 127.0.0.1 or [::1], or take [example] out of the file"
            ))),
            _ => Ok(self),
        }
    }
}
