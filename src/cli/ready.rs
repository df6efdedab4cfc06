//! The ready file: tells a test or a script where the server listens, once it answers.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;

use super::CliError;

/// Writes the addresses, one a line. The file appears whole: by a rename.
pub fn write(path: &Path, addresses: &[impl Display]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::File(format!("--ready-file {}: {error}", path.display()));
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    let mut file = std::fs::File::create_new(&fresh).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_an_address_a_line_and_replaces_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        std::fs::write(&path, "old").unwrap();
        write(&path, &["127.0.0.1:5300", "[::1]:5300"]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "127.0.0.1:5300\n[::1]:5300\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let message = write(&folder.path().join("none/ready"), &[""]).unwrap_err().to_string();
        assert!(message.starts_with("--ready-file"), "{message}");
    }
}
