//! The command line as it is typed. What the values mean together is checked by the configuration and the commands.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::values::parse_duration;
use crate::dane::{Parameters, Protocol};
use crate::dns::Name;
use crate::dns::tsig::Algorithm;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, nothing found
  1  findings, or the command failed
  2  wrong arguments or configuration
check --online has those of monitoring plugins:
  0 ok, 1 warning, 2 critical, 3 unknown; wrong arguments or configuration are 3";

/// An authoritative DNS server that signs its zones and keeps TLSA records true to the mail server's certificate.
#[derive(Clone, Debug, Parser)]
#[command(name = "danelaw", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Args {
    /// The configuration [default: danelaw.toml here, else /etc/danelaw/danelaw.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command and its arguments.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve the zones until a signal ends it
    Serve(Serve),
    /// Write a mail zone and a commented configuration for a domain
    Init(Init),
    /// Look for mistakes in zone files and configuration
    Check(Check),
    /// Print the TLSA record of a certificate
    Tlsa(Tlsa),
    /// Print the DS records that the parent zone needs
    Ds(Zone),
    /// Look at a zone
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// DNSSEC keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Messages to the operator
    #[command(subcommand)]
    Messages(MessagesCommand),
    /// Ask the running daemon how everything is
    Status(Plain),
    /// Ask the running daemon why a host's TLSA is served or withheld
    Explain(Host),
    /// Take a host's TLSA away until `restore`
    Withdraw(Host),
    /// Publish a host's TLSA again once its prerequisites hold
    Restore(Host),
    /// Say that a certificate of a host is gone for good, so that its record may go
    Forget(Forget),
    /// The rollover of a host's certificate
    #[command(subcommand)]
    Rollover(RolloverCommand),
    /// Certificates that danelaw gets by itself
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// Print what a host's rollover, or the next one, will do, when and why
    Plan(Host),
    /// Print what a rollover does, for any settings and without a daemon
    Simulate(Simulate),
    /// Print what the running daemon did and saw
    Log(Log),
    /// Make the running daemon read everything again
    Reload(Plain),
}

/// `simulate`
#[derive(Clone, Debug, clap::Args)]
pub struct Simulate {
    /// The TTL of the TLSA RRset
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub ttl: u64,
    /// How long both records are out at least before the certificate is installed
    #[arg(long, default_value = "1d", value_parser = duration)]
    pub confirmation_interval: u64,
    /// The SOA's EXPIRE
    #[arg(long, default_value = "2w", value_parser = duration)]
    pub expire: u64,
    /// Nameservers beside this one
    #[arg(long, default_value_t = 1)]
    pub secondaries: u8,
    /// How long it takes them to show a new version
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub lag: u64,
    /// How many of them can't be reached
    #[arg(long, default_value_t = 0)]
    pub dead: u8,
    /// Usage, selector and matching type of the records
    #[arg(long, default_value = "3 1 1", num_args = 1.., value_delimiter = ',')]
    pub parameters: Vec<Parameters>,
    /// The renewed certificate has the key of the one before
    #[arg(long, conflicts_with = "next_key")]
    pub same_key: bool,
    /// The renewed certificate's key was published long before
    #[arg(long)]
    pub next_key: bool,
    /// What a mail server does that reads its certificate as soon as it is renewed
    #[arg(long)]
    pub naive: bool,
    /// JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

/// Seconds.
fn duration(text: &str) -> Result<u64, String> {
    parse_duration(text).ok_or_else(|| "seconds, or such as 90s, 1h30m, 2d".to_owned())
}

/// `rollover ...`
#[derive(Clone, Debug, Subcommand)]
pub enum RolloverCommand {
    /// Show how rollovers stand, and what they wait for
    Status(RolloverStatus),
    /// Begin again what was given up
    Start(Host),
    /// Install and remove nothing until `resume`
    Hold(Host),
    /// Go on after `hold`
    Resume(Host),
    /// Give up a rollover whose certificate is not installed yet
    Abort(Host),
}

/// `rollover status`
#[derive(Clone, Debug, clap::Args)]
pub struct RolloverStatus {
    /// Of this host only
    pub host: Option<Name>,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// `certificate ...`
#[derive(Clone, Debug, Subcommand)]
pub enum CertificateCommand {
    /// Show the certificates that danelaw orders, and how their orders stand
    List(RolloverStatus),
    /// Order a host's certificate now, whether it is time or not
    Order(Host),
    /// The same as `order`
    Renew(Host),
    /// Give up a host's order that is under way
    Cancel(Host),
    /// Replace a host's certificate by one with the next key, now
    Rotate(Host),
    /// The same as `rotate`, and revoke the one that it replaces
    Revoke(Revoke),
}

/// `certificate revoke`
#[derive(Clone, Debug, clap::Args)]
pub struct Revoke {
    /// The host that the certificate is called by
    pub host: Name,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Unspecified)]
    pub reason: Reason,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// Why a certificate is revoked (RFC 5280 section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reason {
    /// Nothing is said
    Unspecified,
    /// Somebody else may have the key
    KeyCompromise,
    /// There is another certificate
    Superseded,
    /// The names are used no more
    CessationOfOperation,
}

