//! Runs the commands of a hook, which tell the mail server of its new certificate: one after the other, without a shell.
//!
//! Each command has a process group of its own, and of that group nothing is left when [`run`] returns or is dropped: a daemon that
//! a command starts has to leave it (setsid), as daemons do. When to run it again is decided elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use crate::dns::Name;

/// Where programs are looked for. Nothing else is in their environment: the daemon's may hold secrets and whatever started it, and a
/// hook that works by hand and not here would work only as long as that stays. Who needs more calls `env` with it.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The most octets that are kept of what a hook prints: its last ones.
const OUTPUT_MAX: usize = 16 * 1024;
/// From the end of a command that did well to SIGTERM to what it left behind, and from there to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// Even what was killed may take a while (a file system that hangs); longer than this it isn't waited for.
const KILLED: Duration = Duration::from_secs(1);
/// How often is looked whether a group has gone.
const LOOK: Duration = Duration::from_millis(20);

/// Hooks that run at a time; one for each host, whoever orders sees to that.
const AT_ONCE: usize = 8;

/// A hook that is to be run.
#[derive(Debug)]
pub struct Order {
    /// For this host: the news carry it.
    pub host: Name,
    /// For this version: the news carry it.
    pub version: String,
    /// The commands, in their order.
    pub commands: Vec<Vec<String>>,
    /// How long each of them may take.
    pub limit: Duration,
}

/// What came of an order.
#[derive(Debug)]
pub struct News {
    /// The order's.
    pub host: Name,
    /// The order's.
    pub version: String,
    /// What was printed, or why it failed.
    pub outcome: Result<Output, HookError>,
}

/// Runs each hook that it is ordered to, until nobody can order any more.
pub async fn work(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Order { host, version, commands, limit }) = orders.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let news = news.clone();
        tokio::spawn(async move {
            let outcome = run(&commands, limit).await;
            // Who wants to know may have gone.
            let _ = news.send(News { host, version, outcome }).await;
            drop(place);
        });
    }
}

/// What the commands printed, on stdout and stderr as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The last 16 KiB of it.
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

/// Why the hook failed: in which command, with what was printed until then. The commands behind it were not run. Retry, and alarm.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A command without a program. Configure one.
    #[error("the command is empty: write a program and its arguments, as in [\"postfix\", \"reload\"]")]
    Empty,
    /// There is no such program.
    #[error(
        "{0}: there is no such program in {PATH}, or what its first line names is missing: install it, or write its whole path"
    )]
    Missing(String),
    /// It may not be run, or is none.
    #[error("{program}: it can't be run ({error}): is it a program, and may danelaw's user execute it?")]
    NotExecutable {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// A path that depends on where danelaw was started.
    #[error("`{0}`: write the program's whole path, or its name alone where it is in {PATH}")]
    Relative(String),
    /// It ended with another status than 0, or by a signal.
    #[error("{program} failed ({status}){}", said(output))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What was printed.
        output: Output,
    },
    /// It did not end in time, and was ended.
    #[error("{program} had not ended after {} s, and was killed with all that it started{}", limit.as_secs_f32(), said(output))]
    TimeOver {
        /// The program.
        program: String,
        /// The time that it had.
        limit: Duration,
        /// What was printed.
        output: Output,
    },
    /// The system has no room for a process, say.
    #[error("{program}: it can't be run now: {error}")]
    Io {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
}

fn said(output: &Output) -> String {
    let last = output.text.trim_end().lines().next_back();
    last.map_or(String::new(), |last| format!("; the last that it printed: {last}"))
}

/// Runs the commands, each of which has that long; the first that fails is the last.
pub async fn run(commands: &[Vec<String>], limit: Duration) -> Result<Output, HookError> {
    let mut kept = Kept::default();
    for command in commands {
        let (program, arguments) = command.split_first().ok_or(HookError::Empty)?;
        let mut running = spawn(program, arguments)?;
        let ended = running.watch(&mut kept, limit).await;
        let ended = ended.map_err(|error| HookError::Io { program: program.clone(), error })?;
        let is_well = ended.is_some_and(|status| status.success());
        running.end(&mut kept, is_well).await;
        match ended {
            Some(status) if status.success() => {}
            Some(status) => return Err(HookError::Failed { program: program.clone(), status, output: kept.output() }),
            None => return Err(HookError::TimeOver { program: program.clone(), limit, output: kept.output() }),
        }
    }
    Ok(kept.output())
}

/// Where a program is. Looked for here, since the C library would give what has no `#!` to a shell.
fn find(program: &str) -> Result<PathBuf, HookError> {
    match program {
        "" => Err(HookError::Empty),
        absolute if absolute.starts_with('/') => Ok(absolute.into()),
        relative if relative.contains('/') => Err(HookError::Relative(relative.to_owned())),
        name => {
            let paths = PATH.split(':').map(|folder| Path::new(folder).join(name));
            let mut programs = paths.filter(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok());
            programs.next().ok_or_else(|| HookError::Missing(name.to_owned()))
        }
    }
}

