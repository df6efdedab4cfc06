//! A server as a process: pinned to its core, with a folder of its own; what CPU time and memory it and its children use; its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::system::{cpu_time, run_on};
use crate::{Error, Result};

/// How long a server may take to end before it is made to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has this thread, and what it starts from now on, run on one core.
pub fn pin(core: usize) -> Result<()> {
    let pinned = run_on(core);
    pinned.map_err(|error| Error::new(format!("core {core}: {error} (--server-core and --client-core choose)")))
}

/// What runs until this is dropped.
pub struct Process {
    child: Child,
    /// Where its output stands.
    pub output: PathBuf,
}

impl Process {
    /// Starts it on a core; its output goes into a file of `folder`.
    pub fn start(command: &mut Command, folder: &Path, (server_core, client_core): (usize, usize)) -> Result<Process> {
        let output = folder.join("output");
        let file = fs::File::create(&output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        pin(server_core)?;
        let child = command.spawn();
        pin(client_core)?;
        let child = child.map_err(|error| Error::new(format!("{}: {error}", command.get_program().display())))?;
        Ok(Process { child, output })
    }

    /// Its ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It and its descendants.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.id()];
        let mut at = 0;
        while at < tree.len() {
            for task in tasks(tree[at]) {
                let children = fs::read_to_string(task.join("children")).unwrap_or_default();
                tree.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            }
            at += 1;
        }
        tree
    }

    /// User and system time of the tree.
    pub fn cpu(&self) -> Duration {
        self.tree().into_iter().filter_map(|id| cpu_time(id).ok()).sum()
    }

    /// How long its threads were ready to run while something else had the core.
    pub fn waited(&self) -> Duration {
        let waited = |task: PathBuf| -> Option<u64> {
            fs::read_to_string(task.join("schedstat")).ok()?.split(' ').nth(1)?.parse().ok()
        };
        let all = self.tree().into_iter().flat_map(tasks).filter_map(waited);
        Duration::from_nanos(all.sum())
    }

    /// How often its threads were switched, by their own will or not.
    pub fn switches(&self) -> u64 {
        let of = |task: PathBuf| -> Option<u64> {
            let text = fs::read_to_string(task.join("status")).ok()?;
            let counts =
                text.lines().filter_map(|line| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok());
            Some(counts.sum())
        };
        self.tree().into_iter().flat_map(tasks).filter_map(of).sum()
    }

    /// Proportional set size of the tree in MiB: what processes share counts once.
    pub fn memory(&self) -> f64 {
        let kib = |id: u32| -> Option<f64> {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
        };
        self.tree().into_iter().filter_map(kib).sum::<f64>() / 1024.0
    }

    /// An error where it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let text = fs::read_to_string(&self.output).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(5).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                Err(Error::new(format!("it ended ({status}): {}", last.join(" / "))))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let tree = self.tree();
        let begun = Instant::now();
        let kill = |id: u32, signal| {
            if let Some(id) = Pid::from_raw(id as i32) {
                // It may have ended.
                let _ = kill_process(id, signal);
            }
        };
        kill(self.id(), Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                tree.iter().for_each(|id| kill(*id, Signal::KILL));
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn tasks(process: u32) -> Vec<PathBuf> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    tasks.filter_map(|task| Some(task.ok()?.path())).collect()
}

/// Runs a program to its end; gives what it printed. An error where it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| Error::new(format!("{name}: {error}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::new(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
    }
}

/// Where a program stands, by the path and where Debian has servers.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
