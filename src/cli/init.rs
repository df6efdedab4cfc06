//! `init`: writes a mail zone and a commented configuration, and says what comes next. Overwrites nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;

use super::args::Init;
use super::output::{Mark, Output};
use super::{CliError, Outcome};
use crate::config::values::is_reserved;
use crate::config::{Config, FILE_NAME};
use crate::dns::Name;

const TEMPLATE: &str = include_str!("danelaw.toml");
/// The biggest DKIM file, bytes.
const MAX_DKIM: u64 = 64 << 10;
/// `_smtp._tls.` and the selectors' names must fit in front of the domain.
const MAX_DOMAIN: usize = 200;

/// Checks everything, then writes.
pub fn run(args: &Init, out: &mut Output) -> Result<Outcome, CliError> {
    let domain = check_domain(&args.domain).map_err(CliError::Usage)?;
    let addresses = check_addresses(&args.addresses, &domain).map_err(CliError::Usage)?;
    let dkim = args.dkim.as_deref().map(read_dkim).transpose().map_err(CliError::Usage)?;
    let config_path = args.folder.join(FILE_NAME);
    let config = Config::load_in(&args.folder)?;
    let zone_path = config.zones.join(format!("{}.zone", domain.to_host()));
    let fresh_config = config.file.is_none();
    std::fs::create_dir_all(&config.zones)
        .map_err(|error| CliError::File(format!("{}: {error}", config.zones.display())))?;
    // The zone first: where it exists, nothing at all is written.
    write_new(&zone_path, &zone_text(&domain, &addresses, dkim.as_deref()))?;
    out.line(format!("wrote {}", zone_path.display()))?;
    if fresh_config {
        write_new(&config_path, &config_text(&domain, &addresses, args.certificate))?;
        out.line(format!("wrote {}", config_path.display()))?;
    } else {
        out.line(format!("kept  {}", config_path.display()))?;
        let missing: Vec<String> =
            addresses.iter().filter(|address| !config.addresses.contains(address)).map(IpAddr::to_string).collect();
        if !missing.is_empty() {
            let note = format!("its `addresses` lack {}: add what this mail server has", missing.join(", "));
            out.line(out.marked(Mark::Warn, &note))?;
        }
    }
    let certificate = match (fresh_config, args.certificate) {
        (true, false) => Certificate::Folder,
        (false, false) => Certificate::Configured,
        (true, true) => Certificate::Ordered,
        (false, true) if config.acme.is_some() => Certificate::ToOrder,
        (false, true) => Certificate::ToAgree,
    };
    out.line(next_steps(&domain, &zone_path, dkim.is_some(), certificate))?;
    Ok(Outcome::Done)
}

/// A name that mail can go to: letters, digits and hyphens, two labels or more.
fn check_domain(text: &str) -> Result<Name, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text} is an address; give the mail domain, such as example.org"));
    }
    if !text.is_ascii() {
        return Err(format!("{text}: write an internationalised domain in its ASCII form, xn--..."));
    }
    let name = Name::parse(text, None).map_err(|error| format!("{text}: {error}"))?.to_lowercase();
    let fits = |label: &[u8]| {
        label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
    };
    match () {
        () if text == "@" || name.label_count() < 2 => Err(format!("{text} is no mail domain, such as example.org")),
        () if !name.labels().all(fits) => {
            Err(format!("{text}: a domain's labels hold letters, digits and inner hyphens only"))
        }
        () if name.as_wire().len() > MAX_DOMAIN => Err(format!("{text} is too long for names in front of it")),
        () => Ok(name),
    }
}

fn check_addresses(addresses: &[IpAddr], domain: &Name) -> Result<Vec<IpAddr>, String> {
    let mut checked: Vec<IpAddr> = Vec::new();
    for &address in addresses {
        if address.is_unspecified() || address.is_multicast() {
            return Err(format!("{address} is no server's address"));
        }
        if address.is_loopback() && !is_reserved(domain) {
            return Err(format!("{address} is reachable from this machine only; give the public address"));
        }
        if !checked.contains(&address) {
            checked.push(address);
        }
    }
    checked.sort();
    Ok(checked)
}

