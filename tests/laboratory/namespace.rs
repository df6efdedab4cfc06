//! A network of its own for each test: its loopback interface has every address of the laboratory, and port 53 is free.
//!
//! Nothing reaches it from outside and nothing leaves it. It has no name, so no two runs can meet; it ends with the
//! process that holds it, and takes all that runs in it along, however the test ends.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Those of nobody in particular, in which whoever makes them is root.
const OWN: [&str; 5] = ["--user", "--map-root-user", "--net", "--pid", "--fork"];
/// Those of root, in which the machine's users are who they are, and files can be put over others.
const ROOTS: [&str; 4] = ["--mount", "--net", "--pid", "--fork"];

const IMPOSSIBLE: &str = "no namespaces can be made here, and this test needs them: run it as root, or let users make \
    them (sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0); in a container, \
    give that one CAP_SYS_ADMIN and no seccomp filter against unshare";

/// Waits until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Both streams of a program that has ended.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const NOT_ROOT: &str = "this test needs the users of a mail server, and files over the machine's own: run it as root; in a \
    container, give that one CAP_SYS_ADMIN and no seccomp or AppArmor profile against unshare and mount";

/// Network and process namespaces, and with them users' or mounts.
pub struct Namespace {
    /// `unshare`, whose child is the first process in there: when that ends, the kernel ends the others.
    holder: Child,
    /// The first process, by the number that it has outside.
    first: String,
    /// What nsenter goes into.
    entered: &'static [&'static str],
    inside: Vec<Child>,
}

impl Namespace {
    pub fn with(addresses: impl IntoIterator<Item = IpAddr>) -> Namespace {
        let entered = &["--user", "--net", "--pid", "--preserve-credentials"];
        let made = Namespace::new(&OWN, entered, addresses, "");
        made.unwrap_or_else(|| panic!("{IMPOSSIBLE}"))
    }

    /// The same for programs that run as several users; their resolver is what this file says.
    pub fn of_root(addresses: impl IntoIterator<Item = IpAddr>, resolver: &Path) -> Namespace {
        let over = format!(" && mount -t proc proc /proc && mount --bind '{}' /etc/resolv.conf", resolver.display());
        let made = Namespace::new(&ROOTS, &["--mount", "--net", "--pid"], addresses, &over);
        made.unwrap_or_else(|| panic!("{NOT_ROOT}"))
    }

    /// None where the system doesn't let us. `more` is done in there at last.
    fn new(
        kinds: &[&str],
        entered: &'static [&'static str],
        addresses: impl IntoIterator<Item = IpAddr>,
        more: &str,
    ) -> Option<Namespace> {
        let mut script = "read pid rest < /proc/self/stat && ip link set lo up".to_owned();
        for address in addresses {
            script += &format!(" && ip address add {address} dev lo");
        }
        // Programs look for a route to the world before they ask anybody.
        script += " && ip route add default dev lo && ip -6 route add default dev lo";
        script += more;
        // It ends when this end of its input is closed, by whatever end this program finds.
        script += " && echo $pid && exec cat";
        let mut command = Command::new("unshare");
        command.args(kinds).args(["--kill-child", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare is needed here (Debian's util-linux)");
        let mut first = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let first = first.trim().to_owned();
        if first.is_empty() {
            let _ = holder.kill();
            let _ = holder.wait();
            return None;
        }
        Some(Namespace { holder, first, entered, inside: Vec::new() })
    }

    /// A program of the machine, in here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first]).args(self.entered).args(["--", program]);
        command.stdin(Stdio::null()).env_remove("DANELAW_LOG");
        command
    }

    /// Runs one to its end; gives what it printed, whatever its exit code says.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        // nsenter says so when there is no such program.
        assert_ne!(output.status.code(), Some(127), "{}; `.ci/run` installs what the tests need", said(&output));
        said(&output)
    }

    /// Runs one that has to succeed; gives its standard output.
    pub fn succeed(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}\n{}", output.status, said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does something in here, in a thread of its own; what that opens, and what threads it starts, stay in here. Root's alone.
    pub fn within<T: Send>(&self, doing: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.first)).unwrap();
        let inside = || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            doing()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// Starts one that runs as long as the namespace does. It is up when `is_up` says so.
    pub fn start(&mut self, program: &str, arguments: &[&str], log: &Path, is_up: impl Fn(&Namespace) -> bool) {
        let child = self.spawn(program, arguments, log, is_up);
        self.inside.push(child);
    }

    /// The same for one that may be ended before: it and what it has started are a process group, which nsenter leads.
    pub fn spawn(&self, program: &str, arguments: &[&str], log: &Path, is_up: impl Fn(&Namespace) -> bool) -> Child {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.command(program);
        command.args(arguments).process_group(0).stdout(out.try_clone().unwrap()).stderr(out);
        let mut child = command.spawn().unwrap();
        wait_until(program, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{program} ended: {}", std::fs::read_to_string(log).unwrap());
            is_up(self)
        });
        child
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        for child in &mut self.inside {
            let _ = child.wait();
        }
    }
}
