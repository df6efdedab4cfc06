//! The answer path allocates nothing: counted, not claimed.
#![expect(unsafe_code, reason = "GlobalAlloc can't be implemented without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use danelaw::answer::cookie::Secrets;
use danelaw::answer::{Context, MESSAGE_MAX, Settings, Transport, answer};
use danelaw::dns::dnssec::Algorithm;
use danelaw::dns::rtype::TYPES;
use danelaw::zone::Snapshot;

use super::common::wire::{self, DNSSEC, PLAIN, TCP};
use super::common::{EXAMPLES, delegations, denials, example, name, now, sign_denying, snapshot};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_answer_allocates_nothing() {
    for (kind, denial) in denials() {
        let signed = |origin| snapshot(&sign_denying(&example(origin), Algorithm::Ed25519, denial.clone()));
        let zones = EXAMPLES.into_iter().map(signed).chain([snapshot(&sign_denying(
            &delegations(),
            Algorithm::Ed25519,
            denial.clone(),
        ))]);
        count(kind, &Snapshot::new(zones, [name("broken.test")]));
    }
}

/// What is not looked up in a zone: other classes and opcodes, no question, more than one, and what ends too soon.
fn odd(query: &[u8]) -> [Vec<u8>; 7] {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut query = query.to_vec();
        change(&mut query);
        query
    };
    let class = query.len() - 1;
    [
        [&query[..12], b"\x07version\x04bind\0\0\x10\0\x03"].concat(),
        with(&|query| query[class] = 4),
        with(&|query| query[2] |= 4 << 3),
        with(&|query| query[2] |= 5 << 3),
        with(&|query| query[5] = 0),
        with(&|query| query[5] = 2),
        with(&|query| query.truncate(class)),
    ]
}

fn count(kind: &str, snapshot: &Snapshot) {
    let mut queries = Vec::new();
    for origin in EXAMPLES.into_iter().chain(["delegations.example"]) {
        for prefix in [
            "",
            "mail.",
            "nowhere.",
            "x.wild.",
            "a.b.tree.",
            "chain1.",
            "www.secure.",
            "x.loop.",
            "large.",
            "ent.",
            "x.deep.",
            "y.deeper.deep.",
        ] {
            for info in TYPES {
                for ask in [PLAIN, DNSSEC, TCP] {
                    let transport = if ask.tcp { Transport::Tcp } else { Transport::Udp };
                    let owner = name(&format!("{prefix}{origin}"));
                    queries.push((wire::query(owner.as_wire(), info.rtype.0, ask), transport));
                }
            }
        }
    }
    for (mut query, transport) in queries.clone() {
        if query[11] == 1 {
            // NSID, a cookie, keepalive and padding.
            let options = b"\0\x03\0\0\0\x0a\0\x0812345678\0\x0b\0\0\0\x0c\0\0";
            let at = query.len() - 2;
            query[at..].copy_from_slice(&(options.len() as u16).to_be_bytes());
            query.extend_from_slice(options);
            queries.push((query, if transport == Transport::Tcp { Transport::Tls } else { transport }));
        }
    }
    queries.extend(odd(&queries[0].0).map(|query| (query, Transport::Udp)));
    let settings = Settings {
        nsid: b"ns1".to_vec(),
        cookies: Secrets::new([[1; 16], [2; 16]]),
        keepalive: Some(300),
        ..Settings::default()
    };
    let mut out = vec![0; MESSAGE_MAX];
    let now = now();
    let before = COUNT.get();
    let mut answered = 0;
    for (query, transport) in &queries {
        let context = Context::new([127, 0, 0, 1].into(), *transport, now).with(&settings);
        answered += usize::from(answer(snapshot, &context, query, &mut out).is_some());
    }
    let allocations = COUNT.get() - before;
    assert_eq!((answered, allocations), (queries.len(), 0), "{kind}");
    drop(Vec::<u8>::with_capacity(1));
    assert_eq!(COUNT.get() - before, 1, "the counter counts");
}