/// The file's text. It goes into the zone unchanged, once it looks like the record and not like the private key.
fn read_dkim(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !metadata.is_file() || metadata.len() > MAX_DKIM {
        return Err(format!("{shown}: not a file of at most {MAX_DKIM} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    if text.contains("PRIVATE KEY-----") {
        return Err(format!(
            "{shown} is a private key, which must never be in DNS; give the .txt file that was made with it"
        ));
    }
    if text.lines().any(|line| line.starts_with('$')) {
        return Err(format!("{shown} holds a $ directive; a DKIM record has none"));
    }
    if !text.contains("_domainkey") || !text.contains("p=") {
        return Err(format!("{shown}: no `<selector>._domainkey ... TXT` record with a `p=` in it"));
    }
    Ok(text)
}

fn zone_text(domain: &Name, addresses: &[IpAddr], dkim: Option<&str>) -> String {
    let domain = domain.to_host();
    let mut hosts = String::new();
    for host in ["@", "mail", "ns1"] {
        for address in addresses {
            let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
            let _ = writeln!(hosts, "{host:<12}IN  {rtype:<5} {address}");
        }
    }
    let dkim = match dkim {
        Some(text) => format!("{}\n", text.trim_end_matches('\n')),
        None => format!(
            "; None yet. Put in what your signer wrote, unchanged (opendkim-genkey -s mail -d {domain}, or\n\
             ; rspamadm dkim_keygen -s mail -d {domain}). Until then the first TLSA is withheld.\n"
        ),
    };
    format!(
        "; {domain}, made by danelaw init. Edit it freely: danelaw sees every save, and tells of mistakes in its log.\n\
         ; DNSKEY, RRSIG, NSEC, CDS, CDNSKEY and _25._tcp.mail TLSA are added by danelaw and don't stand here.\n\
         $ORIGIN {domain}.\n\
         $TTL 1h\n\n\
         @           IN  SOA   ns1 hostmaster (\n\
         \x20                     1    ; serial: danelaw raises it with every change\n\
         \x20                     4h   ; refresh\n\
         \x20                     1h   ; retry\n\
         \x20                     2w   ; expire\n\
         \x20                     10m  ; how long a denial is cached (RFC 2308)\n\
         \x20                     )\n\n\
         ; Many registries ask for two nameservers: add your secondary's name here.\n\
         @           IN  NS    ns1\n\n\
         {hosts}\n\
         ; Mail to {domain} goes to this host. Its name must be in the mail server's certificate.\n\
         @           IN  MX    10 mail\n\n\
         ; SPF (RFC 7208): only the MX hosts send; list others before -all.\n\
         @           IN  TXT   \"v=spf1 mx -all\"\n\
         mail        IN  TXT   \"v=spf1 a -all\"\n\n\
         ; DMARC (RFC 7489): what others do with mail that fails. Start with p=none when more than this server sends.\n\
         _dmarc      IN  TXT   \"v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}\"\n\n\
         ; TLS reports (RFC 8460): others tell here when they can't deliver over TLS. Read them.\n\
         _smtp._tls  IN  TXT   \"v=TLSRPTv1; rua=mailto:postmaster@{domain}\"\n\n\
         ; DKIM (RFC 6376).\n\
         {dkim}"
    )
}

fn config_text(domain: &Name, addresses: &[IpAddr], certificate: bool) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let mut text = TEMPLATE.replace("addresses = []", &format!("addresses = [{}]", list.join(", ")));
    if certificate {
        let host = format!("host = \"mail.{}\"", domain.to_host());
        let ordered = format!("[[certificate]]\n{host}");
        for (sample, setting) in [
            ("\n[[certificates]]\npath = \"certs\"\n", "\n#[[certificates]]\n#path = \"certs\"\n"),
            ("#[acme]\n#agree-to-terms = true\n", "[acme]\nagree-to-terms = true\n"),
            ("#[[certificate]]\n#host = \"mail.example.org\"", &ordered[..]),
        ] {
            text = text.replace(sample, setting);
        }
    }
    text
}

/// Where the mail server's certificate comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certificate {
    /// From a folder that is to be named still.
    Folder,
    /// As the configuration that was there says.
    Configured,
    /// It is ordered.
    Ordered,
    /// It is, when the configuration that was there says so.
    ToOrder,
    /// And that has to agree to the terms, too.
    ToAgree,
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::Usage(format!("{} exists, and init overwrites nothing; move it away first", path.display()))
        }
        _ => CliError::File(format!("{}: {error}", path.display())),
    };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn next_steps(domain: &Name, zone: &Path, dkim: bool, certificate: Certificate) -> String {
    let domain = domain.to_host();
    let mut steps = Vec::new();
    let order = format!("[[certificate]] with host = \"mail.{domain}\"");
    match certificate {
        Certificate::Configured | Certificate::Ordered => {}
        Certificate::Folder => steps
            .push(format!("Name the folder with the mail server's certificate in {FILE_NAME}: [[certificates]] path.")),
        Certificate::ToOrder => steps.push(format!("Add to {FILE_NAME}: {order}.")),
        Certificate::ToAgree => {
            steps.push(format!("Add to {FILE_NAME}: [acme] with agree-to-terms = true, and {order}."));
        }
    }
    if !dkim {
        steps.push(format!("Put the DKIM record into {}.", zone.display()));
    }
    steps.push("danelaw check     looks for mistakes.".to_owned());
    steps.push("danelaw serve     signs and serves.".to_owned());
    steps.push(format!("At the registrar: nameserver ns1.{domain} with its addresses (glue)."));
    if matches!(certificate, Certificate::Ordered | Certificate::ToOrder | Certificate::ToAgree) {
        steps.push(format!(
            "danelaw certificate order mail.{domain}     orders at once, when the CA can find ns1.{domain}: before, orders \
             fail, and the next one waits ever longer."
        ));
        steps.push("danelaw certificate list     shows how the order stands.".to_owned());
        steps.push(format!("Let the mail server read deployed/mail.{domain}/, and [rollover] install-hook reload it."));
    }
    steps.push(format!("danelaw ds {domain}     prints what the registrar needs next: DNSSEC begins with it."));
    steps.push(format!("danelaw explain mail.{domain}     says why TLSA is served, or what it still waits for."));
    let mut text = String::from("\nNext:");
    for (index, step) in steps.iter().enumerate() {
        let _ = write!(text, "\n  {}. {step}", index + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SigningConfig;

    fn init(folder: &Path, domain: &str, addresses: &[&str], dkim: Option<&Path>) -> Result<Outcome, CliError> {
        let args = Init {
            domain: domain.to_owned(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            dkim: dkim.map(Path::to_owned),
            certificate: false,
            folder: folder.to_owned(),
        };
        run(&args, &mut Output::to(std::io::sink()))
    }

    #[test]
    fn the_certificate_is_ordered_where_that_is_said_and_a_configuration_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let init = |domain: &str| {
            let args = Init {
                domain: domain.to_owned(),
                addresses: vec!["192.0.2.25".parse().unwrap()],
                dkim: None,
                certificate: true,
                folder: folder.path().to_owned(),
            };
            run(&args, &mut Output::to(std::io::sink())).unwrap();
            Config::load_in(folder.path()).unwrap()
        };
        let config = init("example.net");
        let hosts: Vec<String> = config.ordered.iter().map(|one| one.host.to_host()).collect();
        assert_eq!((hosts, config.acme.is_some()), (vec!["mail.example.net".to_owned()], true));
        assert_eq!(config.certificates.len(), 1, "no other folder is watched");
        assert_eq!(init("example.com"), config);
        let said = |certificate| next_steps(&"example.com".parse().unwrap(), Path::new("zone"), true, certificate);
        assert!(said(Certificate::ToOrder).contains("[[certificate]] with host = \"mail.example.com\""));
        assert!(said(Certificate::ToAgree).contains("agree-to-terms"));
        assert!(!said(Certificate::Configured).contains("certificate"));
        let said = said(Certificate::Ordered);
        let places = ["danelaw serve", "At the registrar", "danelaw certificate order mail.example.com ", "danelaw ds"];
        let places: Vec<usize> = places.iter().map(|step| said.find(step).expect(step)).collect();
        assert!(places.is_sorted(), "{said}");
    }

    #[test]
    fn a_zone_and_a_configuration_are_written_and_the_configuration_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), "Example.ORG", &["2001:db8::25", "192.0.2.25", "192.0.2.25"], None).unwrap();
        let zone = std::fs::read_to_string(folder.path().join("zones/example.org.zone")).unwrap();
        for line in [
            "$ORIGIN example.org.",
            "@           IN  SOA   ns1 hostmaster (",
            "@           IN  NS    ns1",
            "mail        IN  A     192.0.2.25",
            "ns1         IN  AAAA  2001:db8::25",
            "@           IN  MX    10 mail",
            "@           IN  TXT   \"v=spf1 mx -all\"",
            "_dmarc      IN  TXT   \"v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org\"",
            "_smtp._tls  IN  TXT   \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
        ] {
            assert_eq!(zone.lines().filter(|other| *other == line).count(), 1, "{line}\n{zone}");
        }
        assert!(zone.contains("; None yet."));
        let config = Config::load_in(folder.path()).unwrap();
        assert_eq!(config.addresses, ["192.0.2.25".parse::<IpAddr>().unwrap(), "2001:db8::25".parse().unwrap()]);
    }

    #[test]
    fn nothing_is_overwritten_and_a_second_domain_joins_the_first() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), "example.org", &["192.0.2.25"], None).unwrap();
        let zone = folder.path().join("zones/example.org.zone");
        std::fs::write(&zone, "mine").unwrap();
        let error = init(folder.path(), "example.org", &["192.0.2.25"], None).unwrap_err();
        assert!(error.to_string().contains("overwrites nothing"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(std::fs::read_to_string(&zone).unwrap(), "mine");
        let config = std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
        init(folder.path(), "example.net", &["192.0.2.26"], None).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap(), config);
    }

    #[test]
    fn domains_and_addresses_that_cannot_be_are_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}.{}.{}.{}", "a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(30));
        for domain in
            ["org", "", "@", "a..b", "-a.org", "a-.org", "a_b.org", "192.0.2.1", "bücher.de", "a/b.org", &long]
        {
            assert!(init(folder.path(), domain, &["192.0.2.25"], None).is_err(), "{domain}");
        }
        for address in ["0.0.0.0", "::", "224.0.0.1", "ff02::1"] {
            assert!(init(folder.path(), "example.org", &[address], None).is_err(), "{address}");
        }
        assert!(init(folder.path(), "danelaw.de", &["127.0.0.1"], None).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        init(folder.path(), "example.org", &["127.0.0.1"], None).unwrap();
    }

    #[test]
    fn a_dkim_record_goes_in_unchanged_and_a_private_key_never() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mail.txt");
        let record = "mail._domainkey\tIN\tTXT\t( \"v=DKIM1; h=sha256; k=rsa; \"\n\t  \"p=MIIB\" )  ; ----- DKIM key\n";
        std::fs::write(&file, record).unwrap();
        init(folder.path(), "example.org", &["192.0.2.25"], Some(&file)).unwrap();
        let zone = std::fs::read_to_string(folder.path().join("zones/example.org.zone")).unwrap();
        assert!(zone.ends_with(record), "{zone}");
        for text in [
            "-----BEGIN RSA PRIVATE KEY-----\n_domainkey p=\n",
            "$INCLUDE /etc/passwd\nmail._domainkey TXT \"p=x\"\n",
            "hello",
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(init(folder.path(), "example.net", &["192.0.2.25"], Some(&file)).is_err(), "{text}");
        }
        assert!(!folder.path().join("zones/example.net.zone").exists());
    }

    /// Settings that stand in the template as `#key = value` and `#[table]`, with the `#` taken away.
    fn uncommented() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') && !setting.is_empty() => setting.to_owned(),
            _ => line.to_owned(),
        };
        TEMPLATE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_template_says_every_default_as_it_is() {
        let folder = Path::new("/x");
        let text = uncommented();
        let (settings, samples) = text.split_once("# Samples: what has no default.").expect("the samples come last");
        let config = Config::parse(settings, "danelaw.toml", folder).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config, Config::default_in(folder));
        assert_eq!(config.signing, SigningConfig::default());
        let with_samples = format!("listen = [\"127.0.0.1:5300\"]\n{samples}\n[[certificates]]\npath = \"certs\"");
        let config = Config::parse(&with_samples, "danelaw.toml", folder).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(!config.services.is_empty() && !config.overrides.is_empty() && !config.example_certificates.is_empty());
        assert_eq!(Config::parse(TEMPLATE, "danelaw.toml", folder).unwrap(), Config::default_in(folder));
    }

    #[test]
    fn the_template_names_every_key() {
        // What the checker knows it tells with an unknown key.
        let probe = "x = 1\n[control]\nx = 1\n[server]\nx = 1\n[rate-limit]\nx = 1\n[dane]\nx = 1\n[signing]\nx = 1\n[outside]\nx = 1\n[[certificates]]\npath = \"c\"\nx = 1\n\
                     [[service]]\nhost = \"a.b\"\nport = 1\nx = 1\n[zone.a]\nx = 1\n[example]\nx = 1\n\
                     [rollover]\nx = 1\n[host.\"a.b\"]\nx = 1\n[domain.\"a.b\"]\nhosts = [\"c.d\"]\nx = 1\n[acme]\nagree-to-terms = true\nx = 1\n[[certificate]]\nhost = \"a.b\"\nx = 1\n[secondary.a]\nkey = \"k\"\nx = 1\n[update.a]\nkey = \"k\"\nx = 1\n\
                     [messages]\nwebhook = \"https://h.example/\"\nx = 1\n";
        let errors = Config::parse(probe, "danelaw.toml", Path::new("/x")).unwrap_err();
        assert_eq!(errors.diagnostics().len(), 19);
        let text = uncommented();
        for diagnostic in errors.diagnostics() {
            let known = diagnostic.help.as_deref().and_then(|help| help.strip_prefix("known here: ")).unwrap();
            // It stands in no sample beside what it excludes.
            assert!(text.contains("`sendmail`"));
            for key in known.split(", ").filter(|key| *key != "sendmail") {
                let named = ["\n{} = ", "\n[{}]", "\n[[{}]]", "\n[{}."].map(|form| form.replace("{}", key));
                let dotted = format!(".{key}]");
                assert!(named.iter().any(|form| text.contains(form)) || text.contains(&dotted), "{key}");
            }
        }
    }
}
