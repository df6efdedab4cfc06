//! Which files of a folder are certificates that count, by the layout of the client that wrote them.
//!
//! Works on names alone and opens nothing. Archives and time-stamped copies are never candidates.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a client lays out its certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `live/<name>/{cert,chain,fullchain,privkey}.pem`, symlinks into `archive/`.
    Certbot,
    /// `<d>[_ecc]/{<d>.cer,<d>.key,ca.cer,fullchain.cer}`.
    #[serde(rename = "acme.sh")]
    AcmeSh,
    /// `certificates/<d>.{crt,issuer.crt,key,json}`.
    Lego,
    /// `certs/<d>/{privkey,cert,chain,fullchain}.pem`, symlinks to `*-<timestamp>.pem`.
    Dehydrated,
    /// `certificates/<issuer>/<d>/<d>.{crt,key,json}`.
    Caddy,
    /// Any `*.pem`, `*.crt`, `*.cer`, `*.der`.
    Plain,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layout::Certbot => "certbot",
            Layout::AcmeSh => "acme.sh",
            Layout::Lego => "lego",
            Layout::Dehydrated => "dehydrated",
            Layout::Caddy => "Caddy",
            Layout::Plain => "plain",
        })
    }
}

/// A certificate that may count, as file names in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The file with the chain, leaf first. Its path is the certificate's name over renewals.
    pub chain: String,
    /// A file with the leaf alone, which must be the same leaf.
    pub leaf: Option<String>,
    /// The private key's file.
    pub key: Option<String>,
    /// The file with the key of the certificate that comes next.
    pub next_key: Option<String>,
    /// The layout.
    pub layout: Layout,
}

impl Candidate {
    /// All of its files.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        [Some(&self.chain), self.leaf.as_ref(), self.key.as_ref(), self.next_key.as_ref()].into_iter().flatten()
    }
}

/// Folders that hold copies, requests, keys or accounts, never a certificate that counts.
const NEVER: [&str; 9] =
    ["archive", "archives", "backup", "backups", "csr", "keys", "renewal", "renewal-hooks", "accounts"];

/// Whether to look into a subfolder of this name.
pub fn is_searched(name: &str) -> bool {
    !name.starts_with('.') && !NEVER.contains(&name.to_ascii_lowercase().as_str())
}

/// The candidates in a folder, given its own name and those of its files.
pub fn candidates(folder: &str, files: &BTreeSet<String>) -> Vec<Candidate> {
    let has = |name: &str| files.contains(name);
    let known = |name: String| has(&name).then_some(name);
    if has("fullchain.pem") && has("privkey.pem") {
        let stamped = files.iter().any(|name| is_stamped_copy(name, files));
        return vec![Candidate {
            chain: "fullchain.pem".to_owned(),
            leaf: known("cert.pem".to_owned()),
            key: known("privkey.pem".to_owned()),
            next_key: known("privkey.roll.pem".to_owned()),
            layout: if stamped { Layout::Dehydrated } else { Layout::Certbot },
        }];
    }
    if has("fullchain.cer") {
        let domain = folder.strip_suffix("_ecc").unwrap_or(folder);
        return vec![Candidate {
            chain: "fullchain.cer".to_owned(),
            leaf: known(format!("{domain}.cer")),
            key: known(format!("{domain}.key")),
            next_key: known(format!("{domain}.key.next")),
            layout: Layout::AcmeSh,
        }];
    }
    let stems: Vec<&str> = files
        .iter()
        .filter_map(|name| name.strip_suffix(".crt"))
        .filter(|stem| has(&format!("{stem}.json")) && has(&format!("{stem}.key")))
        .collect();
    if !stems.is_empty() {
        let layout = if stems == [folder] { Layout::Caddy } else { Layout::Lego };
        let candidate = |stem: &str| Candidate {
            chain: format!("{stem}.crt"),
            leaf: None,
            key: Some(format!("{stem}.key")),
            next_key: None,
            layout,
        };
        return stems.into_iter().map(candidate).collect();
    }
    files.iter().filter(|name| is_plain(name, files)).map(|name| plain(name, files)).collect()
}

