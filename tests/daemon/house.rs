//! A folder as an operator has it, a daemon over it, and the ways to ask that daemon.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{free_port, succeed};

pub const BINARY: &str = env!("CARGO_BIN_EXE_danelaw");
pub const ZONE: &str = "example.org";
pub const HOST: &str = "mail.example.org";
pub const TLSA: &str = "_25._tcp.mail.example.org";

/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// The weak grades, which this version checks, and a hold that a test can wait for.
pub const CONFIG: &str = r#"
listen = ["127.0.0.1:0"]
addresses = ["192.0.2.25"]

[dane]
dnssec = "zone"
mail-service = "declared"
hold = "2s"

[[certificates]]
path = "certs"
"#;

pub const HEAD: &str = "\
$TTL 1h
@ SOA ns1 hostmaster 1 4h 1h 2w 5m
@ NS ns1
ns1 A 192.0.2.53
mail A 192.0.2.25
@ TXT \"v=spf1 mx -all\"
_dmarc TXT \"v=DMARC1; p=reject\"
";
pub const MX: &str = "@ MX 10 mail\n";
pub const DKIM: &str = "s1._domainkey TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";

/// A zone whose prerequisites hold.
pub fn good_zone() -> String {
    [HEAD, MX, DKIM].concat()
}

/// The configuration for rollovers: with an address of its own, which is the only nameserver that is asked, and a hook. `dane`: what
/// is said of waits.
pub fn rolling(dane: &str) -> String {
    // Of a port that the kernel gives to clients another's socket at every address would be in the way of a restart.
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let port = free_port();
    let here = format!("127.77.{}.{}:{port}", number / 250, 1 + number % 250);
    let text = CONFIG.replace("127.0.0.1:0", &here).replace("[dane]", &format!("[dane]\n{dane}"));
    format!(
        "{text}\n[rollover]\ninstall-hook = [\"touch\", \"/dev/null\"]\n[zone.\"{ZONE}\"]\nnameservers = [\"{here}\"]\n"
    )
}

/// Waits until `look` gives something.
#[track_caller]
pub fn wait<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// The same for what may take longer, or has to come sooner.
#[track_caller]
pub fn wait_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether it becomes so.
pub fn within_patience(is_so: impl FnMut() -> bool) -> bool {
    within(PATIENCE, is_so)
}

/// Whether it becomes so within a time.
pub fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// Waits until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait(what, || is_so().then_some(()));
}

/// An operator's folder.
pub struct House {
    root: tempfile::TempDir,
    binary: PathBuf,
    /// Whom the daemon runs as, where that is not who tests.
    user: Option<u32>,
}

/// Nobody, by the number that every system gives him.
const NOBODY: u32 = 65_534;

