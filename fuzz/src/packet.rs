//! Any octets as a query: an octet that chooses transport, client, time, settings, zones and whether it is signed, then the packet.

use std::net::IpAddr;
use std::sync::LazyLock;

use danelaw::answer::cookie::Secrets;
use danelaw::answer::{Context, Settings, Transport};

use super::exchange::ask;
use super::signed;
use super::signing::NOW;
use super::world::{SNAPSHOTS, UNSIGNED};

/// A day after the last signature has expired.
const LATE: u64 = NOW + 17 * 86_400;
const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic];

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    nsid: vec![b'n'; 128],
    version: b"danelaw".to_vec(),
    identity: vec![b'i'; 255],
    cookies: Secrets::new([[7; 16], [8; 16]]),
    keepalive: Some(300),
});

/// Answers it, and looks at the answer.
pub fn check(input: &[u8]) {
    let Some((&how, query)) = input.split_first() else { return };
    let peer: IpAddr = if how & 8 == 0 { [192, 0, 2, 1].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into() };
    let now = if how & 0x20 == 0 { NOW + 60 } else { LATE };
    let context = Context::new(peer, TRANSPORTS[usize::from(how & 7) % TRANSPORTS.len()], now);
    let context = if how & 0x10 == 0 { context } else { context.with(&SETTINGS) };
    let is_unsigned = |owner: &str| owner.to_ascii_lowercase().ends_with(UNSIGNED);
    let snapshot = &SNAPSHOTS[usize::from(how >> 6 & 1)];
    let answered = ask(snapshot, &context, query, &is_unsigned);
    let may_be_answered = query.len() >= 12 && query[2] & 0x80 == 0;
    assert_eq!(answered.is_some(), may_be_answered);
    signed::check(snapshot, &context, query, answered.as_ref());
    if let Some(answered) = answered.filter(|_| how & 0x80 != 0) {
        signed::check_client(snapshot, &context, query, &answered);
    }
}
