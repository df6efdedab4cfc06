//! The rollover in a world that is against it: many random schedules, a judge that knows the truth, and for each guard of the
//! machine a proof that it is needed.
//!
//! `DANELAW_SCHEDULES=1000000` runs so many, `DANELAW_SEED=7` that one and prints what happens in it, `DANELAW_SHOW=1` prints what
//! goes wrong without each guard.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod chance;
mod daemon;
mod mail;
mod oracle;
mod run;
mod world;
mod zone;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use danelaw::dane::rollover::guard::{Guard, Guards};

use run::{Outcome, run};

/// Schedules in parallel, from a seed on, until so many are done or the time is over. Gives how many, the swaps' pairs, and the
/// first that went wrong.
fn many(
    first: u64,
    most: u64,
    time: Duration,
    with_interval: bool,
    guards: Guards,
) -> (u64, u64, Option<(u64, String)>) {
    let (next, outsiders) = (AtomicU64::new(first), AtomicU64::new(0));
    let begun = Instant::now();
    let wrong = std::sync::Mutex::new(None::<(u64, String)>);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while begun.elapsed() < time && wrong.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= most {
                        break;
                    }
                    let Outcome { problem, by_outsiders } = run(seed, with_interval, guards);
                    outsiders.fetch_add(by_outsiders, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                    if let Some(problem) = problem {
                        wrong.lock().unwrap().get_or_insert((seed, problem));
                    }
                }
            });
        }
    });
    (done.into_inner(), outsiders.into_inner(), wrong.into_inner().unwrap())
}

/// `DANELAW_SCHEDULES`: run exactly so many, however long it takes.
fn asked() -> Option<u64> {
    std::env::var("DANELAW_SCHEDULES").ok().map(|text| text.parse().unwrap())
}

#[test]
fn no_mail_is_lost_and_every_rollover_ends() {
    if let Ok(seed) = std::env::var("DANELAW_SEED") {
        let outcome = run(seed.parse().unwrap(), true, Guards::default());
        assert!(outcome.problem.is_none(), "{}", outcome.problem.unwrap());
        return;
    }
    let time = if asked().is_some() { Duration::MAX } else { Duration::from_secs(20) };
    let (done, outsiders, wrong) = many(0, asked().unwrap_or(u64::MAX), time, true, Guards::default());
    if let Some((seed, problem)) = wrong {
        panic!("seed {seed}: {problem}");
    }
    let word = format!("{done} schedules, no violation; {outsiders} pairs of a set and a swapped certificate");
    std::io::Write::write_all(&mut std::io::stderr(), format!("{word}\n").as_bytes()).unwrap();
    assert!(done >= 1000, "only {word}");
    assert!(outsiders > 0, "swaps do harm: {word}");
}

#[test]
fn without_any_one_guard_mail_is_lost_or_a_rollover_never_ends() {
    let mut unneeded = Vec::new();
    for guard in Guard::ALL {
        // Once in ten thousand schedules: it begins near one.
        let first = if guard == Guard::Serial { 17_000 } else { 0 };
        let (done, _, wrong) = many(first, 200_000, Duration::from_secs(600), false, Guards::without(guard));
        match wrong {
            None => unneeded.push(format!("{guard:?} ({done})")),
            Some((seed, problem)) if std::env::var("DANELAW_SHOW").is_ok() => {
                let text = format!("{guard:?}: {done}th, seed {seed}: {:.150}\n", problem);
                std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
            }
            Some(_) => {}
        }
    }
    assert!(unneeded.is_empty(), "nothing goes wrong without {}", unneeded.join(", "));
}
