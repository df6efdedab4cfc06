//! Places at which a test has the process killed, to see that what was begun is finished after a restart. Never in a release
//! build, and never without being asked for by the environment.
//!
//! `DANELAW_CRASH_LOG=file` writes down each point that is passed, a line each; with `DANELAW_CRASH_AT=N` besides, the process
//! kills itself by SIGKILL at the N-th, counted from 1; with `DANELAW_CRASH_AT=N name` at the N-th of this name.

/// Passes a point.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// Passes a point.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    if let Some(points) = points::asked_for() {
        points.pass(name);
    }
}

#[cfg(debug_assertions)]
mod points {
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::num::ParseIntError;
    use std::path::PathBuf;
    use std::str::FromStr;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    pub(super) struct Points {
        last: Option<Last>,
        /// How many were passed that count, and where each is written.
        passed: Mutex<(u64, File)>,
    }

    /// Which one kills.
    struct Last {
        number: u64,
        /// Only those of this name count.
        name: Option<String>,
    }

    impl FromStr for Last {
        type Err = ParseIntError;

        fn from_str(text: &str) -> Result<Last, ParseIntError> {
            let (number, name) = text.split_once(' ').map_or((text, None), |(number, name)| (number, Some(name)));
            Ok(Last { number: number.parse()?, name: name.map(str::to_owned) })
        }
    }

    pub(super) fn asked_for() -> Option<&'static Points> {
        static POINTS: OnceLock<Option<Points>> = OnceLock::new();
        let asked_for = POINTS.get_or_init(|| {
            let path = PathBuf::from(std::env::var_os("DANELAW_CRASH_LOG")?);
            let last = std::env::var("DANELAW_CRASH_AT").ok().map(|text| text.parse());
            match (OpenOptions::new().append(true).create(true).open(&path), last.transpose()) {
                (Ok(file), Ok(last)) => Some(Points { last, passed: Mutex::new((0, file)) }),
                // A test that takes this for a run without a crash would be worth nothing.
                (Err(error), _) => stop(&format!("DANELAW_CRASH_LOG: {}: {error}", path.display())),
                (_, Err(error)) => stop(&format!("DANELAW_CRASH_AT: {error}")),
            }
        });
        asked_for.as_ref()
    }

    impl Points {
        pub(super) fn pass(&self, name: &str) {
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            let counts = |last: &Last| last.name.as_ref().is_none_or(|wanted| wanted == name);
            let counted = self.last.as_ref().is_none_or(counts);
            passed.0 += u64::from(counted);
            if let Err(error) = passed.1.write_all(format!("{name}\n").as_bytes()) {
                stop(&format!("DANELAW_CRASH_LOG: {error}"));
            }
            if counted && self.last.as_ref().is_some_and(|last| last.number == passed.0) {
                // The lock stays taken: no other thread passes a point any more.
                let killed = kill_process(getpid(), Signal::KILL);
                stop(&format!("DANELAW_CRASH_AT: {killed:?}"));
            }
        }
    }

    fn stop(why: &str) -> ! {
        tracing::error!("{why}");
        std::process::abort()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(debug_assertions)]
    fn the_process_dies_at_the_point_asked_for() {
        use std::os::unix::process::ExitStatusExt;
        use std::process::Command;

        if std::env::var_os("DANELAW_CRASH_LOG").is_some() {
            return ["one", "two", "three", "two"].into_iter().for_each(super::point);
        }
        let folder = tempfile::tempdir().unwrap();
        let run = |at: Option<&str>| {
            let log = folder.path().join(at.unwrap_or("whole"));
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "crash::tests::the_process_dies_at_the_point_asked_for"]);
            child.env("DANELAW_CRASH_LOG", &log).envs(at.map(|at| ("DANELAW_CRASH_AT", at)));
            let status = child.output().unwrap().status;
            (status.signal(), std::fs::read_to_string(log).unwrap())
        };
        assert_eq!(run(None), (None, "one\ntwo\nthree\ntwo\n".to_owned()));
        assert_eq!(run(Some("2")), (Some(9), "one\ntwo\n".to_owned()));
        assert_eq!(run(Some("1 three")), (Some(9), "one\ntwo\nthree\n".to_owned()));
        assert_eq!(run(Some("2 two")), (Some(9), "one\ntwo\nthree\ntwo\n".to_owned()));
        assert_eq!(run(Some("3 two")), (None, "one\ntwo\nthree\ntwo\n".to_owned()));
        assert_eq!(run(Some("second")), (Some(6), String::new()), "it must not go on as if nothing were asked");
    }
}