impl Reason {
    /// The reason's code.
    pub fn code(self) -> u8 {
        match self {
            Reason::Unspecified => 0,
            Reason::KeyCompromise => 1,
            Reason::Superseded => 4,
            Reason::CessationOfOperation => 5,
        }
    }
}

/// `log`
#[derive(Clone, Debug, clap::Args)]
pub struct Log {
    /// About this host or zone only
    #[arg(value_name = "HOST")]
    pub subject: Option<Name>,
    /// The last so many events
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub limit: u32,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// `serve`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Serve {
    /// Addresses to listen on in place of the configuration's; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", num_args = 1.., value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// The zones folder in place of the configuration's
    #[arg(long, value_name = "DIR")]
    pub zones: Option<PathBuf>,
    /// Write the addresses into this file, one a line, once queries are answered
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Keep keys and state in memory: for tests. Nothing can be handed to a parent zone
    #[arg(long)]
    pub ephemeral: bool,
}

impl Serve {
    /// What of it goes into the configuration.
    pub fn overrides(&self) -> crate::config::Overrides {
        crate::config::Overrides { listen: self.listen.clone(), zones: self.zones.clone() }
    }
}

/// `init`
#[derive(Clone, Debug, clap::Args)]
pub struct Init {
    /// The mail domain, such as example.org
    pub domain: String,
    /// A public address of this server; IPv4 and IPv6, as many as there are
    #[arg(long = "address", value_name = "IP", required = true, num_args = 1.., value_delimiter = ',')]
    pub addresses: Vec<IpAddr>,
    /// The DKIM record as opendkim-genkey or rspamadm wrote it
    #[arg(long, value_name = "FILE")]
    pub dkim: Option<PathBuf>,
    /// Let danelaw get the certificate of mail.<DOMAIN> itself, from Let's Encrypt, to whose terms you agree with this
    #[arg(long)]
    pub certificate: bool,
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// `check`
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// Zones by name, or zone files; with `--online` any mail domains [default: all zones]
    pub zones: Vec<String>,
    /// Warnings count as errors in the exit code
    #[arg(long, conflicts_with = "online")]
    pub strict: bool,
    /// Look at domains as others see them: DNSSEC, nameservers, MX, mail servers, TLSA. Exit code 0 ok, 1 warning, 2 critical,
    /// 3 unknown or wrong arguments, as monitoring plugins have it
    #[arg(long)]
    pub online: bool,
    /// A DKIM selector of the domain [default: those in the configuration or the zone file]
    #[arg(long = "selector", value_name = "SELECTOR", requires = "online")]
    pub selectors: Vec<String>,
    /// A port of the mail hosts that is asked beside 25, such as 465
    #[arg(long = "port", value_name = "PORT", requires = "online")]
    pub ports: Vec<u16>,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// `tlsa`
#[derive(Clone, Debug, clap::Args)]
pub struct Tlsa {
    /// A PEM or DER file; its first certificate counts, and the chain after it for usage 2
    pub certificate: PathBuf,
    /// 3 DANE-EE, 2 DANE-TA
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub usage: u8,
    /// 1 the public key, 0 the whole certificate
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub selector: u8,
    /// 1 SHA-256, 2 SHA-512, 0 no hash
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub matching: u8,
    /// The port in the owner
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// The transport in the owner [default: tcp]
    #[arg(long)]
    pub protocol: Option<Protocol>,
    /// The host in the owner [default: the certificate's names]
    #[arg(long)]
    pub host: Option<Name>,
}

/// A command about one zone.
#[derive(Clone, Debug, clap::Args)]
pub struct Zone {
    /// The zone's name
    pub zone: Name,
}

/// `zone ...`
#[derive(Clone, Debug, Subcommand)]
pub enum ZoneCommand {
    /// Print the signed zone as a zone file
    Dump(ZoneDump),
    /// Print a zone as its file and dynamic updates have it, or put it into its file
    Export(ZoneExport),
    /// Take no dynamic updates of a zone until `thaw`
    Freeze(Zone),
    /// Take dynamic updates again
    Thaw(Zone),
}

/// `zone dump`
#[derive(Clone, Debug, clap::Args)]
pub struct ZoneDump {
    /// The zone's name
    pub zone: Name,
    /// Say behind each record where it comes from: source, update, synthesised or signing
    #[arg(long)]
    pub origin: bool,
}

/// `zone export`
#[derive(Clone, Debug, clap::Args)]
pub struct ZoneExport {
    /// The zone's name
    pub zone: Name,
    /// Replace the zone's file with it; what was there stays beside it, its name with a ~ behind
    #[arg(long)]
    pub write: bool,
}

/// `keys ...`
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys
    List(KeysList),
    /// Make a key for a zone that has none
    Generate(Zone),
    /// Make a TSIG key, a secret that is shared with another server or a client
    Tsig(KeysTsig),
    /// Take over keys of BIND, ldns, Knot or OpenSSL
    Import(KeysImport),
    /// Say that a key is lost for good, so that the zone gets a new one. Take its DS out of the parent first
    Forget(ForgetKey),
}

