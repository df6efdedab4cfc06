//! The file with the secrets of DNS cookies: one for each line, 32 hexadecimal digits; empty lines and those with `#` say nothing.

use std::path::Path;

use super::zone_keys::read_private;
use crate::answer::cookie::SECRET;

/// Reads them in the file's order. The error says what is wrong and never what stands in the file.
pub fn read(path: &Path) -> Result<Vec<[u8; SECRET]>, String> {
    let text = read_private(path)?;
    let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
    let secrets: Vec<[u8; SECRET]> = lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(line.as_bytes()).ok();
            octets
                .and_then(|octets| octets.try_into().ok())
                .ok_or_else(|| format!("line {number} is not a secret: 32 hexadecimal digits (openssl rand -hex 16)"))
        })
        .collect::<Result<_, String>>()?;
    if secrets.is_empty() { Err("it holds no secret".to_owned()) } else { Ok(secrets) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_come_from_private_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        let put = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        let text = "# ours\nE5E973e5a6b2a43f48e7dc849e37bfcf\n\n 445536bcd2513298075a5d379663c962 \n";
        let secrets = put(text, 0o600).unwrap();
        assert_eq!((secrets.len(), secrets[0][0], secrets[1][0]), (2, 0xe5, 0x44));
        assert!(put(text, 0o640).unwrap_err().contains("chmod 600"));
        let why = put("e5e973e5a6b2a43f48e7dc849e37bfcf\ne5e973e5\n", 0o600).unwrap_err();
        assert!(why.contains("line 2") && !why.contains("e5e9"), "{why}");
        assert!(put("# none\n", 0o600).unwrap_err().contains("no secret"));
        assert!(read(&folder.path().join("nowhere")).is_err());
    }
}
