//! The servers that are compared: how each is configured, so that it serves the same zones on one core, and how it takes a change.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::data::Data;
use crate::probe::Probe;
use crate::process::{Process, find, run};
use crate::zones::Workload;
use crate::{Error, Result};

/// What all measurements share.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where zone sets are kept.
    pub data: PathBuf,
    /// The core of servers, and that of clients.
    pub cores: (usize, usize),
    /// The first port that is used.
    pub port: u16,
    /// Whether servers' folders stay.
    pub keep: bool,
}

/// A server to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// NSD, one server process.
    Nsd,
    /// Knot DNS, one worker.
    Knot,
    /// BIND, one thread.
    Bind,
    /// PowerDNS with the bind backend and its caches.
    Pdns,
    /// A build of danelaw that signs by itself.
    Danelaw(PathBuf),
    /// A build of danelaw over signed files.
    Presigned(PathBuf),
    /// The ceiling: every response ready in a table.
    Lookup,
    /// The ceiling: the query comes back.
    Echo,
}

impl Server {
    /// Its name in tables.
    pub fn label(&self) -> String {
        match self {
            Server::Nsd => "nsd".to_owned(),
            Server::Knot => "knot".to_owned(),
            Server::Bind => "bind".to_owned(),
            Server::Pdns => "pdns".to_owned(),
            Server::Danelaw(_) => "danelaw".to_owned(),
            Server::Presigned(_) => "danelaw-presigned".to_owned(),
            Server::Lookup => "lookup".to_owned(),
            Server::Echo => "echo".to_owned(),
        }
    }

    /// The programs that it needs and that are not here.
    pub fn missing(&self) -> Vec<String> {
        let needed: &[&str] = match self {
            Server::Nsd => &["nsd", "nsd-control", "ldns-signzone"],
            Server::Knot => &["knotd", "knotc"],
            Server::Bind => &["named", "nsupdate", "dnssec-settime"],
            Server::Pdns => &["pdns_server", "pdnsutil", "sqlite3"],
            Server::Danelaw(path) | Server::Presigned(path) => {
                let there = path.is_file().then(Vec::new);
                return there.unwrap_or_else(|| vec![format!("{} (cargo build --release)", path.display())]);
            }
            Server::Lookup | Server::Echo => &[],
        };
        needed.iter().filter(|program| find(program).is_none()).map(|program| (*program).to_owned()).collect()
    }

    /// Whether its answers are DNS.
    pub fn is_checked(&self) -> bool {
        !matches!(self, Server::Lookup | Server::Echo)
    }
}

/// What a server is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Answering; a ceiling speaks one transport and knows one workload.
    Answering {
        /// Over TCP.
        tcp: bool,
        /// What it will be asked.
        workload: Workload,
    },
    /// Taking changes: it signs by itself if it can.
    Changing,
    /// Giving its zones to whoever asks.
    Transferring,
}

/// A server that runs until this is dropped.
pub struct Running {
    /// Which.
    pub server: Server,
    /// Where it answers.
    pub port: u16,
    /// The process.
    pub process: Process,
    /// Its folder.
    pub folder: PathBuf,
}

impl Running {
    /// Waits until it answers rightly.
    pub fn ready(&mut self, data: &Data, patience: Duration) -> Result<()> {
        if !self.server.is_checked() {
            return self.wait_for_ceiling(patience);
        }
        let named = |error: Error| Error::new(format!("{}: {error}", self.server.label()));
        let mut probe = Probe::new(self.port)?;
        probe.ready(data.set, patience, || self.process.check()).map_err(named)?;
        probe.check_tcp(data.set).map_err(named)
    }

