//! Files with TSIG keys, of others no more to be read than any private key.

use std::path::Path;
use std::sync::Arc;

use super::zone_keys::read_private;
use crate::dns::tsig::{self, Key};

/// Reads a file's keys. The error says where and what is wrong, and never what stands in the file.
pub fn read(path: &Path) -> Result<Vec<Arc<Key>>, String> {
    let shown = path.display();
    let text = read_private(path).map_err(|why| format!("{shown}: {why}"))?;
    tsig::parse(&text).map_err(|mistake| format!("{shown}:{mistake}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn keys_come_from_private_regular_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let put = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        let text = "key \"a\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };\n";
        assert_eq!(put(text, 0o600).unwrap()[0].name().to_string(), "a.");
        assert!(put(text, 0o400).is_ok());
        for mode in [0o640, 0o604, 0o620, 0o610] {
            assert!(put(text, mode).unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        let why = put("key \"a\" {\n  algorithm hmac-sha256;\n  secret \"c2VjcmV0x\"; };\n", 0o600).unwrap_err();
        assert!(why.contains("a.key:3:10: expected a secret") && !why.contains("c2Vj"), "{why}");
        assert!(read(folder.path()).unwrap_err().contains("not a regular file"));
        let link = folder.path().join("link.key");
        symlink(&path, &link).unwrap();
        assert!(read(&link).is_err(), "a link may lead anywhere");
        let many = text.repeat(6000);
        assert!(put(&many, 0o600).unwrap_err().contains("larger than"));
    }
}
