//! NSD, Knot and BIND, BIND over TLS too, follow a signed zone through many changes while everything goes wrong that can: power cuts on
//! both sides, a journal that is lost, transfers by force. At every stop all have the same zone, and it verifies.

use std::time::Instant;

use super::changes::{self, Updater};
use super::common::{free_port, now};
use super::house::{Daemon, House, wait_until};
use super::random::Random;
use super::secondaries::{self, KEY, Peer, Primary, Running, ZONES};
use super::variable;

/// After so many changes zones are compared; before, one thing goes wrong.
const STEP: usize = 10;
const PEERS: [Peer; 4] = [Peer::Nsd, Peer::Knot, Peer::Bind, Peer::BindOverTls];
/// Each secondary and each zone once.
const EACH: u64 = (PEERS.len() * ZONES.len()) as u64;

/// What goes wrong, or is forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    /// The power goes, and comes back at once.
    PrimaryKilled,
    /// It comes back some changes later, over what it has kept.
    SecondaryKilled(usize),
    /// While a secondary is away.
    JournalLost(usize),
    /// By every secondary.
    Retransfer,
    /// By an editor, while updates go on.
    FileReplaced,
}

const MISHAPS: [Mishap; 9] = [
    Mishap::PrimaryKilled,
    Mishap::SecondaryKilled(0),
    Mishap::SecondaryKilled(1),
    Mishap::SecondaryKilled(2),
    Mishap::SecondaryKilled(3),
    Mishap::JournalLost(1),
    Mishap::Retransfer,
    Mishap::FileReplaced,
    Mishap::None,
];

/// What a daemon counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    whole: u64,
    differences: u64,
    broken_off: u64,
}

/// All that runs.
struct Course<'h> {
    house: &'h House,
    daemon: Option<Daemon<'h>>,
    peers: Vec<Running>,
    updater: Updater,
    random: Random,
    version: usize,
    /// Whole zones that NSD took out of doubt.
    doubts: u64,
    /// How often each shunned the primary.
    shunned: [u64; PEERS.len()],
    /// Started again for that since the last stop.
    woken: u64,
    /// Of the daemon that runs, when it was last looked at.
    noted: Counts,
    /// Since the last stop, but for the comparisons' own.
    step: Counts,
    all: Counts,
}

#[test]
fn whatever_goes_wrong_in_between_all_have_the_same_zone() {
    let count: usize = variable("DANELAW_CHANGES").map_or(MISHAPS.len() * STEP, |count| count as usize);
    let seed = variable("DANELAW_SEED").unwrap_or_else(|| now() ^ u64::from(std::process::id()) << 32);
    println!("DANELAW_SEED={seed} DANELAW_CHANGES={count}");
    let ports = PEERS.map(|_| free_port());
    let tls_port = free_port();
    let (house, secret) = secondaries::house(tls_port);
    configure(&house, ports);
    for zone in ZONES {
        house.put(&format!("zones/{zone}.zone"), changes::file(0));
    }
    let daemon = house.start();
    wait_until("the certificate is shown", || !daemon.status()["presented"].is_null());
    let updater = Updater::new(daemon.address, &secret);
    let primary = Primary { port: daemon.address.port(), tls_port, secret, tells: true };
    let mut course = Course {
        house: &house,
        daemon: Some(daemon),
        peers: PEERS.into_iter().zip(ports).map(|(peer, port)| peer.start_at(port, &primary)).collect(),
        updater,
        random: Random::new(seed),
        version: 0,
        doubts: 0,
        shunned: [0; PEERS.len()],
        woken: 0,
        noted: Counts::default(),
        step: Counts::default(),
        all: Counts::default(),
    };
    let begun = Instant::now();
    course.compare();
    assert_eq!(std::mem::take(&mut course.step).whole, EACH, "each took each zone whole, once");
    course.run(count);
    for (peer, zone) in course.peers.iter().flat_map(|peer| ZONES.map(|zone| (peer, zone))) {
        let records = peer.records(zone);
        secondaries::verify(&house, "ldns-verify-zone", &[], &records);
        secondaries::verify(&house, "dnssec-verify", &["-z", "-o", zone], &records);
    }
    println!("{count} changes in {:.1} s: {:?}", begun.elapsed().as_secs_f64(), course.all);
    let Counts { whole, differences, .. } = course.all;
    assert!(differences > 4 * (whole - EACH), "most went as differences");
}

