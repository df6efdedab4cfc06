//! pebble, which asks a daemon of ours, and has a certificate of an authority of the test for its own port.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::authority::Authority;
use super::common::free_port;
use super::house::wait_until;

/// How it behaves.
pub struct Options {
    /// How many of a hundred good nonces it refuses.
    pub refused_nonces: u32,
    /// How many of a hundred proofs that were given before it takes again.
    pub reused_proofs: u32,
    /// The life of a certificate, seconds.
    pub life: u64,
    /// External accounts by key identifier, which are then demanded: keys in base64url.
    pub external: Value,
}

impl Default for Options {
    fn default() -> Options {
        Options { refused_nonces: 0, reused_proofs: 0, life: 90 * 86_400, external: json!({}) }
    }
}

pub struct Pebble {
    folder: tempfile::TempDir,
    pub authority: Arc<Authority>,
    command: Command,
    process: Child,
    pub port: u16,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- pebble ---\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

impl Pebble {
    pub fn start(dns: SocketAddr, options: &Options) -> Pebble {
        let folder = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::new());
        let (port, management) = (free_port(), free_port());
        let is_external = options.external.as_object().is_some_and(|keys| !keys.is_empty());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": authority.file("cert.pem"),
            "privateKey": authority.file("key.pem"),
            "httpPort": 5002,
            "tlsPort": 5001,
            "certificateValidityPeriod": options.life,
            "externalAccountBindingRequired": is_external,
            "externalAccountMACKeys": options.external,
        }});
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("pebble");
        command
            .arg("-config")
            .arg(folder.path().join("config.json"))
            .args(["-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", options.refused_nonces.to_string())
            .env("PEBBLE_AUTHZREUSE", options.reused_proofs.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = command.spawn().unwrap();
        let pebble = Pebble { folder, authority, command, process, port };
        pebble.listens();
        pebble
    }

    fn listens(&self) {
        wait_until("pebble listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The root of its own certificate, which clients trust.
    pub fn trusted(&self) -> PathBuf {
        self.authority.file("roots.pem")
    }

    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Ends, and begins anew: it remembers nothing.
    pub fn forget(&mut self) {
        self.stop();
        self.process = self.command.spawn().unwrap();
        self.listens();
    }
}
