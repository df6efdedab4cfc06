//! `keys import`: keys of BIND, ldns, Knot and OpenSSL into the keys folder. All files are looked at before one is written.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::args::KeysImport;
use super::output::Output;
use super::{CliError, Outcome, keys};
use crate::act;
use crate::config::Config;
use crate::dns::dnssec::Signer;
use crate::dns::text::{Word, read_rdata};
use crate::dns::{Name, Rdata, Rtype};
use crate::keys::import::{self, Imported, PRIVATE_KEY_FORMAT};
use crate::keys::{KeyError, file_name};
use crate::observe::zone_keys::KeyFolder;
use crate::store::Store;
use crate::zone::scan::Scanner;

/// A key file or `.key` file is far shorter.
const MAX_OCTETS: u64 = 64 * 1024;

/// A key that can be taken over.
struct Import {
    source: PathBuf,
    zone: Name,
    imported: Imported,
    file: String,
}

/// Imports, or says why not and imports nothing.
pub fn run(config: &Config, args: &KeysImport, out: &mut Output) -> Result<Outcome, CliError> {
    let mut imports: Vec<Import> = Vec::new();
    let mut refused = Vec::new();
    for path in &args.files {
        match look(config, args, path) {
            Ok(import) if imports.iter().any(|other| same(other, &import)) => {}
            Ok(import) => imports.push(import),
            Err(CliError::Failed(why)) => refused.push(format!("{}: {why}", path.display())),
            Err(other) => return Err(other),
        }
    }
    let folder = keys::scan(config)?;
    let mut zones: BTreeMap<&Name, Vec<&Import>> = BTreeMap::new();
    for import in &imports {
        zones.entry(&import.zone).or_default().push(import);
    }
    for (zone, imports) in zones {
        if let Err(why) = may_join(config, &folder, zone, &imports) {
            refused.push(format!("{}: {why}", zone.to_host()));
        }
    }
    if !refused.is_empty() {
        return Err(CliError::Failed(format!("{}\nnothing was imported", refused.join("\n"))));
    }
    for import in &imports {
        let held = folder.keys.get(&import.zone).into_iter().flatten();
        if held.into_iter().any(|held| held.key.dnskey() == import.imported.key.dnskey()) {
            out.line(format!("{}: there already", config.keys.join(&import.file).display()))?;
            continue;
        }
        let path = act::keys::write(&config.keys, &import.file, &import.imported.pem.0)
            .map_err(|error| CliError::File(format!("{}: {error}", config.keys.join(&import.file).display())))?;
        out.line(path.display().to_string())?;
    }
    Ok(Outcome::Done)
}

fn same(one: &Import, other: &Import) -> bool {
    one.zone == other.zone && one.imported.key.dnskey() == other.imported.key.dnskey()
}

/// Whether a zone can be signed with these keys from now on: nothing that resolvers trust may go, and no second key comes
/// but by a rollover.
fn may_join(config: &Config, folder: &KeyFolder, zone: &Name, imports: &[&Import]) -> Result<(), String> {
    let named = |algorithm: u8, tag: u16| format!("{algorithm:03}+{tag:05}");
    let is_imported = |algorithm: u8, tag: u16| {
        imports
            .iter()
            .any(|import| (import.imported.key.algorithm(), import.imported.key.key_tag()) == (algorithm, tag))
    };
    let known = Store::look_at_known_keys(&config.state, zone).map_err(|error| error.to_string())?;
    let unknown = imports.iter().find(|import| {
        let key = &import.imported.key;
        !known.iter().any(|known| (known.algorithm, known.tag) == (key.algorithm(), key.key_tag()))
    });
    if let (Some(known), Some(import)) = (known.first(), unknown) {
        return Err(format!(
            "the zone is signed with key {} here, and resolvers may trust it; {} holds another one, {}. Changing keys takes a \
             rollover, which this version does not do: import before the zone is served for the first time",
            named(known.algorithm, known.tag),
            import.source.display(),
            named(import.imported.key.algorithm(), import.imported.key.key_tag()),
        ));
    }
    let held = folder.keys.get(zone).into_iter().flatten();
    let other = held.map(|held| &held.key).find(|key| !is_imported(key.algorithm(), key.key_tag()));
    if let Some(other) = other.filter(|_| known.is_empty()) {
        let name = named(other.algorithm(), other.key_tag());
        return Err(format!(
            "the keys folder has key {name} of it already; take that file away if it was never in use"
        ));
    }
    if imports.len() > 1 && config.zone(zone).key.is_some() {
        return Err("its `key` in the configuration is one file, and these are several keys".to_owned());
    }
    Ok(())
}