/// The primary stays where it is over restarts, tells all of every change, and takes updates.
fn configure(house: &House, ports: [u16; 4]) {
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    let told = ports.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
    let config = config.replace("127.0.0.1:0", &format!("127.0.0.1:{}", free_port()));
    let config = config.replace("addresses = [\"127.0.0.1\"]", &format!("addresses = [{told}]"));
    house.put("danelaw.toml", format!("{config}[update.all]\nkey = \"{KEY}\"\n"));
}

/// NSD takes a zone whole where it does not believe that a difference has arrived: two that come while it reloads confuse it.
const DOUBTED: &str = "update failed, restarting transfer";
/// BIND shuns for ten minutes whoever has refused a connection, as the primary does while it starts.
const SHUNNED: &str = "is unreachable (cached)";

/// How often a peer has said something.
fn said(peer: &Running, what: &str) -> u64 {
    let log = std::fs::read_to_string(peer.program.folder().join("log")).unwrap();
    log.matches(what).count() as u64
}

impl Course<'_> {
    fn daemon(&self) -> &Daemon<'_> {
        self.daemon.as_ref().expect("it is away in `restart` only")
    }

    fn run(&mut self, count: usize) {
        let mut deck = Vec::new();
        for begin in (0..count).step_by(STEP) {
            if deck.is_empty() {
                deck = MISHAPS.to_vec();
            }
            let mishap = deck.swap_remove(self.random.below(deck.len()));
            let changes = STEP.min(count - begin);
            let moment = self.random.below(changes);
            for change in 0..changes {
                if change == moment {
                    self.let_happen(mishap);
                }
                self.change();
            }
            self.make_good(mishap);
            self.compare();
            self.judge(mishap, begin + changes);
        }
    }

    /// One update that changes what is served.
    fn change(&mut self) {
        loop {
            let zone = *self.random.pick(&ZONES);
            let before = secondaries::serial(self.daemon(), zone);
            let update = changes::update(zone, &mut self.random);
            assert_eq!(self.updater.send(&update), 0, "{update:?}");
            if secondaries::serial(self.daemon(), zone) != before {
                return;
            }
        }
    }

    fn let_happen(&mut self, mishap: Mishap) {
        match mishap {
            Mishap::None => {}
            Mishap::PrimaryKilled => self.restart(|daemon| daemon.kill()),
            Mishap::SecondaryKilled(peer) | Mishap::JournalLost(peer) => self.peers[peer].program.kill(),
            Mishap::Retransfer => {
                for (peer, zone) in (0..PEERS.len()).flat_map(|peer| ZONES.map(|zone| (peer, zone))) {
                    self.retransfer(peer, zone);
                }
            }
            Mishap::FileReplaced => {
                self.version += 1;
                let before = ZONES.map(|zone| secondaries::serial(self.daemon(), zone));
                let text = changes::file(self.version);
                for zone in ZONES {
                    self.house.put(&format!("zones/{zone}.zone"), &text);
                }
                let serials = || ZONES.map(|zone| secondaries::serial(self.daemon(), zone));
                wait_until("the files are served", || serials().iter().zip(before).all(|(now, before)| *now != before));
            }
        }
    }

    fn make_good(&mut self, mishap: Mishap) {
        match mishap {
            Mishap::SecondaryKilled(peer) => self.peers[peer].start_again(),
            Mishap::JournalLost(peer) => {
                self.restart(|daemon| {
                    let path = daemon.house.path("state/danelaw.db");
                    daemon.stop();
                    let database = rusqlite::Connection::open(path).unwrap();
                    assert!(database.execute("DELETE FROM difference", []).unwrap() > 0);
                });
                self.peers[peer].start_again();
            }
            _ => {}
        }
    }

    /// Lets a secondary have what is newest first: one that is on its way to it takes no orders.
    fn retransfer(&mut self, peer: usize, zone: &str) {
        let serial = secondaries::serial(self.daemon(), zone);
        wait_until(&format!("{:?} has {zone} {serial}", PEERS[peer]), || self.peers[peer].serial(zone) == Some(serial));
        self.note();
        let before = self.step.whole;
        self.peers[peer].retransfer(zone);
        wait_until(&format!("{:?} takes {zone} whole", PEERS[peer]), || {
            self.note();
            self.step.whole > before
        });
    }

    fn restart(&mut self, end: impl FnMut(Daemon<'_>)) {
        self.note();
        self.updater.hang_up();
        self.daemon.take().into_iter().for_each(end);
        self.daemon = Some(self.house.start());
        self.noted = Counts::default();
    }

    /// Adds what was counted since the last look.
    fn note(&mut self) {
        let transfers = &self.daemon().status()["statistics"]["transfers"];
        let counted = |what: &str| transfers[what].as_u64().unwrap();
        assert_eq!((counted("refused"), counted("put-off")), (0, 0));
        let now =
            Counts { whole: counted("whole"), differences: counted("differences"), broken_off: counted("broken-off") };
        for sum in [&mut self.step, &mut self.all] {
            sum.whole += now.whole - self.noted.whole;
            sum.differences += now.differences - self.noted.differences;
            sum.broken_off += now.broken_off - self.noted.broken_off;
        }
        self.noted = now;
    }

    /// All have what is served; who shuns the primary is started again, as his operator would.
    fn wait(&mut self) {
        let serials = ZONES.map(|zone| (zone, secondaries::serial(self.daemon(), zone)));
        let Course { peers, shunned, woken, .. } = self;
        for (peer, before) in peers.iter_mut().zip(shunned) {
            wait_until(&format!("{:?} has {serials:?}", peer.peer), || {
                let now = said(peer, SHUNNED);
                if now > *before {
                    (*before, *woken) = (now, *woken + 1);
                    peer.program.kill();
                    peer.start_again();
                }
                serials.iter().all(|(zone, serial)| peer.serial(zone) == Some(*serial))
            });
        }
    }

    fn compare(&mut self) {
        self.wait();
        let zones = secondaries::compare(self.daemon(), &self.peers);
        self.note();
        for sum in [&mut self.step, &mut self.all] {
            sum.whole -= ZONES.len() as u64;
        }
        // All have the same records: each verifies where one does.
        zones.iter().for_each(|records| secondaries::verify(self.house, "ldns-verify-zone", &[], records));
    }

    /// Whole zones were taken where there was a reason, else differences alone.
    fn judge(&mut self, mishap: Mishap, changes: usize) {
        let Counts { whole, differences, broken_off } = std::mem::take(&mut self.step);
        println!("{changes}: {mishap:?}: whole {whole}, differences {differences}, broken off {broken_off}");
        let (least, most) = match mishap {
            Mishap::None | Mishap::PrimaryKilled | Mishap::FileReplaced => (0, 0),
            // It may not have written down what it had.
            Mishap::SecondaryKilled(_) => (0, ZONES.len() as u64),
            Mishap::JournalLost(_) => (1, EACH),
            Mishap::Retransfer => (EACH, EACH),
        };
        let woken = std::mem::take(&mut self.woken);
        // What NSD doubts before one stop it may take after it.
        let more = whole.saturating_sub(most + ZONES.len() as u64 * woken);
        self.doubts += more;
        assert!(whole >= least && self.doubts <= said(&self.peers[0], DOUBTED), "{mishap:?}");
        // After a loss all may have been behind.
        assert!(differences > 0 || matches!(mishap, Mishap::JournalLost(_)), "{mishap:?}");
        let was_killed = woken > 0 || matches!(mishap, Mishap::SecondaryKilled(_) | Mishap::JournalLost(_));
        assert!(broken_off == 0 || was_killed, "{mishap:?}");
    }
}
