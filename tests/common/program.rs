//! A server of the test machine, with one configuration file in a folder of its own.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// It runs until this is dropped.
pub struct Program {
    child: Child,
    folder: TempDir,
}

impl Program {
    /// Starts `name`; the configuration's path follows the arguments. One that is missing fails the test.
    pub fn start(folder: TempDir, name: &str, arguments: &[&str], config: &str) -> Program {
        let path = folder.path().join("server.conf");
        std::fs::write(&path, config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(name);
        let command = command.args(arguments).arg(path).stdin(Stdio::null()).stdout(log.try_clone().unwrap());
        let child = command.stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name}: {error} (`.ci/run` installs what the tests need)"));
        Program { child, folder }
    }

    /// Sends it a signal: `HUP`, for one.
    pub fn signal(&self, name: &str) {
        super::succeed("kill", &[&format!("-{name}"), &self.child.id().to_string()]);
    }

    /// The end of what it wrote.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A server that ended by itself has nothing left to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("--- {} ---\n{}", self.folder.path().display(), self.log());
        }
    }
}
