//! The pure functions' times. `cargo bench -p danelaw-benches`, then a part of a name to choose some; `-- --help` has the options.
//!
//! Signatures are stamps where signing isn't what is measured: as long as real ones, and free.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use danelaw::dns::dnssec::{Algorithm, Signer};
use danelaw::dns::{Name, RRset, Rtype};
use danelaw::keys::ZoneKey;
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::sign::Policy;
use danelaw::zone::snapshot::HashedName;
use danelaw::zone::tree::key;
use danelaw::zone::{Contents, Denial, Draft, NoIncludes, Published, Snapshot, ZoneSnapshot, parse};
use danelaw_benches::fixture::{Asking, Form, Kind, NOW, Stamp, contents, sign, snapshot};
use danelaw_benches::zones::Set;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

fn main() {
    divan::main();
}

/// What has to be there for a measurement to begin.
fn there<T>(result: danelaw_benches::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// One for each set and chain.
fn shared(set: Set, form: Form) -> Arc<Snapshot> {
    type Built = Mutex<HashMap<(Set, bool), Arc<Snapshot>>>;
    static BUILT: LazyLock<Built> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || Arc::new(there(snapshot(set, &form.denial())));
    Arc::clone(built.entry((set, form == Form::Nsec3)).or_insert_with(make))
}

mod answer {
    use super::*;

    fn run(bencher: Bencher<'_, '_>, set: Set, kind: Kind, form: Form) {
        let mut asking = there(Asking::new(&shared(set, form), set, kind, form));
        bencher.counter(ItemsCount::new(1usize)).bench_local(|| asking.ask());
    }

    macro_rules! sets {
        ($($name:ident $set:ident,)*) => {$(
            mod $name {
                use super::*;

                #[divan::bench(args = Kind::ALL, sample_size = 4096)]
                fn nsec(bencher: Bencher<'_, '_>, kind: Kind) {
                    run(bencher, Set::$set, kind, Form::Nsec);
                }

                #[divan::bench(args = Kind::ALL, sample_size = 4096)]
                fn nsec3(bencher: Bencher<'_, '_>, kind: Kind) {
                    run(bencher, Set::$set, kind, Form::Nsec3);
                }

                #[divan::bench(args = Kind::ALL, sample_size = 4096)]
                fn without_edns(bencher: Bencher<'_, '_>, kind: Kind) {
                    run(bencher, Set::$set, kind, Form::Plain);
                }
            }
        )*};
    }

    sets! { small Small, large Large, many Many, }
}

#[divan::bench(args = [Set::Small, Set::Large])]
fn parsing(bencher: Bencher<'_, '_>, set: Set) {
    let (zone, text) = (name(&set.zone(0)), set.text(0));
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| parse(&zone, "zone", black_box(text.as_bytes()), &mut NoIncludes));
}

fn name(text: &str) -> Name {
    there(text.parse().map_err(|error| danelaw_benches::Error::new(format!("{error}"))))
}

fn key() -> ZoneKey {
    let made = ZoneKey::generate(Algorithm::EcdsaP256Sha256);
    there(made.map_err(|error| danelaw_benches::Error::new(error.to_string()))).0
}

fn zone(set: Set, denial: Denial, signer: &dyn Signer) -> (Contents, Published) {
    let contents = there(contents(&set.zone(0), &set.text(0), signer));
    let published = there(sign(&contents, signer, denial, NOW));
    (contents, published)
}

/// What a change is measured in.
const CHANGING: [(Set, Form); 3] = [(Set::Small, Form::Nsec), (Set::Large, Form::Nsec), (Set::Large, Form::Nsec3)];

/// How a set in this form is signed.
fn policy(form: Form) -> Policy {
    Policy { denial: form.denial(), ..Policy::default() }
}

/// The contents with another TLSA record at one host.
fn changed(set: Set, contents: &Contents) -> Contents {
    let mut changed = contents.clone();
    let mut rdata = vec![3, 1, 1];
    rdata.extend_from_slice(&[0xab; 32]);
    changed.replace(&name(&format!("_25._tcp.{}", set.changing().1)), RRset::new(Rtype::TLSA, 3600, rdata.into()));
    changed
}

mod signing {
    use super::*;

    /// ECDSA P-256, every signature.
    #[divan::bench(args = [Set::Small])]
    fn from_nothing(bencher: Bencher<'_, '_>, set: Set) {
        let key = key();
        let contents = there(contents(&set.zone(0), &set.text(0), &key));
        bencher.bench_local(|| there(sign(&contents, &key, Denial::Nsec, NOW)));
    }

    /// All but the signatures.
    #[divan::bench(args = [Set::Small, Set::Large])]
    fn from_nothing_but_stamps(bencher: Bencher<'_, '_>, set: Set) {
        let stamp = Stamp::default();
        let contents = there(contents(&set.zone(0), &set.text(0), &stamp));
        bencher.bench_local(|| there(sign(&contents, &stamp, Denial::Nsec, NOW)));
    }

    /// The zone is read again and nothing changed.
    #[divan::bench(args = [Set::Small, Set::Large])]
    fn all_kept(bencher: Bencher<'_, '_>, set: Set) {
        let stamp = Stamp::default();
        let (contents, before) = zone(set, Denial::Nsec, &stamp);
        let signers: [&dyn Signer; 1] = [&stamp];
        bencher.bench_local(|| {
            let draft = Draft::signed(&contents, &signers, Some(&before), Policy::default(), NOW);
            draft.and_then(|draft| draft.finish(1)).map(|published| published.serial)
        });
    }

