//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use crate::fixture::{Form, Kind};
use crate::zones::{Set, Workload};

/// Measures danelaw beside other servers and the ceilings of its machine. All traffic stays on 127.0.0.1.
#[derive(Debug, Parser)]
#[command(name = "bench", disable_help_subcommand = true)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
    /// JSON in place of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// What to measure, with commas between; those that are not installed are told of and left out
    #[arg(long, global = true, value_delimiter = ',', default_value = "danelaw,nsd,knot,bind,pdns,lookup,echo")]
    pub servers: Vec<Which>,
    /// danelaw's program [default: the one beside this]
    #[arg(long, global = true, value_name = "FILE")]
    pub danelaw: Option<PathBuf>,
    /// Where zone sets are kept, some 300 MB [default: bench-data beside this program]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The core of servers
    #[arg(long, global = true, default_value_t = 0)]
    pub server_core: usize,
    /// The core of clients
    #[arg(long, global = true, default_value_t = 1)]
    pub client_core: usize,
    /// The first port of 127.0.0.1 that is used
    #[arg(long, global = true, default_value_t = 15_300)]
    pub port: u16,
    /// Leave the servers' folders, with their configuration and output
    #[arg(long, global = true)]
    pub keep: bool,
}

/// A server by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Signs by itself.
    Danelaw,
    /// Over signed files.
    DanelawPresigned,
    /// NSD.
    Nsd,
    /// Knot DNS.
    Knot,
    /// BIND.
    Bind,
    /// PowerDNS.
    Pdns,
    /// The ceiling of ready responses.
    Lookup,
    /// The ceiling of any.
    Echo,
}

/// A measurement.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answers over UDP: CPU time, rate, latency, loss, memory
    Udp(Answering),
    /// Answers over TCP, on kept connections
    Tcp(Answering),
    /// From the start to the first right answer
    Startup(Repeated),
    /// From an unsigned zone file to a signed one
    Signing(Repeated),
    /// From a change until it is served
    Change(Repeated),
    /// From a Knot secondary's request until it has the whole zone
    Transfer(Repeated),
    /// What hosts cost whose certificates are installed, while nothing happens
    Rollover {
        /// How many
        #[arg(long, default_value_t = 1000)]
        hosts: usize,
        /// Seconds of each look
        #[arg(long, default_value = "120", value_parser = seconds)]
        seconds: Duration,
    },
    /// Where an answer's time goes
    #[command(subcommand)]
    Profile(Profile),
    /// A ceiling as a server
    #[command(hide = true)]
    Ceiling {
        /// Which
        which: Which,
        /// Of 127.0.0.1
        port: u16,
        /// The zones
        #[arg(long)]
        set: Set,
        /// The questions that it knows
        #[arg(long)]
        workload: Workload,
        /// The folder of the signed zones
        #[arg(long)]
        signed: PathBuf,
        /// Over TCP
        #[arg(long)]
        tcp: bool,
    },
    /// Answers in memory, for callgrind
    #[command(hide = true)]
    Answers {
        /// The question
        kind: Kind,
        /// Its form
        form: Form,
        /// How many
        count: usize,
        /// The zones
        #[arg(long)]
        set: Set,
    },
}

/// How to ask.
#[derive(Clone, Copy, Debug, Group)]
pub struct Answering {
    /// The zones
    #[arg(long, default_value = "large")]
    pub set: Set,
    /// The questions
    #[arg(long, default_value = "mix")]
    pub workload: Workload,
    /// Rounds, all servers in each
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds of a round and a server
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds before the first round
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub warm: Duration,
    /// Sockets or connections [default: 8 over UDP, 50 over TCP]
    #[arg(long)]
    pub sockets: Option<usize>,
    /// Queries under way [default: 256 over UDP, 400 over TCP]
    #[arg(long)]
    pub window: Option<usize>,
}

/// What is done several times.
#[derive(Clone, Copy, Debug, Group)]
pub struct Repeated {
    /// The zones
    #[arg(long, default_value = "large")]
    pub set: Set,
    /// How often
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
}

/// A look at one server, the first that `--servers` names.
#[derive(Clone, Copy, Debug, Group)]
pub struct Look {
    /// The zones
    #[arg(long, default_value = "large")]
    pub set: Set,
    /// Over TCP
    #[arg(long)]
    pub tcp: bool,
    /// Seconds
    #[arg(long, default_value = "4", value_parser = seconds)]
    pub seconds: Duration,
}

/// Kinds of profile.
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// Instructions of the answer function by kind of question (callgrind)
    Instructions {
        /// The zones; a large one takes long
        #[arg(long, default_value = "small")]
        set: Set,
    },
    /// System calls by answer (strace)
    SystemCalls(Look),
    /// Functions, and folded stacks for a flame graph (perf)
    Functions {
        /// How to look
        #[command(flatten)]
        look: Look,
        /// Functions in the table
        #[arg(long, default_value_t = 25)]
        top: usize,
        /// Where the folded stacks go
        #[arg(long, default_value = "bench.folded")]
        folded: PathBuf,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
