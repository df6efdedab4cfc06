//! The log: lines on standard error, for a terminal or for the journal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::output::wants_colours;

/// What strangers can make rustls and hickory say goes by no limit of ours; notify warns of watches that went with their folders, as
/// they should.
const USUAL: &str = "info,rustls=off,hickory_net=off,hickory_proto=off,hickory_resolver=off,notify=off";
/// It says whole URLs, and a webhook's may be a secret.
const NEVER: &str = "ureq=off";

/// Begins to log. `DANELAW_LOG` says how much, as `debug` or `danelaw::serve=debug`; `info` without it.
pub fn begin() {
    let asked = std::env::var("DANELAW_LOG").unwrap_or_default();
    let asked = if asked.is_empty() { USUAL } else { &asked };
    let filter = EnvFilter::builder().parse(format!("{asked},{NEVER}"));
    let wrong = filter.as_ref().err().map(ToString::to_string);
    let stderr_is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(USUAL)))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(wants_colours(stderr_is_terminal));
    // The journal has times of its own.
    let begun =
        if std::env::var_os("JOURNAL_STREAM").is_some() { log.without_time().try_init() } else { log.try_init() };
    if let (Ok(()), Some(wrong)) = (begun, wrong) {
        tracing::warn!("DANELAW_LOG is not understood ({wrong}); logging at info");
    }
}