fn look(config: &Config, args: &KeysImport, path: &Path) -> Result<Import, CliError> {
    let path = if path.extension().is_some_and(|extension| extension == "key") {
        path.with_extension("private")
    } else {
        path.to_owned()
    };
    let text = read(&path)?;
    let (zone, imported) =
        if text.contains(PRIVATE_KEY_FORMAT) { private(args, &path, &text)? } else { pem(args, &text)? };
    let key = &imported.key;
    let file = config.zone(&zone).key.unwrap_or_else(|| file_name(&zone, key.algorithm(), key.key_tag()));
    Ok(Import { source: path, zone, imported, file })
}

fn failed(error: KeyError) -> CliError {
    CliError::Failed(error.to_string())
}

/// BIND's and ldns's pair of files. Zone, algorithm and tag are in the name and in the `.key`; all have to agree.
fn private(args: &KeysImport, path: &Path, text: &str) -> Result<(Name, Imported), CliError> {
    let said = name_parts(path);
    let public = path.with_extension("key");
    let public = if public.exists() { Some(dnskey(&read(&public)?, &public)?) } else { None };
    let zone = public.as_ref().map(|(owner, _)| owner).or(said.as_ref().map(|(zone, ..)| zone)).or(args.zone.as_ref());
    let zone = zone.cloned().ok_or_else(|| {
        CliError::Usage(format!("{}: its name tells no zone and no .key is beside it: --zone ZONE", path.display()))
    })?;
    let contradicts = |other: &Name| CliError::Failed(format!("it is a key of {zone}, not of {other}"));
    if let Some(other) =
        [args.zone.as_ref(), said.as_ref().map(|(zone, ..)| zone)].into_iter().flatten().find(|other| **other != zone)
    {
        return Err(contradicts(other));
    }
    let imported = import::from_private(text, public.as_ref().map(|(_, rdata)| &rdata[..])).map_err(failed)?;
    if let Some((_, rdata)) = &public {
        import::check_dnskey(&zone, &imported.key, rdata).map_err(failed)?;
    }
    if let Some((_, algorithm, tag)) = said {
        if algorithm != imported.key.algorithm() {
            return Err(failed(KeyError::Mismatch));
        }
        import::check_tag(&zone, &imported.key, tag).map_err(failed)?;
    }
    check_tag(args, &zone, &imported)?;
    Ok((zone, imported))
}

fn pem(args: &KeysImport, text: &str) -> Result<(Name, Imported), CliError> {
    let imported = import::from_pem(text, None).map_err(failed)?;
    let zone = args
        .zone
        .clone()
        .ok_or_else(|| CliError::Usage("a PEM file does not tell its zone: --zone ZONE".to_owned()))?;
    check_tag(args, &zone, &imported)?;
    Ok((zone, imported))
}

fn check_tag(args: &KeysImport, zone: &Name, imported: &Imported) -> Result<(), CliError> {
    args.tag.map_or(Ok(()), |tag| import::check_tag(zone, &imported.key, tag)).map_err(failed)
}

/// `K<zone>+<algorithm>+<tag>.private`; none where the file has another name.
fn name_parts(path: &Path) -> Option<(Name, u8, u16)> {
    let mut parts = path.file_stem()?.to_str()?.strip_prefix('K')?.rsplitn(3, '+');
    let (tag, algorithm, zone) = (parts.next()?, parts.next()?, parts.next()?);
    Some((Name::parse(zone, None).ok()?, algorithm.parse().ok()?, tag.parse().ok()?))
}

/// The DNSKEY record of a `.key` file.
fn dnskey(text: &str, path: &Path) -> Result<(Name, Rdata), CliError> {
    let unusable = || CliError::Failed(format!("{} has no DNSKEY record that can be read", path.display()));
    let root = Name::root();
    for entry in Scanner::new(text.as_bytes()).flatten() {
        let is_type = |word: &Word<'_>| word.text.eq_ignore_ascii_case(b"DNSKEY");
        let words: Vec<Word<'_>> = entry.tokens.iter().map(|token| token.word).collect();
        let Some(at) = words.iter().skip(1).position(is_type) else { continue };
        let owner = Name::parse_bytes(words[0].text, Some(&root)).map_err(|_| unusable())?;
        return Ok((owner, read_rdata(Rtype::DNSKEY, &words[at + 2..], &root).map_err(|_| unusable())?));
    }
    Err(unusable())
}

fn read(path: &Path) -> Result<String, CliError> {
    let unreadable = |error: &dyn std::fmt::Display| CliError::File(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(unreadable(&"not a regular file"));
    }
    let mut text = String::new();
    // What is no text is no key either; what the octets are is nobody's business.
    file.take(MAX_OCTETS).read_to_string(&mut text).map_err(|_| unreadable(&"not a key file"))?;
    Ok(text)
}