/// Starts a program. Of its descriptors only 0, 1 and 2 are open: the standard library, tokio, SQLite and this crate open all others
/// so that they close with exec, and those that danelaw itself was started with are made so.
fn spawn(program: &str, arguments: &[String]) -> Result<Running, HookError> {
    let failed = |error: io::Error| HookError::Io { program: program.to_owned(), error };
    let path = find(program)?;
    close_with_exec();
    let (read, write) = io::pipe().map_err(failed)?;
    let pipe = Receiver::from_owned_fd(read.into()).map_err(failed)?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("PATH", PATH).current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(write.try_clone().map_err(failed)?).stderr(write);
    let child = command.spawn().map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => HookError::Missing(program.to_owned()),
        Some(Errno::ACCESS | Errno::NOEXEC | Errno::NOTDIR | Errno::ISDIR | Errno::TXTBSY) => {
            HookError::NotExecutable { program: program.to_owned(), error }
        }
        _ => failed(error),
    })?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let group = group.ok_or_else(|| failed(io::Error::other("it has no number")))?;
    Ok(Running { child, group, pipe: Some(pipe), is_over: false })
}

/// Lets every descriptor but the standard ones close with exec. Before Linux 5.11 that can't be said, and what danelaw was started
/// with stays open.
#[expect(unsafe_code, reason = "no crate wraps close_range, which takes three numbers")]
fn close_with_exec() {
    // SAFETY: it closes none of them now, and this process never becomes another program.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// A command, of whose process group nothing survives.
struct Running {
    child: Child,
    group: Pid,
    /// Until nobody can write to it any more.
    pipe: Option<Receiver>,
    is_over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

impl Running {
    /// Until the command has ended, or its time is over: none then.
    async fn watch(&mut self, kept: &mut Kept, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let over = sleep(limit);
        tokio::pin!(over);
        loop {
            tokio::select! {
                status = self.child.wait() => return status.map(Some),
                () = read(&mut self.pipe, kept) => {}
                () = &mut over => return Ok(None),
            }
        }
    }

    /// Ends what is left of the group, and takes what it printed. Whoever left the group may hold the pipe for as long as it likes.
    /// `is_well`: what the command left behind may finish first.
    async fn end(&mut self, kept: &mut Kept, is_well: bool) {
        let patience = is_well.then_some((None, GRACE));
        for (signal, time) in patience.into_iter().chain([(Some(Signal::TERM), GRACE), (Some(Signal::KILL), KILLED)]) {
            if !self.is_alive() {
                break;
            }
            if let Some(signal) = signal {
                let _ = kill_process_group(self.group, signal);
            }
            let until = Instant::now() + time;
            while self.is_alive() && Instant::now() < until {
                let _ = timeout(LOOK, read(&mut self.pipe, kept)).await;
            }
        }
        self.is_over = true;
        let until = Instant::now() + KILLED;
        while self.pipe.is_some() && Instant::now() < until {
            if timeout(LOOK, read(&mut self.pipe, kept)).await.is_err() {
                break;
            }
        }
    }

    /// Whether anything of the group is. Its number is nobody else's while that is so.
    fn is_alive(&mut self) -> bool {
        if matches!(self.child.try_wait(), Ok(None)) {
            return true;
        }
        // To the first process of a container falls what the command left behind, to be waited for.
        while let Ok(Some(_)) = waitpgid(self.group, WaitOptions::NOHANG) {}
        test_kill_process_group(self.group) != Err(Errno::SRCH) && has_living(self.group)
    }
}

/// Whether a group is more than processes that have ended and that their parent has not asked for: the first process of many a
/// container never asks.
fn has_living(group: Pid) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    let is_living = |stat: &str| {
        // Number, name in brackets, state, parent, group: proc_pid_stat(5).
        let mut words = stat.rsplit_once(") ")?.1.split(' ');
        let has_ended = matches!(words.next()?, "Z" | "X");
        Some(!has_ended && words.nth(1)?.parse() == Ok(group.as_raw_pid()))
    };
    let mut stats = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.any(|stat| is_living(&stat) == Some(true))
}

async fn read(pipe: &mut Option<Receiver>, kept: &mut Kept) {
    let Some(open) = pipe else { return std::future::pending().await };
    let mut octets = [0; 4096];
    match open.read(&mut octets).await {
        Ok(0) | Err(_) => *pipe = None,
        Ok(length) => kept.take(&octets[..length]),
    }
}

/// The last of what was printed.
#[derive(Default)]
struct Kept {
    octets: Vec<u8>,
    cut: bool,
}

impl Kept {
    fn take(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
        if self.octets.len() > 2 * OUTPUT_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let more = self.octets.len().saturating_sub(OUTPUT_MAX);
        self.cut |= more > 0;
        self.octets.drain(..more);
    }

    fn output(mut self) -> Output {
        self.cut();
        // A character may have been cut through.
        let is_middle = |octet: &&u8| self.cut && **octet & 0xc0 == 0x80;
        let middle = self.octets.iter().take_while(is_middle).count();
        Output { text: String::from_utf8_lossy(&self.octets[middle..]).into_owned(), cut: self.cut }
    }
}

#[cfg(test)]
mod tests;
