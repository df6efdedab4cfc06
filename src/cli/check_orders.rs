//! What `check` finds of certificates that danelaw gets by itself, beyond what the configuration says: in files, and in the zones.

use std::collections::BTreeSet;

use crate::acme::bare;
use crate::act::acme::{External, client};
use crate::act::messages::Secret;
use crate::config::{CertificateConfig, Config, mistake_in};
use crate::dns::{Name, Rtype};
use crate::observe::secrets;
use crate::observe::zones::ZoneFile;
use crate::outside::caa::{Applicant, METHOD, remedy};
use crate::zone::source::Part;
use crate::zone::{Contents, Diagnostic, Parsed, Severity};

/// Files that `[acme]` names and that can't be used as they are, as the daemon would find.
pub(super) fn files(config: &Config) -> Vec<Diagnostic> {
    let (Some(acme), Some(path)) = (&config.acme, &config.file) else { return Vec::new() };
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut find = |key: &str, why: Option<String>, help: &str| {
        let message = why.map(|why| format!("`{key}`: {why}"));
        findings.extend(message.and_then(|why| mistake_in(&path.display().to_string(), &text, "acme", key, why, help)));
    };
    let roots = acme.roots.as_ref().and_then(|roots| client::unfit_roots(roots));
    find("ca-file", roots, "the CA's roots in PEM, which are trusted instead of the system's");
    let key = acme.external.as_ref().and_then(|(key_id, file)| match secrets::read(file) {
        Err(why) => Some(why),
        Ok(key) => External { key_id: key_id.clone(), key: Secret(key) }.unfit(),
    });
    find("eab-key-file", key, "the key in base64url, as the CA shows it, alone on a line");
    findings
}

/// CAA records of a zone that forbid the CA to issue, as far as it is known by what name they know it. `files`: all that are looked at.
pub(super) fn forbidden(parsed: &Parsed<'_>, origin: &Name, files: &[ZoneFile], config: &Config) -> Vec<Diagnostic> {
    let (Some(acme), Some(contents)) = (&config.acme, &parsed.contents) else { return Vec::new() };
    let identities = acme.issuers(&[]);
    let applicant = Applicant { identities: &identities, account: None, method: METHOD };
    if identities.is_empty() {
        return Vec::new();
    }
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    let names = config.ordered.iter().flat_map(|one| one.names.iter().map(|name| (&one.host, name)));
    for (host, name) in names {
        let Some((at, records)) = counting(&bare(name), origin, contents, files) else { continue };
        let help = remedy(&at, "", &records, bare(name) != *name, &applicant);
        let Some(help) = help.filter(|help| told.insert(help.clone())) else { continue };
        let placed = parsed.records.iter().find(|one| one.record.rtype == Rtype::CAA && one.record.owner == at);
        let message =
            format!("CAA forbids the CA to issue the certificate of {} for {}", host.to_host(), name.to_host());
        findings
            .extend(placed.map(|placed| parsed.sources.at(Severity::Warning, placed, Part::Type, message, Some(help))));
    }
    findings
}

/// The CAA records that count for a name, where they stand in this zone.
fn counting(
    name: &Name,
    origin: &Name,
    contents: &Contents,
    files: &[ZoneFile],
) -> Option<(Name, Vec<crate::dns::Rdata>)> {
    if !is_in(name, origin, files) || contents.cut(name).is_some() {
        return None;
    }
    let inside = std::iter::once(name.clone()).chain(name.ancestors()).take_while(|at| at.is_at_or_below(origin));
    for at in inside {
        // It counts what stands where it leads.
        if contents.rrset(&at, Rtype::CNAME).is_some() {
            return None;
        }
        if let Some(found) = contents.rrset(&at, Rtype::CAA) {
            return Some((at, found.rdatas));
        }
    }
    None
}

/// Whether no zone that is nearer is there.
pub(super) fn is_in(name: &Name, origin: &Name, files: &[ZoneFile]) -> bool {
    let is_nearer = |other: &ZoneFile| name.is_at_or_below(&other.origin) && other.origin.is_below(origin);
    name.is_at_or_below(origin) && !files.iter().any(is_nearer)
}