/// `messages ...`
#[derive(Clone, Debug, Subcommand)]
pub enum MessagesCommand {
    /// Have the running daemon send a message to everybody who is told, and say what became of each
    Test(Plain),
}

/// `keys list`
#[derive(Clone, Debug, clap::Args)]
pub struct KeysList {
    /// Of this zone only
    pub zone: Option<Name>,
    /// JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

/// `keys tsig`
#[derive(Clone, Debug, clap::Args)]
pub struct KeysTsig {
    /// The key's name, which both sides use: transfer.example.org
    pub name: Name,
    /// hmac-sha256, hmac-sha384 or hmac-sha512
    #[arg(long, default_value_t = Algorithm::HmacSha256)]
    pub algorithm: Algorithm,
}

/// `keys import`
#[derive(Clone, Debug, clap::Args)]
pub struct KeysImport {
    /// K<zone>+<algorithm>+<tag>.private of BIND or ldns with its .key beside it, or a PEM file
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The zone: a PEM file's name does not tell it
    #[arg(long)]
    pub zone: Option<Name>,
    /// The key tag that a PEM file has to come to: that of the DS at the parent
    #[arg(long, value_name = "TAG")]
    pub tag: Option<u16>,
}

/// `forget`
#[derive(Clone, Debug, clap::Args)]
pub struct Forget {
    /// The MX or service host
    pub host: Name,
    /// The beginning of the certificate's fingerprint, as `explain --json` shows it
    pub certificate: String,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// `keys forget`
#[derive(Clone, Debug, clap::Args)]
pub struct ForgetKey {
    /// The zone's name
    pub zone: Name,
    /// Algorithm and tag, such as 013+55648
    pub key: String,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// A command without arguments of its own.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Plain {
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// A command about one host.
#[derive(Clone, Debug, clap::Args)]
pub struct Host {
    /// The MX or service host, such as mail.example.org
    pub host: Name,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_tells_its_exit_codes() {
        Args::command().debug_assert();
        assert!(Args::command().render_help().to_string().contains("2  wrong arguments or configuration"));
    }

    #[test]
    fn arguments_are_read() {
        let args = ["danelaw", "serve", "--listen", "127.0.0.1:0", "[::1]:53", "--ephemeral", "--config", "c.toml"];
        let args = Args::try_parse_from(args).unwrap();
        assert_eq!(args.config, Some("c.toml".into()));
        let Command::Serve(serve) = args.command else { panic!("serve") };
        assert_eq!((serve.overrides().listen.len(), serve.ephemeral), (2, true));
        for wrong in [
            &["serve", "--listen", "127.0.0.1"][..],
            &["explain", "a..b"],
            &["tlsa", "c.pem", "--usage", "4"],
            &["keys", "tsig", "a.test", "--algorithm", "hmac-md5"],
            &["tlsa", "c.pem", "--port", "0"],
            &["init", "example.org"],
        ] {
            let error = Args::try_parse_from(std::iter::once(&"danelaw").chain(wrong)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }
}