    fn wait_for_ceiling(&mut self, patience: Duration) -> Result<()> {
        let begun = std::time::Instant::now();
        while !fs::read_to_string(&self.process.output)?.contains("ready") {
            self.process.check()?;
            if begun.elapsed() > patience {
                return Err(Error::new(format!("{} is not ready", self.server.label())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Where a server is started.
pub struct Start<'a> {
    /// The cores.
    pub setting: &'a Setting,
    /// The zones.
    pub data: &'a Data,
    /// The port.
    pub port: u16,
    /// A folder of its own.
    pub folder: &'a Path,
    /// What for.
    pub purpose: Purpose,
}

impl Start<'_> {
    /// Writes what the server needs, and gives the command.
    pub fn prepare(&self, server: &Server) -> Result<Command> {
        match server {
            Server::Nsd => self.nsd(),
            Server::Knot => self.knot(),
            Server::Bind => self.bind(),
            Server::Pdns => self.pdns(),
            Server::Danelaw(path) => self.danelaw(path, "key = \"csk.pem\"\ncds = false"),
            Server::Presigned(path) => self.danelaw(path, "signing = \"presigned\""),
            Server::Lookup | Server::Echo => self.ceiling(server),
        }
    }

    /// Starts it.
    pub fn start(&self, server: &Server) -> Result<Running> {
        let process = Process::start(&mut self.prepare(server)?, self.folder, self.setting.cores)?;
        Ok(Running { server: server.clone(), port: self.port, process, folder: self.folder.to_owned() })
    }

    fn is_changing(&self) -> bool {
        self.purpose == Purpose::Changing
    }

    fn is_transferring(&self) -> bool {
        self.purpose == Purpose::Transferring
    }

    /// The folder of the signed files: a copy where they are going to change.
    fn signed(&self) -> Result<PathBuf> {
        if !self.is_changing() {
            return Ok(self.data.signed_folder());
        }
        for zone in self.data.set.zones() {
            fs::copy(self.data.signed(&zone), self.folder.join(format!("{zone}.zone")))?;
        }
        Ok(self.folder.to_owned())
    }

    /// A line for each zone.
    fn each(&self, line: impl Fn(&str) -> String) -> String {
        self.data.set.zones().map(|zone| line(&zone)).collect()
    }

    fn program(name: &str) -> Command {
        Command::new(find(name).unwrap_or_else(|| name.into()))
    }

    fn nsd(&self) -> Result<Command> {
        let (folder, port, zones) = (self.folder.display(), self.port, self.signed()?);
        let mut config = format!(
            "server:\n server-count: 1\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{}\"\n \
             pidfile: \"{folder}/pid\"\n xfrdfile: \"{folder}/xfrd\"\n xfrdir: \"{folder}\"\n zonelistfile: \"{folder}/list\"\n \
             logfile: \"{folder}/log\"\n database: \"\"\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n \
             minimal-responses: yes\n receive-buffer-size: 4194304\n send-buffer-size: 4194304\n tcp-count: 1000\n \
             tcp-query-count: 0\n reuseport: no\nremote-control:\n control-enable: yes\n control-interface: \"{folder}/control\"\n",
            zones.display()
        );
        let more = if self.is_transferring() { " provide-xfr: 127.0.0.1 NOKEY\n" } else { "" };
        config += &self.each(|zone| format!("zone:\n name: \"{zone}\"\n zonefile: \"{zone}.zone\"\n{more}"));
        self.write("nsd.conf", &config)?;
        let mut command = Self::program("nsd");
        command.arg("-d").arg("-c").arg(self.folder.join("nsd.conf"));
        Ok(command)
    }

    fn knot(&self) -> Result<Command> {
        let (folder, port) = (self.folder.display(), self.port);
        let (policy, template) = if self.is_changing() {
            for zone in self.data.set.zones() {
                fs::copy(self.data.unsigned(&zone), self.folder.join(format!("{zone}.zone")))?;
            }
            (
                "policy:\n  - id: p\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    signing-threads: 1\n",
                format!(
                    "    storage: \"{folder}\"\n    zonefile-sync: -1\n    dnssec-signing: on\n    dnssec-policy: p\n"
                ),
            )
        } else {
            let storage = self.data.signed_folder();
            let storage = storage.display();
            (
                "",
                format!(
                    "    storage: \"{storage}\"\n    zonefile-load: whole\n    journal-content: none\n    semantic-checks: off\n"
                ),
            )
        };
        let (acl, its_acl) = match self.is_transferring() {
            true => ("acl:\n  - id: anybody\n    address: 127.0.0.1\n    action: transfer\n", "    acl: anybody\n"),
            false => ("", ""),
        };
        let mut config = format!(
            "server:\n    rundir: \"{folder}\"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\n    tcp-max-clients: 1000\ndatabase:\n    storage: \"{folder}\"\nlog:\n  - target: stderr\n    \
             any: error\n{policy}{acl}template:\n  - id: default\n{template}{its_acl}zone:\n"
        );
        config += &self.each(|zone| format!("  - domain: {zone}\n    file: \"{zone}.zone\"\n"));
        self.write("knot.conf", &config)?;
        let mut command = Self::program("knotd");
        command.arg("-c").arg(self.folder.join("knot.conf"));
        Ok(command)
    }

    /// BIND changes a signed zone: its first signing of a large one takes many minutes.
    fn bind(&self) -> Result<Command> {
        let (folder, port, zones) = (self.folder.display(), self.port, self.signed()?);
        let (mut policy, mut options) = ("", String::new());
        if self.is_changing() {
            policy = "dnssec-policy p { keys { csk lifetime unlimited algorithm ecdsap256sha256; }; };\n";
            options = format!(
                "dnssec-policy p; inline-signing no; allow-update {{ 127.0.0.1; }}; key-directory \"{folder}\";"
            );
            for zone in self.data.set.zones() {
                let key = self.data.write_bind_key(self.folder, &zone)?;
                let times = ["-f", "-P", "-1y", "-A", "-1y"];
                run(Self::program("dnssec-settime")
                    .args(times)
                    .arg("-K")
                    .arg(self.folder)
                    .arg(key.file_name().unwrap_or_default()))?;
            }
        }
        let transfer = if self.is_transferring() { "127.0.0.1" } else { "none" };
        let mut config = format!(
            "options {{ directory \"{folder}\"; pid-file \"{folder}/pid\"; session-keyfile \"{folder}/session.key\"; \
             listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; minimal-responses yes; notify no; \
             dnssec-validation no; zone-statistics none; tcp-clients 1000; allow-transfer {{ {transfer}; }}; }};\ncontrols {{ }};\n{policy}\
             logging {{ channel errors {{ file \"{folder}/log\"; severity error; }}; category default {{ errors; }}; }};\n"
        );
        let zones = zones.display();
        config += &self
            .each(|zone| format!("zone \"{zone}\" {{ type primary; file \"{zones}/{zone}.zone\"; {options} }};\n"));
        self.write("named.conf", &config)?;
        let mut command = Self::program("named");
        command.args(["-f", "-n", "1", "-c"]).arg(self.folder.join("named.conf"));
        Ok(command)
    }

    fn pdns(&self) -> Result<Command> {
        let (folder, port, zones) = (self.folder.display(), self.port, self.data.signed_folder());
        let zones = zones.display();
        self.write(
            "zones.conf",
            &self.each(|zone| format!("zone \"{zone}\" {{ type master; file \"{zones}/{zone}.zone\"; }};\n")),
        )?;
        self.write(
            "pdns.conf",
            &format!(
                "launch=bind\nbind-config={folder}/zones.conf\nbind-dnssec-db={folder}/dnssec.db\nbind-check-interval=0\n\
                 local-address=127.0.0.1\nlocal-port={port}\nsocket-dir={folder}\ndaemon=no\nguardian=no\nreceiver-threads=1\n\
                 distributor-threads=1\nreuseport=no\nmax-tcp-connections=1000\ncache-ttl=600\nquery-cache-ttl=600\n\
                 negquery-cache-ttl=600\nmax-packet-cache-entries=1000000\nmax-cache-entries=1000000\n\
                 zone-cache-refresh-interval=600\nloglevel=2\nsecurity-poll-suffix=\nversion-string=anonymous\n"
            ),
        )?;
        let config = format!("--config-dir={folder}");
        let database = self.folder.join("dnssec.db");
        run(Self::program("pdnsutil").arg(&config).arg("create-bind-db").arg(&database))?;
        let presigned = self.each(|zone| {
            format!("INSERT INTO domainmetadata (domain, kind, content) VALUES ('{zone}', 'PRESIGNED', '1');\n")
        });
        self.write("presigned.sql", &format!("BEGIN;\n{presigned}COMMIT;\n"))?;
        run(Self::program("sqlite3").arg(&database).arg(format!(".read {folder}/presigned.sql")))?;
        let mut command = Self::program("pdns_server");
        command.arg(config);
        Ok(command)
    }

    fn danelaw(&self, program: &Path, of_a_zone: &str) -> Result<Command> {
        let keys = self.folder.join("keys");
        let port = self.port;
        let mut config = format!(
            "listen = [\"127.0.0.1:{port}\"]\naddresses = [\"192.0.2.1\"]\n[dane]\ndnssec = \"zone\"\nmail-service = \"declared\"\n"
        );
        if self.is_transferring() {
            config += "[secondary.knot]\naddresses = [\"127.0.0.1\"]\nnotify = false\n";
        }
        let zones = if self.is_changing() {
            let (zone, host) = self.data.set.changing();
            for folder in ["zones", "certs"] {
                fs::create_dir_all(self.folder.join(folder))?;
            }
            fs::copy(self.data.unsigned(&zone), self.folder.join(format!("zones/{zone}.zone")))?;
            config += &format!("[[certificates]]\npath = \"certs\"\n[[service]]\nhost = \"{host}\"\nport = 993\n");
            self.folder.join("zones")
        } else if of_a_zone.contains("presigned") {
            self.data.signed_folder()
        } else {
            self.data.unsigned_folder()
        };
        let mut text = format!("zones = \"{}\"\n{config}", zones.display());
        for zone in self.data.set.zones() {
            // A String takes everything.
            let _ = writeln!(text, "[zone.\"{zone}\"]\n{of_a_zone}");
        }
        fs::create_dir_all(&keys)?;
        self.data.write_pem(&keys.join("csk.pem"))?;
        self.write("danelaw.toml", &text)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(self.folder.join("danelaw.toml")).arg("serve").env("DANELAW_LOG", "warn");
        Ok(command)
    }

    fn ceiling(&self, server: &Server) -> Result<Command> {
        let Purpose::Answering { tcp, workload } = self.purpose else {
            return Err(Error::new("a ceiling takes no changes"));
        };
        // This very program, even where another has been built in its place meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(["ceiling", &server.label(), &self.port.to_string(), "--set", self.data.set.label()]);
        command.args(["--workload", workload.label(), "--signed"]).arg(self.data.signed_folder());
        command.args(tcp.then_some("--tcp"));
        Ok(command)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(name), text)?)
    }
}
