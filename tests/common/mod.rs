//! What the tests share: example zones signed in memory, a small server for them, a message decoder of its own, other programs.
#![expect(dead_code, reason = "each test program uses its part")]

pub mod parsed;
pub mod postfix;
pub mod program;
pub mod server;
pub mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use danelaw::dns::dnssec::{Algorithm, Signer};
use danelaw::dns::{Name, Rtype, Timestamp};
use danelaw::keys::{self, ZoneKey};
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::file::{Includes, parse};
use danelaw::zone::sign::{Policy, SignedSet};
use danelaw::zone::{Contents, Denial, Draft, Published, ZoneSnapshot};

/// The example zones of the repository, by origin.
pub const EXAMPLES: [&str; 3] = ["example.org", "corners.example", "types.example"];

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Starts a daemon in a folder with its configuration; it says in the file `ready` where it answers, and its log in `log`.
pub fn serve(danelaw: &str, folder: &Path) -> Child {
    Command::new(danelaw)
        .args(["serve", "--ephemeral", "--ready-file", "ready"])
        .current_dir(folder)
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the ready file of a daemon says of a transport.
pub fn address(folder: &Path, transport: &str) -> SocketAddr {
    let ready = std::fs::read_to_string(folder.join("ready")).unwrap();
    let found = ready.lines().find_map(|line| line.strip_prefix(transport)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{transport} in {ready}"))
}

pub fn now() -> Timestamp {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub fn name(text: &str) -> Name {
    Name::parse(text, None).unwrap()
}

/// Reads `$INCLUDE`d files below a folder.
pub struct Folder(pub PathBuf);

impl Includes for Folder {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }
}

/// An example zone's contents as its file has them.
pub fn example(origin: &str) -> Contents {
    let folder = repository().join("zones");
    let file = format!("{origin}.zone");
    let text = std::fs::read(folder.join(&file)).unwrap();
    contents(origin, &text, &mut Folder(folder))
}

/// A zone of delegations, names that only lead to them, and wildcards beside both: what opt-out makes different.
pub fn delegations() -> Contents {
    let text = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n\
                plain NS ns.plain\nns.plain A 192.0.2.2\n\
                secure NS ns\n DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
                x.deep NS ns\ny.deeper.deep NS ns.y.deeper.deep\nns.y.deeper.deep A 192.0.2.3\n\
                z.mixed NS ns\na.b.mixed TXT here\n\
                *.mixed TXT wild\n*.wide.wild CNAME ns\n\
                *.all TXT all\nu.v.all NS ns\n";
    zone("delegations.example", text)
}

/// Zone text that has to be right.
pub fn zone(origin: &str, text: &str) -> Contents {
    contents(origin, text.as_bytes(), &mut Folder("/nonexistent".into()))
}

fn contents(origin: &str, text: &[u8], includes: &mut dyn Includes) -> Contents {
    let parsed = parse(&name(origin), "test.zone", text, includes);
    let diagnostics: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    parsed.contents.unwrap_or_else(|| panic!("{}", diagnostics.join("\n")))
}

pub const OPT_OUT: &str = "nsec3 with opt-out, salt and iterations";

/// Every kind of chain: NSEC, NSEC3 as RFC 9276 wants it, and NSEC3 with all that it advises against.
pub fn denials() -> [(&'static str, Denial); 3] {
    let deprecated = Parameters { iterations: 3, salt: [0xaa, 0xbb, 0xcc, 0xdd].into(), opt_out: true };
    [("nsec", Denial::Nsec), ("nsec3", Denial::Nsec3(Parameters::default())), (OPT_OUT, Denial::Nsec3(deprecated))]
}

/// Signs contents with a new key, now.
pub fn sign(contents: &Contents, algorithm: Algorithm) -> Published {
    sign_denying(contents, algorithm, Denial::Nsec)
}

/// The same with another chain.
pub fn sign_denying(contents: &Contents, algorithm: Algorithm, denial: Denial) -> Published {
    let (key, _) = ZoneKey::generate(algorithm).unwrap();
    let policy = Policy { denial, ..Policy::default() };
    sign_by(contents, &[&key], None, policy, now(), 1)
}

/// Signs contents as they are published.
pub fn sign_with(
    contents: &Contents,
    signers: &[&dyn Signer],
    before: Option<&Published>,
    now: Timestamp,
    serial: u32,
) -> Published {
    sign_by(contents, signers, before, Policy::default(), now, serial)
}

/// The same under a policy.
pub fn sign_by(
    contents: &Contents,
    signers: &[&dyn Signer],
    before: Option<&Published>,
    policy: Policy,
    now: Timestamp,
    serial: u32,
) -> Published {
    let mut contents = contents.clone();
    let origin = contents.origin().clone();
    for rrset in keys::apex_rrsets(&origin, signers, keys::KEY_TTL, true) {
        contents.replace(&origin, rrset);
    }
    Draft::signed(&contents, signers, before, policy, now).unwrap().finish(serial).unwrap()
}

/// Changes an RRset of a signed zone, or its signatures.
pub fn edit(published: &mut Published, owner: &Name, rtype: Rtype, edit: impl FnOnce(&mut SignedSet)) {
    let mut set = published.set(owner, rtype).unwrap();
    edit(&mut set);
    published.tree.change(owner, &[(rtype, Some(set))]);
}

/// The owners of the NSEC3 records.
pub fn hashes(published: &Published) -> Vec<Name> {
    published.sets().filter(|(_, set)| set.rrset.rtype == Rtype::NSEC3).map(|(owner, _)| owner).collect()
}

pub fn snapshot(published: &Published) -> std::sync::Arc<ZoneSnapshot> {
    std::sync::Arc::new(ZoneSnapshot::build(published).unwrap())
}

/// Runs a program of the test machine. One that is missing fails the test: it was not skipped unseen.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{program}: {error}; this test needs it (`.ci/run` installs what the tests need)")
    })
}

