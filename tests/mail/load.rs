//! One mail a second, and samples of what the resolver holds and the mail server presents, while something goes on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::house::wait_within;
use super::tlsa::{Chain, Record, agree};
use super::world::{INJECTION, RESOLVER, World};

/// Between two mails.
const SECOND: Duration = Duration::from_secs(1);
/// Between two samples.
const SAMPLED: Duration = Duration::from_millis(500);
/// So much later than danelaw a secondary has what it is not told of.
pub const LAG: Duration = Duration::from_secs(30);

/// What the resolver held, and what was presented at each address just after.
pub struct Sample {
    pub held: BTreeSet<Record>,
    pub presented: Vec<Chain>,
}

/// What was seen while something went on.
pub struct Seen {
    pub samples: Vec<Sample>,
    /// Samples that could not be taken, and why.
    pub failures: Vec<String>,
    /// Mails that the sending Postfix took.
    pub mails: usize,
    /// Mails that it delivered, and those that it put off at least once, by their identifiers.
    pub delivered: BTreeSet<String>,
    pub deferred: BTreeSet<String>,
    /// TLS sessions whose certificate a TLSA record matched, by Postfix's word, and all.
    pub verified: usize,
    pub sessions: usize,
}

impl Seen {
    /// Samples at which what is held and what is presented disagree.
    pub fn disagreements(&self) -> usize {
        let is_fine = |sample: &&Sample| sample.presented.iter().all(|chain| agree(&sample.held, chain));
        self.samples.len() - self.samples.iter().filter(is_fine).count()
    }
}

/// It ends when this goes, however that comes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something under load.
pub fn under_load(world: &World, doing: impl FnOnce()) -> Seen {
    let over = AtomicBool::new(false);
    let (mails, (samples, failures)) = scope(|scope| {
        let mails = scope.spawn(|| every(SECOND, &over, || send(world)).len());
        let samples = scope.spawn(|| sort(every(SAMPLED, &over, || sample(world))));
        if !world.setting.told {
            scope.spawn(|| lag(world, &over));
        }
        let end = End(&over);
        doing();
        drop(end);
        (mails.join().unwrap(), samples.join().unwrap())
    });
    let mut seen = Seen {
        samples,
        failures,
        mails,
        delivered: BTreeSet::new(),
        deferred: BTreeSet::new(),
        verified: 0,
        sessions: 0,
    };
    wait_within(Duration::from_secs(60), "each mail is delivered or put off", || {
        read_log(&world.sent(), &mut seen);
        (seen.delivered.union(&seen.deferred).count() >= mails).then_some(())
    });
    seen
}

/// Does it again and again until it is over.
fn every<T>(interval: Duration, over: &AtomicBool, mut doing: impl FnMut() -> T) -> Vec<T> {
    let begun = Instant::now();
    let mut done = Vec::new();
    while !over.load(Ordering::Relaxed) {
        done.push(doing());
        let next = interval * u32::try_from(done.len()).unwrap();
        sleep(next.saturating_sub(begun.elapsed()));
    }
    done
}

fn send(world: &World) {
    let to = ["-f", "load@sender.example", "-t", "somebody@example.org", INJECTION];
    world.namespace.succeed("smtp-source", &to);
}

fn sample(world: &World) -> Result<Sample, String> {
    let answer = world.ask(RESOLVER)?;
    if !answer.authentic {
        return Err(format!("not validated: {answer:?}"));
    }
    let presented: Result<Vec<Chain>, String> =
        world.addresses().into_iter().map(|address| world.presented(address)).collect();
    Ok(Sample { held: answer.records, presented: presented? })
}

fn sort(taken: Vec<Result<Sample, String>>) -> (Vec<Sample>, Vec<String>) {
    let (mut samples, mut failures) = (Vec::new(), Vec::new());
    for sample in taken {
        match sample {
            Ok(sample) => samples.push(sample),
            Err(why) => failures.push(why),
        }
    }
    (samples, failures)
}

/// Lets the secondary have each version so much later.
fn lag(world: &World, over: &AtomicBool) {
    let mut last = world.serial();
    let mut due = VecDeque::new();
    every(SAMPLED, over, || {
        let serial = world.serial().or(last);
        if serial != last {
            last = serial;
            due.push_back(Instant::now() + LAG);
        }
        if due.front().is_some_and(|due| *due <= Instant::now()) {
            due.pop_front();
            world.transfer();
        }
    });
}

fn read_log(log: &str, seen: &mut Seen) {
    let lines = || log.lines().filter(|line| line.contains("postfix/"));
    for line in lines() {
        // 2027-01-01T00:00:00 host postfix/smtp[1]: 4B7F1A: to=<...>, ..., status=sent (...)
        let Some((before, _)) = line.split_once(": to=<") else { continue };
        let id = before.rsplit(' ').next().unwrap().to_owned();
        if line.contains("status=sent") {
            seen.delivered.insert(id);
        } else {
            seen.deferred.insert(id);
        }
    }
    let sessions = || lines().filter(|line| line.contains("TLS connection established to mail.example.org["));
    seen.sessions = sessions().count();
    seen.verified = sessions().filter(|line| line.contains("Verified TLS")).count();
}
