//! Zone sets on disk: `unsigned/` as text, `signed/` by danelaw's own functions, and the one key of them all. Made once and kept; made again
//! when signatures are to run out or this program is newer.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use danelaw::dns::dnssec::{Algorithm, Signer};
use danelaw::keys::ZoneKey;
use danelaw::zone::{Denial, print};
use data_encoding::BASE64;

use crate::fixture::{contents, sign};
use crate::zones::Set;
use crate::{Error, Result};

/// Signatures last two weeks.
const KEPT: u64 = 5 * 86_400;

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes what nobody else may read.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// A set on disk.
#[derive(Clone, Debug)]
pub struct Data {
    /// Which.
    pub set: Set,
    folder: PathBuf,
    pem: String,
}

impl Data {
    /// Makes what isn't there.
    pub fn ready(folder: &Path, set: Set) -> Result<Data> {
        let folder = folder.join(set.label());
        let done = folder.join("done");
        let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let is_young = |at: SystemTime| at.elapsed().is_ok_and(|age| age.as_secs() < KEPT);
        let program = std::env::current_exe().ok().and_then(|path| modified(&path));
        if modified(&done).is_some_and(|made| is_young(made) && program.is_none_or(|program| program < made)) {
            return Ok(Data { set, pem: fs::read_to_string(folder.join("csk.pem"))?, folder });
        }
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("unsigned"))?;
        fs::create_dir_all(folder.join("signed"))?;
        let generated = ZoneKey::generate(Algorithm::EcdsaP256Sha256);
        let (key, pem) = generated.map_err(|error| Error::new(error.to_string()))?;
        let data = Data { set, folder, pem };
        data.write_pem(&data.folder.join("csk.pem"))?;
        for (number, zone) in set.zones().enumerate() {
            let text = set.text(number);
            let published = sign(&contents(&zone, &text, &key)?, &key, Denial::Nsec, now())?;
            fs::write(data.unsigned(&zone), text)?;
            fs::write(data.signed(&zone), print::published(&published))?;
        }
        fs::write(done, "")?;
        Ok(data)
    }

    /// The folder of the files without DNSSEC.
    pub fn unsigned_folder(&self) -> PathBuf {
        self.folder.join("unsigned")
    }

    /// The file of a zone without DNSSEC.
    pub fn unsigned(&self, zone: &str) -> PathBuf {
        self.unsigned_folder().join(format!("{zone}.zone"))
    }

    /// The folder of the signed files.
    pub fn signed_folder(&self) -> PathBuf {
        self.folder.join("signed")
    }

    /// The file of a zone, signed.
    pub fn signed(&self, zone: &str) -> PathBuf {
        self.signed_folder().join(format!("{zone}.zone"))
    }

    /// Writes the key as danelaw reads it.
    pub fn write_pem(&self, path: &Path) -> Result<()> {
        write_secret(path, &self.pem)
    }

    /// Writes the key as BIND and ldns read it: `.private` and `.key` of the path that is given back.
    pub fn write_bind_key(&self, folder: &Path, zone: &str) -> Result<PathBuf> {
        let key = ZoneKey::from_pem(&self.pem).map_err(|error| Error::new(error.to_string()))?;
        let body: String = self.pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64.decode(body.as_bytes()).map_err(|error| Error::new(error.to_string()))?;
        // RFC 5915: version 1, then the private key as an octet string.
        const BEFORE: &[u8] = &[2, 1, 1, 4, 32];
        let at = der.windows(BEFORE.len()).position(|octets| octets == BEFORE).map(|at| at + BEFORE.len());
        let scalar =
            at.and_then(|at| der.get(at..at + 32)).ok_or_else(|| Error::new("no private key in the PEM file"))?;
        let base = folder.join(format!("K{zone}.+013+{:05}", key.key_tag()));
        let private = format!(
            "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: {}\n",
            BASE64.encode(scalar)
        );
        let public = format!("{zone}. 3600 IN DNSKEY 257 3 13 {}\n", BASE64.encode(&key.dnskey()[4..]));
        fs::write(format!("{}.private", base.display()), private)?;
        fs::write(format!("{}.key", base.display()), public)?;
        Ok(base)
    }

    /// The text of a zone whose host has another TLSA record at port 25, with a serial that says so.
    pub fn changed(&self, zone: &str, host: &str, hex: &str, serial: u64) -> Result<String> {
        let text = fs::read_to_string(self.unsigned(zone))?;
        let relative = host.strip_suffix(&format!(".{zone}")).unwrap_or(host);
        let old = format!("_25._tcp.{relative} TLSA ");
        let mut new: String =
            text.lines().filter(|line| !line.starts_with(&old)).flat_map(|line| [line, "\n"]).collect();
        new = new.replacen("hostmaster 1 ", &format!("hostmaster {serial} "), 1);
        Ok(new + &format!("{old}3 1 1 {hex}\n"))
    }
}
