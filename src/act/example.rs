//! The example's certificate: self-signed, for reserved names, made once into a watched folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::dns::Name;

/// Makes `<host>.pem` and `<host>.key` in `folder` unless the certificate is there. Gives its path when it was made.
pub fn write(folder: &Path, host: &Name) -> io::Result<Option<PathBuf>> {
    let host = host.to_host();
    let path = folder.join(format!("{host}.pem"));
    if path.exists() {
        return Ok(None);
    }
    let made = rcgen::generate_simple_self_signed([host.clone()]).map_err(io::Error::other)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    // The key first: a certificate without its key is a write under way.
    put(&folder.join(format!("{host}.key")), &made.signing_key.serialize_pem(), 0o600)?;
    put(&path, &made.cert.pem(), 0o644)?;
    Ok(Some(path))
}

fn put(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
