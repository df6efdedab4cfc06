//! The commands: a file for each. This one finds the configuration, runs the command, and turns what came of it into
//! an exit code. What a command decides, it asks the other rooms.

mod answering;
pub mod args;
pub mod ask;
pub mod certificate;
mod check;
mod check_orders;
pub mod init;
pub mod keys;
pub mod keys_import;
pub mod keys_tsig;
pub mod log;
pub mod messages;
pub mod online;
pub mod output;
pub mod ready;
pub mod rollover;
pub mod serve;
pub mod simulate;
pub mod tlsa;
mod traffic;
pub mod zone;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Config, ConfigErrors, FILE_NAME};
use crate::outside::Level;
use crate::serve::ServeError;
use crate::serve::control::ControlError;
use crate::store::StoreError;

use args::{Args, Command, KeysCommand, MessagesCommand, ZoneCommand};
use output::Output;

/// Where the configuration is when the working folder has none.
const SYSTEM_FILE: &str = "/etc/danelaw/danelaw.toml";

/// What a command that ran came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 1: it ran, and found something that has to be looked at.
    Findings,
    /// The exit code of a monitoring plugin.
    Seen(Level),
}

/// Why a command didn't run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong: exit code 2.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// An argument is wrong in a way that only the command sees: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The daemon can't be asked, or refuses.
    #[error("{0}")]
    Control(#[from] ControlError),
    /// The store can't be opened or written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The sockets can't be had.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// A file can't be read or written, and why.
    #[error("{0}")]
    File(String),
    /// Standard output can't be written. A closed pipe is no error: the reader has seen enough.
    #[error("writing the output: {0}")]
    Output(#[source] std::io::Error),
    /// What a command found wrong, in words.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// 2 for arguments and configuration, 1 for all else; see `danelaw --help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Config(_) | CliError::Usage(_) => 2,
            CliError::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }
}

/// Runs the command and says on standard error what went wrong.
pub fn main(args: &Args) -> ExitCode {
    let mut out = Output::stdout();
    let outcome = run(args, &mut out).and_then(|outcome| out.finish().map(|()| outcome));
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Ok(Outcome::Seen(level)) => ExitCode::from(level.exit_code()),
        Err(error) => {
            let code = match (&args.command, error.exit_code()) {
                // To whoever monitors, what can't be looked at is unknown, and not critical.
                (Command::Check(check), 1..) if check.online => Level::Unknown.exit_code(),
                (_, code) => code,
            };
            if code != 0 {
                output::complain(&error.to_string());
            }
            ExitCode::from(code)
        }
    }
}

/// Says why the command line can't be read, or prints the help or the version that it asks for. `words`: all of it.
pub fn misread(error: &clap::Error, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = if error.use_stderr() { misread_code(words) } else { 0 };
    // Nobody may be there to read it.
    drop(error.print());
    ExitCode::from(code)
}

/// 2, but 3 to whoever monitors by `check --online`: that nothing was looked at is not critical.
fn misread_code(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = words.into_iter().take_while(|word| word != "--").collect();
    let is_online = ["check", "--online"].iter().all(|wanted| words.iter().any(|word| word == wanted));
    if is_online { Level::Unknown.exit_code() } else { 2 }
}

fn run(args: &Args, out: &mut Output) -> Result<Outcome, CliError> {
    let file = args.config.as_deref();
    match &args.command {
        Command::Serve(serve) => serve::run(file, serve),
        Command::Init(init) => init::run(init, out),
        Command::Check(check) if check.online => online::run(&load(file)?, check, out),
        Command::Check(check) => check::run(&load(file)?, check, out),
        Command::Tlsa(tlsa) => tlsa::run(tlsa, out),
        Command::Ds(zone) => keys::ds(&load(file)?, &zone.zone, out),
        Command::Zone(ZoneCommand::Dump(dump)) => zone::dump(&load(file)?, dump, out),
        Command::Zone(ZoneCommand::Export(export)) => zone::export(&load(file)?, export, out),
        Command::Zone(ZoneCommand::Freeze(zone)) => zone::freeze(&load(file)?, &zone.zone, true, out),
        Command::Zone(ZoneCommand::Thaw(zone)) => zone::freeze(&load(file)?, &zone.zone, false, out),
        Command::Keys(KeysCommand::List(list)) => keys::list(&load(file)?, list, out),
        Command::Keys(KeysCommand::Generate(zone)) => keys::generate(&load(file)?, &zone.zone, out),
        Command::Keys(KeysCommand::Tsig(tsig)) => keys_tsig::run(&load(file)?, tsig, out),
        Command::Keys(KeysCommand::Import(import)) => keys_import::run(&load(file)?, import, out),
        Command::Messages(MessagesCommand::Test(plain)) => messages::test(&load(file)?, plain, out),
        Command::Rollover(command) => rollover::run(&load(file)?, command, out),
        Command::Certificate(command) => certificate::run(&load(file)?, command, out),
        Command::Plan(host) => simulate::plan(&load(file)?, host, out),
        Command::Simulate(args) => simulate::run(args, out),
        Command::Log(log) => rollover::log(&load(file)?, log, out),
        Command::Status(_)
        | Command::Explain(_)
        | Command::Withdraw(_)
        | Command::Restore(_)
        | Command::Forget(_)
        | Command::Reload(_)
        | Command::Keys(KeysCommand::Forget(_)) => ask::run(&load(file)?, &args.command, out),
    }
}

/// The configuration that `--config` names; else danelaw.toml of the working folder, or its zones folder with the
/// defaults; else /etc/danelaw/danelaw.toml; else the defaults.
pub fn load(file: Option<&Path>) -> Result<Config, CliError> {
    let here = Path::new(".");
    let system = Path::new(SYSTEM_FILE);
    match file {
        Some(file) => Ok(Config::load(file)?),
        None if !here.join(FILE_NAME).exists() && !here.join("zones").is_dir() && system.exists() => {
            Ok(Config::load(system)?)
        }
        None => Ok(Config::load_in(here)?),
    }
}