impl House {
    /// Empty zones and certs, the configuration above.
    pub fn empty() -> House {
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc", "etc/zones", "etc/certs"] {
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::set_permissions(root.path().join(folder), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let house = House { root, binary: BINARY.into(), user: None };
        house.put("danelaw.toml", CONFIG);
        // The commands' own configuration: the daemon's may be broken when it is asked.
        house.put("client.toml", "[control]\nsocket = \"state/control/danelaw.sock\"\n");
        house
    }

    /// A zone whose prerequisites hold, and a certificate for its MX host.
    pub fn good() -> House {
        let house = House::empty();
        house.put_zone(&good_zone());
        house.certificate("mail", &[HOST]);
        house
    }

    /// The same, its daemon without root's rights: it can be kept from reading a file.
    pub fn unprivileged() -> House {
        let mut house = House::good();
        let is_root = succeed("id", &["-u"]).trim() == "0";
        if is_root {
            // The build's folder may be closed to others.
            house.binary = house.root.path().join("danelaw");
            fs::copy(BINARY, &house.binary).unwrap();
            // The mail server's key is read, to be installed.
            for path in [house.root.path(), &house.path(""), &house.path("certs/mail.key")] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            house.user = Some(NOBODY);
        }
        house
    }

    /// The same, its daemon begun by a shell after a line of its own: `ulimit -Sn 64`, `export NAME=value`.
    pub fn begun_after(mut self, line: &str) -> House {
        let script = format!("#!/bin/sh\n{line}\nexec '{}' \"$@\"\n", self.binary.display());
        self.binary = self.root.path().join("begun");
        fs::write(&self.binary, script).unwrap();
        fs::set_permissions(&self.binary, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Another folder with everything that is in this one.
    pub fn copied(&self) -> House {
        let root = tempfile::tempdir().unwrap();
        succeed("cp", &["-a", self.path("").to_str().unwrap(), root.path().to_str().unwrap()]);
        House { root, binary: self.binary.clone(), user: self.user }
    }

    /// Starts a daemon with these variables in its environment, whatever becomes of it.
    pub fn begin(&self, environment: &[(&str, &str)]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.root.path().join("log")).unwrap();
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.path("danelaw.toml")).arg("serve").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env_remove("DANELAW_LOG").spawn().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("etc").join(name)
    }

    /// Writes a file as editors do: beside it, then a rename.
    pub fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        let fresh = path.with_file_name(format!(".{}.new", path.file_name().unwrap().to_string_lossy()));
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&fresh, &path).unwrap();
    }

    pub fn put_zone(&self, text: &str) {
        self.put("zones/example.org.zone", text);
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Makes `certs/<name>.pem` and `.key`, P-256, self-signed.
    pub fn certificate(&self, name: &str, hosts: &[&str]) {
        self.certificate_with(name, hosts, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    }

    /// Makes `certs/<name>.pem` and `.key`; the key comes by other arguments of `openssl req`. The certificate appears
    /// after its key.
    pub fn certificate_with(&self, name: &str, hosts: &[&str], key: &[&str]) {
        let names: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
        let names = format!("subjectAltName={}", names.join(","));
        let making = self.root.path().join("making.pem");
        let key_path = self.path(&format!("certs/{name}.key"));
        let mut arguments = vec!["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=test", "-addext", &names];
        arguments.extend(key);
        if !key.contains(&"-key") {
            arguments.extend(["-keyout", key_path.to_str().unwrap()]);
        }
        arguments.extend(["-out", making.to_str().unwrap()]);
        succeed("openssl", &arguments);
        fs::set_permissions(&making, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&making, self.path(&format!("certs/{name}.pem"))).unwrap();
    }

    /// A command, by the commands' own configuration.
    pub fn danelaw(&self, arguments: &[&str]) -> Output {
        self.danelaw_by("client.toml", arguments)
    }

    pub fn danelaw_by(&self, config: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.path(config)).args(arguments).stdin(Stdio::null());
        command.env_remove("DANELAW_LOG").output().unwrap()
    }

    /// Starts a daemon; it answers when this returns.
    pub fn start(&self) -> Daemon<'_> {
        self.start_with(&[])
    }

    pub fn start_with(&self, arguments: &[&str]) -> Daemon<'_> {
        let (ready, log) = (self.root.path().join("ready"), self.root.path().join("log"));
        let _ = fs::remove_file(&ready);
        let stderr = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(&self.binary);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.arg("--config").arg(self.path("danelaw.toml")).arg("serve").arg("--ready-file").arg(&ready);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).env_remove("DANELAW_LOG");
        let mut child = command.spawn().unwrap();
        let text = wait("the daemon is ready", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended: {status}\n{}", fs::read_to_string(&log).unwrap());
            }
            fs::read_to_string(&ready).ok()
        });
        let address = text.lines().next().and_then(|line| line.parse().ok());
        Daemon { house: self, child, address: address.unwrap_or_else(|| panic!("no address: {text}")), log }
    }
}

/// A running daemon. Its drop kills it.
pub struct Daemon<'h> {
    pub house: &'h House,
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

