//! Four clients update at once while the daemon is killed and started again: what was acknowledged is there.
//!
//! `DANELAW_LOAD` says how many updates there are in all.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use danelaw::dns::tsig::sign_request;

use super::common::{free_port, now, wire};
use super::house::{House, ZONE};
use super::message::Message;
use super::served::{add, house, key, verify};

const CLIENTS: usize = 4;
/// So often the power goes.
const KILLS: usize = 5;

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let count: usize = std::env::var("DANELAW_LOAD").map_or(2_000, |count| count.parse().unwrap());
    let house = house();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    house.put("danelaw.toml", config.replace("127.0.0.1:0", &address.to_string()));
    let (done, unanswered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut daemon = Some(house.start());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (done, unanswered) = (&done, &unanswered);
            scope.spawn(move || {
                let mut stream = None;
                for number in 0..count / CLIENTS {
                    let update = add(&format!("c{client}-{number}"), (number % 250) as u8);
                    while acknowledge(&mut stream, address, &update) != Some(0) {
                        stream = None;
                        unanswered.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for kill in 1..=KILLS {
            while done.load(Ordering::Relaxed) < count * kill / (KILLS + 1) {
                assert!(begun.elapsed() < Duration::from_secs(600), "{} of {count}", done.load(Ordering::Relaxed));
                std::thread::sleep(Duration::from_millis(5));
            }
            daemon.take().unwrap().kill();
            daemon = Some(house.start());
        }
    });
    let taken = begun.elapsed();
    let lost = missing(&house, count);
    assert!(lost.is_empty(), "{} are lost: {lost:?}", lost.len());
    assert!(unanswered.load(Ordering::Relaxed) > 0, "no kill met an update");
    let daemon = daemon.take().unwrap();
    verify(&daemon);
    daemon.kill();
    let _daemon = house.start();
    assert!(missing(&house, count).is_empty());
    eprintln!("{count} updates in {taken:?}, {} of them sent again", unanswered.load(Ordering::Relaxed));
}

/// The response code; none where there was no response.
fn acknowledge(stream: &mut Option<TcpStream>, server: SocketAddr, update: &Message) -> Option<u8> {
    if stream.is_none() {
        let new = TcpStream::connect(server).ok()?;
        new.set_nodelay(true).ok()?;
        new.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        *stream = Some(new);
    }
    let stream = stream.as_mut()?;
    let mut octets = update.octets();
    let length = octets.len();
    octets.resize(length + 300, 0);
    let (length, mut responses) = sign_request(&key(), &mut octets, length, now())?;
    stream.write_all(&[&(length as u16).to_be_bytes(), &octets[..length]].concat()).ok()?;
    let said = wire::read_message(stream).ok()?;
    responses.verify(&said, now()).unwrap();
    Some(said[3] & 15)
}

/// The owners that were to come and are not in the zone.
fn missing(house: &House, count: usize) -> Vec<String> {
    let said = house.danelaw(&["zone", "export", ZONE]);
    let text = String::from_utf8(said.stdout).unwrap();
    let there: BTreeSet<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
    let wanted = (0..CLIENTS).flat_map(|client| (0..count / CLIENTS).map(move |number| (client, number)));
    let wanted = wanted.map(|(client, number)| format!("c{client}-{number}.{ZONE}."));
    wanted.filter(|owner| !there.contains(owner.as_str())).collect()
}
