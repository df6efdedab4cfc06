//! The binary: arguments become one command, and its outcome an exit code.

use std::process::ExitCode;

use clap::Parser;
use danelaw::cli;

fn main() -> ExitCode {
    cli::main(&cli::args::Args::parse())
}