impl Daemon<'_> {
    /// Everything that it and the daemons before it in this folder logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        succeed("kill", &[&format!("-{name}"), &self.child.id().to_string()]);
    }

    /// As by a power cut.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the daemon ends by itself, with 0.
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = wait("the daemon ends after SIGTERM", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Whether it has ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What dig prints.
    pub fn dig(&self, arguments: &[&str]) -> String {
        let (server, port) = (format!("@{}", self.address.ip()), self.address.port().to_string());
        let mut all = vec![server.as_str(), "-p", &port, "+tries=3", "+time=2", "+norecurse"];
        all.extend(arguments);
        succeed("dig", &all)
    }

    /// The records of an answer as `dig +short` prints them, sorted.
    pub fn records(&self, name: &str, rtype: &str) -> Vec<String> {
        let text = self.dig(&["+short", name, rtype]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// NOERROR, SERVFAIL, REFUSED...
    pub fn rcode(&self, name: &str, rtype: &str) -> String {
        let text = self.dig(&["+noall", "+comments", name, rtype]);
        let status = text.split("status: ").nth(1).unwrap_or_else(|| panic!("no response:\n{text}"));
        status.split(',').next().unwrap().to_owned()
    }

    pub fn tlsa(&self) -> Vec<String> {
        self.records(TLSA, "TLSA")
    }

    pub fn serial(&self) -> u32 {
        let soa = self.dig(&["+short", ZONE, "SOA"]);
        soa.split_whitespace().nth(2).unwrap_or_else(|| panic!("no SOA: {soa}")).parse().unwrap()
    }

    /// The RRSIG of an RRset, as dig prints it.
    pub fn signature(&self, name: &str, rtype: &str) -> String {
        let text = self.dig(&["+noall", "+answer", "+dnssec", name, rtype]);
        let line = text.lines().find(|line| line.contains("\tRRSIG\t"));
        line.unwrap_or_else(|| panic!("no RRSIG:\n{text}")).to_owned()
    }

    /// A command's JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.house.danelaw(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Where the rollover of the only host stands.
    pub fn phase(&self) -> String {
        self.json(&["rollover", "status"])[0]["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// The problems of `status`, as one text.
    pub fn problems(&self) -> String {
        let status = self.status();
        let problems = status["problems"].as_array().unwrap().iter();
        problems.map(|problem| problem.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// The explanation of the MX host's TLSA; null where nothing is known of the host.
    pub fn explain(&self) -> Value {
        let output = self.house.danelaw(&["explain", HOST, "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        found[0].clone()
    }

    /// Status and reason of the MX host's TLSA: `served all-held`, `withheld not-yet`...
    pub fn verdict(&self) -> String {
        let explanation = self.explain();
        let word = |key: &str| explanation["status"][key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("status"), word("reason")).trim_end().to_owned()
    }

    /// Waits for `explain` to say so, and for dig to agree.
    #[track_caller]
    pub fn await_verdict(&self, wanted: &str) {
        let mut seen = String::new();
        let reached = within_patience(|| {
            seen = self.verdict();
            seen == wanted
        });
        assert!(reached, "explain says `{seen}`, never `{wanted}`");
        let served = wanted.starts_with("served");
        wait_until("dig agrees with explain", || self.tlsa().is_empty() != served);
    }

    /// The verdict on one prerequisite: held, missing, unknown.
    pub fn finding(&self, prerequisite: &str) -> String {
        let explanation = self.explain();
        let findings = explanation["assessments"][0]["findings"].as_array().cloned().unwrap_or_default();
        let found = findings.iter().find(|finding| finding["prerequisite"] == prerequisite);
        found.map_or_else(|| "none".to_owned(), |finding| finding["verdict"].as_str().unwrap().to_owned())
    }

    /// Restarts it cleanly.
    pub fn restarted(self) -> Self {
        let house = self.house;
        self.stop();
        house.start()
    }
}

/// The record that belongs to a certificate, made with openssl alone.
pub fn record_of(certificate: &Path) -> String {
    let pipeline = format!(
        "openssl x509 -in '{}' -pubkey -noout | openssl pkey -pubin -outform der | sha256sum",
        certificate.display()
    );
    let digest = succeed("sh", &["-c", &pipeline]).split_whitespace().next().unwrap().to_uppercase();
    let (first, second) = digest.split_at(56);
    format!("3 1 1 {first} {second}")
}
