//! The binary: arguments become one command, and its outcome an exit code.

use std::process::ExitCode;

use clap::Parser;
use danelaw::cli;

fn main() -> ExitCode {
    match cli::args::Args::try_parse() {
        Ok(args) => cli::main(&args),
        Err(error) => cli::misread(&error, std::env::args_os()),
    }
}
