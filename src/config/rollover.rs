//! `[rollover]`, `[host."..."]` and a zone's `nameservers`: where certificates are installed, what is run then, and who is asked
//! what it sees.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::check::{check_path, parse_host};
use super::reader::{Problems, Section, as_section, list_of};
use super::values::Config;
use crate::dns::Name;

/// Seconds that a hook may take when nothing else is said, and at most.
const HOOK_LIMIT: u64 = 60;
const HOOK_LIMIT_MAX: u64 = 3600;
/// A year in seconds.
const YEAR: u64 = 365 * 86_400;
const COMMAND: &str = "a program and its arguments, such as [\"postfix\", \"reload\"], or a list of those";
const SERVER: &str = "an address, with a port where it isn't 53, such as \"192.0.2.53\" or \"[2001:db8::53]:5300\"";

/// A program and its arguments.
pub type Command = Vec<String>;

/// What holds for the rollovers of every host, and of those that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloverConfig {
    /// Where certificates are installed, and mail servers read them.
    pub deployed: PathBuf,
    /// What is run after an installation, in this order, where the host says nothing else.
    pub hooks: Vec<Command>,
    /// How long each of them may take, in seconds.
    pub hook_limit: u64,
    /// The hosts that differ.
    pub hosts: BTreeMap<Name, HostConfig>,
    /// Who is asked what a zone's nameservers show, where that is not the addresses of its NS records.
    pub nameservers: BTreeMap<Name, Vec<SocketAddr>>,
}

/// `[host."..."]`; none: what holds elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// What is run after an installation.
    pub hooks: Option<Vec<Command>>,
    /// How long each of them may take, in seconds.
    pub hook_limit: Option<u64>,
    /// `confirmation-interval`, in seconds.
    pub confirmation_interval: Option<u64>,
    /// Where its services are asked for their certificates, in place of its own addresses.
    pub probe: Option<Vec<SocketAddr>>,
}

impl RolloverConfig {
    pub(super) fn new(folder: &Path) -> RolloverConfig {
        RolloverConfig {
            deployed: folder.join("deployed"),
            hooks: Vec::new(),
            hook_limit: HOOK_LIMIT,
            hosts: BTreeMap::new(),
            nameservers: BTreeMap::new(),
        }
    }

    /// What is run after an installation, and how long each may take in seconds.
    pub fn hooks(&self, host: &Name) -> (&[Command], u64) {
        let own = self.hosts.get(host);
        let hooks = own.and_then(|own| own.hooks.as_deref()).unwrap_or(&self.hooks);
        (hooks, own.and_then(|own| own.hook_limit).unwrap_or(self.hook_limit))
    }
}

/// Reads all of it but the zones'.
pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let folder = config.folder.clone();
    if let Some(mut section) = root.section("rollover", problems) {
        if let Some(path) = check_path(&mut section, "deployed", &folder, problems) {
            config.rollover.deployed = path;
        }
        let (hooks, limit) = check_hooks(&mut section, problems);
        config.rollover.hooks = hooks.unwrap_or_default();
        config.rollover.hook_limit = limit.unwrap_or(HOOK_LIMIT);
        section.finish(problems);
    }
    let Some(hosts) = root.section("host", problems) else { return };
    for (key, span, value) in hosts.entries() {
        let Some(section) = as_section(&format!("host.\"{key}\""), value, problems) else { continue };
        match parse_host(key) {
            Err(why) => problems.error(span, why, "[host.\"mail.example.org\"], in quotes"),
            Ok(host) if config.rollover.hosts.contains_key(&host) => {
                let message = format!("[host.\"{key}\"] stands here twice, with other case or a final dot");
                problems.error(span, message, "one table for each host");
            }
            Ok(host) => {
                let checked = check_host(section, problems);
                config.rollover.hosts.insert(host, checked);
            }
        }
    }
}

fn check_host(mut section: Section<'_>, problems: &mut Problems<'_>) -> HostConfig {
    let (hooks, hook_limit) = check_hooks(&mut section, problems);
    let confirmation_interval = section.duration("confirmation-interval", 0..=YEAR, problems);
    let expected = "addresses with ports, such as \"127.0.0.1:25\"";
    let probe = section.list("probe", expected, problems, |text| {
        text.parse().map_err(|_| format!("\"{text}\" is not an address with a port"))
    });
    section.finish(problems);
    let probe = probe.map(|probe| probe.into_iter().map(|(address, _)| address).collect());
    HostConfig { hooks, hook_limit, confirmation_interval, probe }
}