    /// One TLSA record and the SOA are signed by ECDSA P-256.
    #[divan::bench(args = CHANGING)]
    fn one_change(bencher: Bencher<'_, '_>, (set, form): (Set, Form)) {
        let (key, stamp) = (key(), Stamp::default());
        // The key's DNSKEY and the stamp's signatures: what is kept isn't looked into.
        let signer = Both(&key, &stamp);
        let (old, before) = zone(set, form.denial(), &signer);
        let new = changed(set, &old);
        let signers: [&dyn Signer; 1] = [&key];
        bencher.bench_local(|| {
            let draft = Draft::changed((&old, &new), &signers, &before, policy(form), NOW);
            draft.map(|draft| draft.map(|draft| draft.finish(2)).is_some())
        });
    }

    struct Both<'a>(&'a ZoneKey, &'a Stamp);

    impl Signer for Both<'_> {
        fn dnskey(&self) -> &[u8] {
            self.0.dnskey()
        }

        fn sign(&self, data: &[u8]) -> Result<Vec<u8>, danelaw::dns::dnssec::SignError> {
            self.1.sign(data)
        }
    }
}

mod layout {
    use super::*;

    #[divan::bench(args = [Set::Small, Set::Large])]
    fn build(bencher: Bencher<'_, '_>, set: Set) {
        let (_, published) = zone(set, Denial::Nsec, &Stamp::default());
        bencher.bench_local(|| ZoneSnapshot::build(&published));
    }

    #[divan::bench(args = CHANGING)]
    fn after_one_change(bencher: Bencher<'_, '_>, (set, form): (Set, Form)) {
        let stamp = Stamp::default();
        let (old, before) = zone(set, form.denial(), &stamp);
        let signers: [&dyn Signer; 1] = [&stamp];
        let draft = Draft::changed((&old, &changed(set, &old)), &signers, &before, policy(form), NOW);
        let Ok(Some(Ok(after))) = draft.map(|draft| draft.map(|draft| draft.finish(2))) else {
            panic!("not a change of single owners")
        };
        let Ok(laid_out) = ZoneSnapshot::build(&before) else { panic!("it can't be laid out") };
        bencher.bench_local(|| ZoneSnapshot::after(Some(&laid_out), &after));
    }
}

mod hashing {
    use super::*;

    const NAME: &[u8] = b"\x03_25\x04_tcp\x04mail\x06h00042\x05large\x04test\x00";

    #[divan::bench]
    fn name() -> u64 {
        key::hash(black_box(NAME))
    }

    #[divan::bench]
    fn name_and_all_above() -> HashedName<'static> {
        HashedName::new(black_box(NAME))
    }

    #[divan::bench]
    fn nsec3() -> [u8; 20] {
        Parameters::default().hash(black_box(NAME))
    }
}

/// A host whose next certificate waits out its hold, with two nameservers.
mod rollover {
    use std::collections::BTreeSet;

    use danelaw::dane::rollover::timeline::{hypothetical, later, settled};
    use danelaw::dane::rollover::{Chain, Event, Phase, Reading, Settings, State, Version, step};
    use danelaw::dane::{Parameters, Tlsa};

    use super::*;

    const HOUR: u64 = 3600;

    fn in_hold() -> (State, Reading) {
        let now = Reading { wall: NOW, boot: NOW, boot_id: 1, synchronised: true };
        let records = vec![Tlsa { parameters: Parameters::DEFAULT, data: vec![7; 32] }];
        let chain = Chain { fingerprint: "f".repeat(64), records, also: Vec::new() };
        let live = Version { id: "live".to_owned(), chains: vec![chain] };
        let settings = Settings {
            parameters: BTreeSet::from([Parameters::DEFAULT]),
            ttl: 3600,
            interval: 24 * HOUR,
            expire: 14 * 24 * 3600,
            hook: true,
            ..Settings::default()
        };
        let servers = BTreeSet::from(["192.0.2.53".to_owned(), "2001:db8::53".to_owned()]);
        let (state, now) = later(&settled(settings, &servers, live.clone(), now), Event::Tick, now, HOUR);
        let (state, now) = later(&state, Event::Source(hypothetical(&live)), now, HOUR);
        assert_eq!(state.phase(), Phase::Holding);
        (state, now)
    }

    fn stepped(bencher: Bencher<'_, '_>, event: impl Fn() -> Event) {
        let (state, now) = in_hold();
        bencher
            .with_inputs(|| (state.clone(), event()))
            .bench_local_values(|(state, event)| step(state, event, black_box(now)));
    }

    #[divan::bench]
    fn a_second_goes_by(bencher: Bencher<'_, '_>) {
        stepped(bencher, || Event::Tick);
    }

    #[divan::bench]
    fn a_nameserver_is_silent(bencher: Bencher<'_, '_>) {
        stepped(bencher, || Event::Unreachable { server: "192.0.2.53".to_owned() });
    }

    #[divan::bench]
    fn the_certificate_is_swapped(bencher: Bencher<'_, '_>) {
        stepped(bencher, || Event::Deployed(Version { id: "somebody's".to_owned(), chains: Vec::new() }));
    }
}