/// Names of certificates that are in no zone here. With a catalog nobody knows which zones come.
pub(super) fn unplaced(config: &Config, files: &[ZoneFile]) -> Vec<String> {
    if !config.catalogs.is_empty() {
        return Vec::new();
    }
    let zones: Vec<&Name> = files.iter().map(|file| &file.origin).chain(config.overrides.keys()).collect();
    let names =
        config.ordered.iter().flat_map(|one: &CertificateConfig| one.names.iter().map(|name| (&one.host, name)));
    let elsewhere = names.filter(|(_, name)| !zones.iter().any(|zone| bare(name).is_at_or_below(zone)));
    let warning = |(host, name): (&Name, &Name)| {
        format!(
            "[[certificate]] of {}: {} is in no zone here, so it has to be proven by a CNAME at _acme-challenge.{}",
            host.to_host(),
            name.to_host(),
            bare(name).to_host()
        )
    };
    elsewhere.map(warning).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::zone::{NoIncludes, parse};

    const ORDERED: &str = "[acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"mail.a.org\"\n\
                           names = [\"*.a.org\", \"*.b.org\"]\n";
    const ZONE: &str = "@ 3600 SOA ns1 h 1 2 3 4 5\n@ 3600 NS ns1\nns1 3600 A 192.0.2.1\n";

    fn file(origin: &str) -> ZoneFile {
        ZoneFile { origin: origin.parse().unwrap(), path: PathBuf::from("a.org.zone"), named: true }
    }

    fn found(config: &str, more: &str) -> Vec<String> {
        let config = Config::parse(config, "danelaw.toml", Path::new("/x")).unwrap();
        let (origin, text) = ("a.org".parse().unwrap(), format!("{ZONE}{more}"));
        let parsed = parse(&origin, "a.org.zone", text.as_bytes(), &mut NoIncludes);
        assert!(parsed.contents.is_some(), "{:?}", parsed.diagnostics);
        let findings = forbidden(&parsed, &origin, &[file("a.org")], &config);
        findings
            .iter()
            .map(|one| format!("{}:{}: {}: {}", one.line, one.column, one.message, one.help.as_ref().unwrap()))
            .collect()
    }

    #[test]
    fn caa_of_a_zone_here_that_forbids_is_found_where_it_stands() {
        const FORBIDS: &str = "@ 3600 CAA 0 issue \"other.example\"\n";
        let expected = "4:8: CAA forbids the CA to issue the certificate of mail.a.org for *.a.org: add a.org. CAA 0 issue \"letsencrypt.org\"";
        assert_eq!(found(ORDERED, FORBIDS), [expected]);
        let wild = "@ 3600 CAA 0 issue \"letsencrypt.org\"\n@ 3600 CAA 0 issuewild \";\"\n";
        assert!(found(ORDERED, wild).concat().ends_with("issuewild \"letsencrypt.org\""));
        for allows in ["", "@ 3600 CAA 0 issue \"letsencrypt.org\"\n", "@ 3600 CAA 0 iodef \"mailto:x@a.org\"\n"] {
            assert_eq!(found(ORDERED, allows), Vec::<String>::new(), "{allows}");
        }
        let unknown = ORDERED.replace("agree", "directory = \"https://ca.example/\"\nagree");
        assert_eq!(found(&unknown, FORBIDS), Vec::<String>::new());
        let said = unknown.replace("agree", "caa-identities = [\"ca.example\"]\nagree");
        assert!(found(&said, FORBIDS).concat().contains("CAA 0 issue \"ca.example\""));
    }

    #[test]
    fn a_name_in_no_zone_here_needs_a_cname() {
        let config = Config::parse(ORDERED, "danelaw.toml", Path::new("/x")).unwrap();
        let [only] = &unplaced(&config, &[file("a.org")])[..] else { panic!() };
        assert!(only.contains("*.b.org is in no zone here") && only.ends_with("_acme-challenge.b.org"), "{only}");
        assert_eq!(unplaced(&config, &[file("org")]), Vec::<String>::new());
        let named = format!("{ORDERED}[zone.\"b.org\"]\n");
        let config = Config::parse(&named, "danelaw.toml", Path::new("/x")).unwrap();
        assert_eq!(unplaced(&config, &[file("a.org")]), Vec::<String>::new());
    }

    #[test]
    fn files_that_can_not_be_used_are_found_where_they_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("danelaw.toml");
        let text = ORDERED.replace("agree", "ca-file = \"ca.pem\"\neab-key-id = \"1\"\neab-key-file = \"key\"\nagree");
        fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();
        let found = || files(&config).iter().map(ToString::to_string).collect::<Vec<_>>();
        let [roots, key] = &found()[..] else { panic!("{:?}", found()) };
        assert!(roots.contains("danelaw.toml:2:11: error: `ca-file`: ") && roots.contains("No such file"), "{roots}");
        assert!(key.contains("danelaw.toml:4:16: error: `eab-key-file`: "), "{key}");
        let put = |key: &str, mode: u32| {
            let path = folder.path().join("key");
            fs::write(&path, key).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let root = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), root.cert.pem()).unwrap();
        for (key, mode, expected) in [("c2VjcmV0", 0o644, "chmod 600"), ("no base64!", 0o600, "not base64url")] {
            put(key, mode);
            let [only] = &found()[..] else { panic!("{:?}", found()) };
            assert!(only.contains(expected) && !only.contains("no base64!"), "{only}");
        }
        put("c2VjcmV0\n", 0o600);
        assert_eq!(found(), Vec::<String>::new());
    }
}
