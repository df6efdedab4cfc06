//! How `deployed/` is laid out, where the mail server reads: names of files, folders and links. Opens none of them.
//!
//! ```text
//! deployed/mail.example.org                        -> .versions/mail.example.org/<folder>
//! deployed/.versions/mail.example.org/<folder>/    privkey.pem cert.pem chain.pem fullchain.pem combined.pem
//!                                                  privkey-rsa.pem cert-rsa.pem ... where there is a second key type
//! ```
//!
//! A version's folder is called by its id. Where the mail server reads a folder that somebody has changed by hand, the same
//! version is written once more beside it, as `<id>.1`.

use std::path::{Path, PathBuf};

use crate::dns::Name;

use super::certificate::KeyType;

/// The folder of the versions within `deployed/`.
pub const VERSIONS: &str = ".versions";
/// An empty file within `deployed/` that is replaced whenever something was installed.
pub const STAMP: &str = ".installed";
/// The private key.
pub const KEY: &str = "privkey";
/// The leaf.
pub const LEAF: &str = "cert";
/// What is above the leaf.
pub const CHAIN: &str = "chain";
/// Both.
pub const FULL_CHAIN: &str = "fullchain";
/// Each private key with its chain behind it, as Postfix reads it (`smtpd_tls_chain_files`).
pub const COMBINED: &str = "combined.pem";

/// The most octets of an id, so that a temporary name of it is one that a file may have.
const ID_MAX: usize = 128;

/// What a host's link and folder are called: the host in lower case, without a trailing dot. None for the root, a wildcard, and
/// whatever else could lead elsewhere or be hidden.
pub fn host_name(host: &Name) -> Option<String> {
    let host = host.to_lowercase().to_host();
    let is_plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"-_.".contains(&octet);
    (!host.starts_with('.') && host.bytes().all(is_plain)).then_some(host)
}

/// Whether a version may be called this.
pub fn is_id(id: &str) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(is_plain)
}

/// A version's folder: its id, and how often it was written before this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// The id.
    pub id: String,
    /// 0 for the first.
    pub again: u32,
}

impl Folder {
    /// By its name; none for what is no version's folder, an unfinished one among them.
    pub fn parse(name: &str) -> Option<Folder> {
        let (id, again) = match name.split_once('.') {
            None => (name, 0),
            Some((id, again)) => (id, again.parse().ok().filter(|again| *again > 0)?),
        };
        let folder = Folder { id: id.to_owned(), again };
        (is_id(id) && folder.name() == name).then_some(folder)
    }

    /// Its name.
    pub fn name(&self) -> String {
        if self.again == 0 { self.id.clone() } else { format!("{}.{}", self.id, self.again) }
    }

    /// What a host's link to it holds.
    pub fn link(&self, host: &str) -> PathBuf {
        [VERSIONS, host, &self.name()].iter().collect()
    }

    /// The folder that a host's link names; none where we did not make the link.
    pub fn of_link(host: &str, target: &Path) -> Option<Folder> {
        let folder = Folder::parse(target.file_name()?.to_str()?)?;
        (folder.link(host).as_os_str() == target.as_os_str()).then_some(folder)
    }
}

/// What a file is called: `privkey.pem` of the first key type, `privkey-rsa.pem` of a further one.
pub fn file_name(stem: &str, further: Option<KeyType>) -> String {
    let suffix = match further {
        None => "",
        Some(KeyType::Rsa) => "-rsa",
        Some(KeyType::Ecdsa) => "-ecdsa",
        Some(KeyType::Ed25519) => "-ed25519",
        Some(KeyType::Ed448) => "-ed448",
        Some(KeyType::Other) => "-other",
    };
    format!("{stem}{suffix}.pem")
}

/// The file of the first key type that goes with a file of a further one: `privkey.pem` for `privkey-rsa.pem`.
pub fn of_first(name: &str) -> String {
    let stem = name.split_once('-').map_or(name, |(stem, _)| stem);
    format!("{}.pem", stem.strip_suffix(".pem").unwrap_or(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_plain_name_or_none() {
        let of = |text: &str| host_name(&Name::parse(text, None).unwrap());
        assert_eq!(of("Mail.Example.ORG.").as_deref(), Some("mail.example.org"));
        assert_eq!(of("_x.a-b.test.").as_deref(), Some("_x.a-b.test"));
        for text in [
            ".",
            "*.example.org.",
            r"\.versions.org.",
            r"a\/b.org.",
            r"a\.\.org.",
            r"\000.org.",
            r"a\ b.",
            r"\195\164.",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_link_is_ours_only_letter_by_letter() {
        let folder = |id: &str, again| Some(Folder { id: id.to_owned(), again });
        let of = |target: &str| Folder::of_link("m.test", Path::new(target));
        assert_eq!(of(".versions/m.test/ab12"), folder("ab12", 0));
        assert_eq!(of(".versions/m.test/ab12.2"), folder("ab12", 2));
        for target in [
            ".versions/m.test/ab12.0",
            ".versions/m.test/ab12.02",
            ".versions/m.test/ab12.new",
            ".versions/m.test/.ab12.new",
            ".versions/m.test/..",
            ".versions/m.test/ab12/",
            ".versions/m.test//ab12",
            ".versions/n.test/ab12",
            "../deployed/.versions/m.test/ab12",
            "/srv/deployed/.versions/m.test/ab12",
            "/etc/letsencrypt/live/m.test",
            "",
        ] {
            assert_eq!(of(target), None, "{target}");
        }
        assert!(!is_id("") && !is_id("..") && !is_id("a/b") && !is_id(&"a".repeat(129)));
    }

    #[test]
    fn files_of_a_further_key_type_say_so() {
        assert_eq!(file_name(FULL_CHAIN, None), "fullchain.pem");
        assert_eq!(file_name(KEY, Some(KeyType::Rsa)), "privkey-rsa.pem");
        for (name, first) in [("privkey-rsa.pem", "privkey.pem"), ("privkey.pem", "privkey.pem"), (COMBINED, COMBINED)]
        {
            assert_eq!(of_first(name), first);
        }
    }
}