fn check_hooks(section: &mut Section<'_>, problems: &mut Problems<'_>) -> (Option<Vec<Command>>, Option<u64>) {
    let limit = section.duration("hook-limit", 1..=HOOK_LIMIT_MAX, problems);
    let Some(value) = section.value("install-hook") else { return (None, limit) };
    let is_nested = value.get_ref().as_array().is_some_and(|all| all.iter().any(|one| one.get_ref().is_array()));
    let commands: Vec<Command> = match value.get_ref().as_array().filter(|_| is_nested) {
        None => command(value, problems).into_iter().collect(),
        Some(all) => all.iter().filter_map(|one| command(one, problems)).collect(),
    };
    (Some(commands), limit)
}

/// One command; none where it is empty, which is what says that nothing is run.
fn command(value: &Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<Command> {
    let word = |text: &str| match text {
        _ if text.contains('\0') => Err("holds a zero byte".to_owned()),
        _ => Ok(text.to_owned()),
    };
    let words = list_of("install-hook", value, COMMAND, problems, word)?;
    let words: Command = words.into_iter().map(|(word, _)| word).collect();
    if words.first().is_some_and(String::is_empty) {
        problems.error(value.span(), "`install-hook`: the program has no name", COMMAND);
        return None;
    }
    (!words.is_empty()).then_some(words)
}

/// A zone's `nameservers`.
pub(super) fn check_nameservers(
    section: &mut Section<'_>,
    zone: &Name,
    config: &mut Config,
    problems: &mut Problems<'_>,
) {
    let servers = section.list("nameservers", SERVER, problems, |text| {
        let with_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        text.parse::<SocketAddr>().or_else(|_| with_port()).map_err(|_| format!("\"{text}\" is not an address"))
    });
    let Some(servers) = servers else { return };
    config.rollover.nameservers.insert(zone.clone(), servers.into_iter().map(|(server, _)| server).collect());
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};

    #[test]
    fn hooks_hosts_and_nameservers_are_read() {
        let config = parse(
            r#"
            [rollover]
            deployed = "/var/lib/danelaw/deployed"
            install-hook = ["postfix", "reload"]
            hook-limit = "30s"
            [host."mail.example.org"]
            install-hook = [["postfix", "reload"], ["doveadm", "reload"]]
            confirmation-interval = "48h"
            probe = ["127.0.0.1:2525"]
            [host."quiet.example.org"]
            install-hook = []
            hook-limit = 5
            [zone."example.org"]
            nameservers = ["192.0.2.53", "[2001:db8::53]:5300"]
            "#,
        )
        .unwrap();
        let rollover = &config.rollover;
        assert_eq!(rollover.deployed, std::path::Path::new("/var/lib/danelaw/deployed"));
        assert_eq!(rollover.hooks(&name("other.example.org.")), (&[vec!["postfix".into(), "reload".into()]][..], 30));
        let mail = &rollover.hosts[&name("mail.example.org.")];
        assert_eq!(rollover.hooks(&name("mail.example.org.")).0.len(), 2);
        assert_eq!(mail.confirmation_interval, Some(48 * 3600));
        assert_eq!(mail.probe.as_deref(), Some(&["127.0.0.1:2525".parse().unwrap()][..]));
        assert_eq!(rollover.hooks(&name("quiet.example.org.")), (&[][..], 5));
        let servers = &rollover.nameservers[&name("example.org.")];
        assert_eq!(servers[..], ["192.0.2.53:53".parse().unwrap(), "[2001:db8::53]:5300".parse().unwrap()]);
        let defaults = parse("").unwrap().rollover;
        assert_eq!(defaults.deployed, std::path::Path::new("/etc/danelaw/deployed"));
        assert_eq!(defaults.hooks(&name("mail.example.org.")), (&[][..], 60));
    }

    #[test]
    fn what_can_not_be_is_said() {
        for (text, expected) in [
            ("[rollover]\ninstall-hook = \"postfix reload\"", "must be a list"),
            ("[rollover]\ninstall-hook = [\"\"]", "no name"),
            ("[rollover]\ninstall-hook = [[\"postfix\", 1]]", "must be a"),
            ("[rollover]\nhook-limit = \"2h\"", "hook-limit"),
            ("[rollover]\ndeploy = \"x\"", "did you mean `deployed`?"),
            ("[host.\"a b\"]", "not a host name"),
            ("[host.\"A.example\"]\n[host.\"a.example.\"]", "stands here twice"),
            ("[host.\"a.example\"]\nprobe = [\"192.0.2.1\"]", "with a port"),
            ("[zone.\"a.example\"]\nnameservers = [\"ns1.example\"]", "not an address"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
