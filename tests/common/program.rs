//! A server of the test machine, with one configuration file in a folder of its own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// It runs until this is dropped.
pub struct Program {
    child: Child,
    folder: TempDir,
    name: String,
    arguments: Vec<String>,
}

impl Program {
    /// Starts `name`; the configuration's path follows the arguments. One that is missing fails the test.
    pub fn start(folder: TempDir, name: &str, arguments: &[&str], config: &str) -> Program {
        std::fs::write(config_in(folder.path()), config).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Program { child: spawn(folder.path(), name, &arguments), folder, name: name.to_owned(), arguments }
    }

    /// Where it has what it keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its configuration's path.
    pub fn config(&self) -> PathBuf {
        config_in(self.folder())
    }

    /// As by a power cut: it and what it started end where they are.
    pub fn kill(&mut self) {
        // A server that ended by itself has nothing left to stop.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }

    /// Starts it again over what it has left in its folder.
    pub fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.name, &self.arguments);
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
        self.kill();
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("--- {} ---\n{}", self.folder.path().display(), self.log());
        }
    }
}

fn config_in(folder: &Path) -> PathBuf {
    folder.join("server.conf")
}

fn spawn(folder: &Path, name: &str, arguments: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(name);
    command.args(arguments).arg(config_in(folder)).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.process_group(0).spawn();
    child.unwrap_or_else(|error| panic!("{name}: {error} (`.ci/run` installs what the tests need)"))
}
