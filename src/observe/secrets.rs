//! Passwords and tokens: one line in a file that nobody else may read, as any private key.

use std::path::Path;

use super::zone_keys::read_private;

/// Reads a secret, without the end of its line. The error says what is wrong, and never what stands in the file.
pub fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = read_private(path).map_err(|why| format!("{shown}: {why}"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    match secret {
        "" => Err(format!("{shown}: empty")),
        _ if secret.chars().any(char::is_control) => {
            Err(format!("{shown}: more than one line, or control characters in it"))
        }
        _ => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_private_file_and_in_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let put = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        for text in ["se cret", "se cret\n", "se cret\r\n"] {
            assert_eq!(put(text, 0o600).as_deref(), Ok("se cret"));
        }
        for (text, mode, expected) in
            [("x", 0o640, "chmod 600"), ("\n", 0o600, "empty"), ("x1\ny1\n", 0o600, "one line")]
        {
            let why = put(text, mode).unwrap_err();
            assert!(why.contains(expected) && !why.contains("x1"), "{why}");
        }
    }
}