/// Runs a program that has to succeed; gives what it printed.
pub fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {}\n{text}", arguments.join(" "), output.status);
    text
}

/// A port of 127.0.0.1 that is free for UDP and TCP, below those that the kernel gives to clients and danelaw takes where it may
/// choose: a server that is started later shall find it free.
pub fn free_port() -> u16 {
    // Tests that run side by side begin at different ports.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + (std::process::id() % 800) as u16 * 10 + NEXT.fetch_add(1, Ordering::Relaxed) % 1000;
    let free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        std::net::UdpSocket::bind(address).is_ok() && std::net::TcpListener::bind(address).is_ok()
    };
    (start..start + 1000).find(free).expect("a free port")
}

/// Signs with BIND, a KSK and a ZSK of RSA; gives the signed zone and its DS.
pub fn sign_elsewhere(origin: &str, text: &str, folder: &Path) -> (String, String) {
    let folder_text = folder.to_str().unwrap();
    for flags in [&["-f", "KSK"][..], &[]] {
        let arguments = ["-q", "-K", folder_text, "-a", "RSASHA256", "-b", "2048"];
        succeed("dnssec-keygen", &[&arguments, flags, &[origin]].concat());
    }
    sign_again(origin, text, folder)
}

/// The same with the keys that are there.
pub fn sign_again(origin: &str, text: &str, folder: &Path) -> (String, String) {
    let (file, signed) = (folder.join("unsigned.zone"), folder.join("signed.zone"));
    std::fs::write(&file, text).unwrap();
    let folder_text = folder.to_str().unwrap();
    let arguments = ["-S", "-q", "-K", folder_text, "-d", folder_text, "-o", origin, "-O", "full", "-3", "-", "-f"];
    succeed("dnssec-signzone", &[&arguments[..], &[signed.to_str().unwrap(), file.to_str().unwrap()]].concat());
    (
        std::fs::read_to_string(signed).unwrap(),
        std::fs::read_to_string(folder.join(format!("dsset-{}.", origin.trim_end_matches('.')))).unwrap(),
    )
}
