//! `check`: lints zone files and the configuration; its exit code is for CI.

use std::path::{Path, PathBuf};

use super::args::Check;
use super::output::{Mark, Output};
use super::{CliError, Outcome, check_orders};
use crate::config::{CertificateConfig, Config, SigningMode, internal};
use crate::dns::{Name, Rtype};
use crate::keeper::{Beneath, now};
use crate::observe::zones::{self, ZoneFile};
use crate::zone::{self, Diagnostic, Severity};

/// Checks the named zones or files; all of the zones folder without a name.
pub fn run(config: &Config, args: &Check, out: &mut Output) -> Result<Outcome, CliError> {
    let files = files(config, &args.zones)?;
    let mut findings = check_orders::files(config);
    for file in &files {
        findings.extend(check(file, &files, config)?);
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    if args.json {
        out.json(&findings)?;
    } else {
        for finding in &findings {
            out.line(finding.to_string())?;
        }
        let is_served = |domain: &Name| files.iter().any(|file| domain.is_at_or_below(&file.origin));
        let internal = config.messages.internal(is_served).into_iter().map(internal);
        let unplaced = if args.zones.is_empty() { check_orders::unplaced(config, &files) } else { Vec::new() };
        for warning in config.warnings().into_iter().chain(internal).chain(unplaced) {
            out.line(format!("warning: {warning}"))?;
        }
        let mark = match (errors, warnings) {
            (0, 0) => Mark::Good,
            (0, _) => Mark::Warn,
            _ => Mark::Bad,
        };
        let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        let text = [count(files.len(), "zone"), count(errors, "error"), count(warnings, "warning")].join(", ");
        out.line(out.marked(mark, &text))?;
    }
    Ok(if errors > 0 || (args.strict && warnings > 0) { Outcome::Findings } else { Outcome::Done })
}

pub(super) fn files(config: &Config, wanted: &[String]) -> Result<Vec<ZoneFile>, CliError> {
    let named = config.named_files();
    let (as_files, as_names): (Vec<&String>, Vec<&String>) = wanted.iter().partition(|text| Path::new(text).is_file());
    let mut files: Vec<ZoneFile> = as_files.into_iter().map(|path| file(path)).collect::<Result<_, _>>()?;
    if as_names.is_empty() && !wanted.is_empty() {
        return Ok(files);
    }
    let found = zones::find(&config.zones, &named).map_err(|problem| CliError::File(problem.to_string()))?;
    if let Some(problem) = found.problems.first() {
        return Err(CliError::File(problem.to_string()));
    }
    if wanted.is_empty() {
        if found.files.is_empty() {
            return Err(CliError::Failed(format!("{}: no <origin>.zone file in it", config.zones.display())));
        }
        return Ok(found.files);
    }
    for text in as_names {
        let zone = Name::parse(text, None).map_err(|error| CliError::Usage(format!("{text}: {error}")))?;
        let file = found.files.iter().find(|file| file.origin == zone);
        files.push(file.cloned().ok_or_else(|| {
            CliError::Usage(format!("{text} is neither a zone in {} nor a zone file", config.zones.display()))
        })?);
    }
    Ok(files)
}

fn file(path: &str) -> Result<ZoneFile, CliError> {
    let stem = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let origin = stem.strip_suffix(".zone").unwrap_or(stem);
    let origin = Name::parse(origin, None).map_err(|error| CliError::Usage(format!("{path}: {error}")))?;
    Ok(ZoneFile { origin, path: PathBuf::from(path), named: true })
}

fn check(file: &ZoneFile, files: &[ZoneFile], config: &Config) -> Result<Vec<Diagnostic>, CliError> {
    let failed = |problem: zones::ZoneProblem| CliError::File(problem.to_string());
    let text = file.read().map_err(failed)?;
    let mut includes = file.includes();
    let name = file.path.display().to_string();
    let parsed = zone::parse(&file.origin, &name, &text, &mut Beneath(&mut includes));
    let mode = config.zone(&file.origin).signing.mode;
    let mut findings = zone::lint(&parsed, mode);
    if mode == SigningMode::Presigned {
        findings.extend(zone::presigned::check(&parsed, None, Some(now())).0);
    }
    if takes_proofs(&parsed, &file.origin, files, config) {
        findings.extend(zone::lint::lint_absence(&parsed));
    }
    findings.extend(check_orders::forbidden(&parsed, &file.origin, files, config));
    Ok(parsed.diagnostics.into_iter().chain(findings).collect())
}

/// Whether a proof of a certificate that is ordered is put into a zone. `files`: all that are looked at.
fn takes_proofs(parsed: &zone::Parsed<'_>, origin: &Name, files: &[ZoneFile], config: &Config) -> bool {
    let Some(contents) = &parsed.contents else { return false };
    let is_here = |owner: &Name| {
        check_orders::is_in(owner, origin, files)
            && contents.cut(owner).is_none()
            && contents.rrset(owner, Rtype::CNAME).is_none()
    };
    config.ordered.iter().flat_map(CertificateConfig::proofs).any(|owner| is_here(&owner))
}
