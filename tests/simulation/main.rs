//! The rollover in a world that is against it: many random schedules, a judge that knows the truth, and for each guard of the
//! machine a proof that it is needed.
//!
//! `DANELAW_SCHEDULES=1000000 cargo test --release --test simulation` runs a million, `DANELAW_SEED=7` that one and prints what
//! happens in it, `DANELAW_SHOW=1` prints what goes wrong without each guard.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod begin;
mod chance;
mod daemon;
mod mail;
mod oracle;
mod run;
mod world;
mod zone;

use std::sync::atomic::{AtomicU64, Ordering};

use rooms::dane::rollover::guard::{Guard, Guards};

use run::{Outcome, run};

/// So many schedules in parallel, from a seed on, until one goes wrong. Gives how many, the swaps' pairs, and the first that went wrong.
fn many(first: u64, most: u64, with_interval: bool, guards: Guards) -> (u64, u64, Option<(u64, String)>) {
    let (next, outsiders) = (AtomicU64::new(first), AtomicU64::new(0));
    let wrong = std::sync::Mutex::new(None::<(u64, String)>);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while wrong.lock().unwrap().is_none() {
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

/// `DANELAW_SCHEDULES`.
fn asked() -> Option<u64> {
    std::env::var("DANELAW_SCHEDULES").ok().map(|text| text.parse().unwrap())
}

/// So many are run where nobody asks for more.
const SCHEDULES: u64 = 100_000;

#[test]
fn no_mail_is_lost_and_every_rollover_ends() {
    if let Ok(seed) = std::env::var("DANELAW_SEED") {
        let outcome = run(seed.parse().unwrap(), true, Guards::default());
        assert!(outcome.problem.is_none(), "{}", outcome.problem.unwrap());
        return;
    }
    let (done, outsiders, wrong) = many(0, asked().unwrap_or(SCHEDULES), true, Guards::default());
    if let Some((seed, problem)) = wrong {
        panic!("seed {seed}: {problem}");
    }
    let word = format!("{done} schedules, no violation; {outsiders} pairs of a set and a swapped certificate");
    std::io::Write::write_all(&mut std::io::stderr(), format!("{word}\n").as_bytes()).unwrap();
    assert!(outsiders > 0, "swaps do harm: {word}");
}

#[test]
fn without_any_one_guard_mail_is_lost_or_a_rollover_never_ends() {
    let mut unneeded = Vec::new();
    for guard in Guard::ALL {
        // Once in ten thousand schedules: it begins near one.
        let first = if guard == Guard::Serial { 17_000 } else { 0 };
        let (done, _, wrong) = many(first, 200_000, false, Guards::without(guard));
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