fn is_plain(name: &str, files: &BTreeSet<String>) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let stem = stem.to_ascii_lowercase();
    matches!(extension.to_ascii_lowercase().as_str(), "pem" | "crt" | "cer" | "der")
        && !stem.starts_with('.')
        // What says that it is a key is never opened as a certificate: `privkey.pem`, `mail.key.pem`, `mail-key.pem`.
        && !["key", "privkey", "private"].iter().any(|word| stem.split(['.', '-', '_']).any(|part| part == *word))
        && !is_stamped_copy(name, files)
}

fn plain(name: &str, files: &BTreeSet<String>) -> Candidate {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let names =
        [format!("{stem}.key"), format!("{stem}.key.pem"), format!("{stem}-key.pem"), format!("{stem}_key.pem")];
    Candidate {
        chain: name.to_owned(),
        leaf: None,
        key: names.into_iter().find(|name| files.contains(name)),
        next_key: [format!("{stem}.key.next"), format!("{stem}.next.key")]
            .into_iter()
            .find(|name| files.contains(name)),
        layout: Layout::Plain,
    }
}

/// `cert-1700000000.pem` beside `cert.pem`: a copy with its time, which a pointer names or not.
fn is_stamped_copy(name: &str, files: &BTreeSet<String>) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let Some((base, stamp)) = stem.rsplit_once(['-', '.', '_']) else { return false };
    stamp.len() >= 6
        && stamp.bytes().all(|octet| octet.is_ascii_digit())
        && files.contains(&format!("{base}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &str, files: &[&str]) -> Vec<(Layout, String, Option<String>, Option<String>)> {
        let files = files.iter().map(ToString::to_string).collect();
        let row = |candidate: Candidate| (candidate.layout, candidate.chain, candidate.leaf, candidate.key);
        candidates(folder, &files).into_iter().map(row).collect()
    }

    fn row(layout: Layout, chain: &str, leaf: &str, key: &str) -> (Layout, String, Option<String>, Option<String>) {
        let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (layout, chain.to_owned(), optional(leaf), optional(key))
    }

    #[test]
    fn every_layout_is_recognised_by_the_names_of_its_files() {
        assert_eq!(
            found("mail.example.org", &["README", "cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"]),
            [row(Layout::Certbot, "fullchain.pem", "cert.pem", "privkey.pem")]
        );
        let dehydrated = [
            "cert-1700000000.pem",
            "cert.csr",
            "cert.pem",
            "chain.pem",
            "fullchain-1700000000.pem",
            "fullchain.pem",
            "privkey-1700000000.pem",
            "privkey.pem",
            "privkey.roll.pem",
        ];
        assert_eq!(
            found("mail.example.org", &dehydrated),
            [row(Layout::Dehydrated, "fullchain.pem", "cert.pem", "privkey.pem")]
        );
        let acme =
            ["ca.cer", "fullchain.cer", "m.example.cer", "m.example.conf", "m.example.key", "m.example.key.next"];
        assert_eq!(
            found("m.example_ecc", &acme),
            [row(Layout::AcmeSh, "fullchain.cer", "m.example.cer", "m.example.key")]
        );
        let lego = ["a.org.crt", "a.org.issuer.crt", "a.org.json", "a.org.key", "b.org.crt", "b.org.json", "b.org.key"];
        assert_eq!(
            found("certificates", &lego),
            [row(Layout::Lego, "a.org.crt", "", "a.org.key"), row(Layout::Lego, "b.org.crt", "", "b.org.key")]
        );
        assert_eq!(
            found("a.org", &["a.org.crt", "a.org.json", "a.org.key"]),
            [row(Layout::Caddy, "a.org.crt", "", "a.org.key")]
        );
    }

    #[test]
    fn a_plain_folder_has_certificates_but_no_keys_and_no_copies() {
        let files = [
            "mail.crt",
            "mail.key",
            "privkey.pem",
            "tls-key.pem",
            "x.pem",
            "x-20240101.pem",
            "y-20240101.pem",
            "z.der",
            "notes.txt",
        ];
        let chains: Vec<String> = found("certs", &files).into_iter().map(|row| row.1).collect();
        assert_eq!(chains, ["mail.crt", "x.pem", "y-20240101.pem", "z.der"]);
        assert_eq!(found("certs", &files)[0].3.as_deref(), Some("mail.key"));
        assert!(is_searched("live") && !is_searched("archive") && !is_searched("..data"));
    }
}
