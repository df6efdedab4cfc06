//! Changes are seen without a restart: of zone files, of what they include, of the configuration; by notice and by word.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{free_port, name, wire};
use crate::house::{CONFIG, HEAD, HOST, House, ZONE, good_zone, wait_until};

#[test]
fn an_edit_is_seen_however_it_is_saved() {
    let house = House::good();
    let daemon = house.start();
    let is = |address: &str| wait_until(address, || daemon.records("new.example.org", "A") == [address]);
    house.put_zone(&format!("{}new A 192.0.2.1\n", good_zone()));
    is("192.0.2.1");
    fs::write(house.path("zones/example.org.zone"), format!("{}new A 192.0.2.2\n", good_zone())).unwrap();
    is("192.0.2.2");
    let mut file = fs::File::options().append(true).open(house.path("zones/example.org.zone")).unwrap();
    file.write_all(b"$INCLUDE more\n").unwrap();
    drop(file);
    wait_until("the missing file is said", || daemon.problems().contains("no such file"));
    is("192.0.2.2");
    house.put("zones/more", "more TXT one\n");
    wait_until("the included file is read", || daemon.records("more.example.org", "TXT") == ["\"one\""]);
    house.put("zones/more", "more TXT two\n");
    wait_until("its edit too", || daemon.records("more.example.org", "TXT") == ["\"two\""]);
    fs::create_dir(house.path("zones/parts")).unwrap();
    house.put("zones/parts/dkim", "deep TXT 1\n");
    house.put("zones/more", "$INCLUDE parts/dkim\n");
    wait_until("from a folder below", || daemon.records("deep.example.org", "TXT") == ["\"1\""]);
    fs::write(house.path("zones/parts/dkim"), "deep TXT 2\n").unwrap();
    wait_until("its edit in that folder", || daemon.records("deep.example.org", "TXT") == ["\"2\""]);
    assert_eq!(daemon.problems(), "");
}

#[test]
fn sighup_and_reload_read_everything() {
    let house = House::good();
    let daemon = house.start();
    daemon.signal("HUP");
    wait_until("SIGHUP is heard", || daemon.log().matches("the configuration was read again").count() == 1);
    let output = house.danelaw(&["reload"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.log().matches("the configuration was read again").count(), 2);
    // What reload says is how things are afterwards.
    house.put_zone("nonsense\n");
    let output = house.danelaw(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("the last good version stays in service"));
    house.put("danelaw.toml", "nonsense");
    let output = house.danelaw(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the configuration before stays in force"));
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
}

#[test]
fn a_change_of_the_configuration_takes_effect() {
    let house = House::good();
    house.put("danelaw.toml", CONFIG.replace("192.0.2.25", "192.0.2.99"));
    let daemon = house.start();
    daemon.await_verdict("withheld not-yet");
    house.put("danelaw.toml", CONFIG);
    daemon.await_verdict("served all-held");
    let service = "[[service]]\nhost = \"mail.example.org\"\nport = 465\n";
    house.put("danelaw.toml", format!("{CONFIG}{service}"));
    wait_until("a service", || daemon.records("_465._tcp.mail.example.org", "TLSA") == daemon.tlsa());
    house.put("danelaw.toml", CONFIG);
    wait_until("no more", || daemon.records("_465._tcp.mail.example.org", "TLSA").is_empty());
    assert_eq!(daemon.tlsa().len(), 1);
}

#[test]
fn a_zone_comes_with_its_file_and_goes_some_time_after_it() {
    let house = House::good();
    let daemon = house.start();
    let serial = daemon.serial();
    assert_eq!(daemon.rcode("example.net", "SOA"), "REFUSED");
    house.put("zones/example.net.zone", HEAD);
    wait_until("a new zone", || daemon.rcode("example.net", "SOA") == "NOERROR");

    // Away for a moment, as a deployment has it.
    fs::rename(house.path("zones/example.org.zone"), house.path("away")).unwrap();
    wait_until("it is missed", || daemon.status()["zones"].to_string().contains("its file is gone"));
    assert_eq!(daemon.rcode(HOST, "A"), "NOERROR");
    fs::rename(house.path("away"), house.path("zones/example.org.zone")).unwrap();
    wait_until("it is back", || !daemon.status()["zones"].to_string().contains("its file is gone"));
    assert_eq!(daemon.serial(), serial);
    daemon.await_verdict("served all-held");

    house.remove("zones/example.net.zone");
    wait_until("its zone is gone", || daemon.rcode("example.net", "SOA") == "REFUSED");
    assert_eq!(daemon.rcode(HOST, "A"), "NOERROR");
    assert_eq!(daemon.serial(), serial);

    // Back after it was gone, the serial goes on.
    house.put("zones/example.net.zone", HEAD);
    wait_until("the zone is back", || daemon.rcode("example.net", "SOA") == "NOERROR");
    assert_eq!(daemon.problems(), "");
}

/// The response codes of an SOA that is asked for, again and again, until that is enough.
fn ask_on(server: SocketAddr, enough: &AtomicBool) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let (query, mut said, mut rcodes) = (wire::query(name(ZONE).as_wire(), 6, wire::PLAIN), [0; 512], Vec::new());
    let begun = Instant::now();
    while !enough.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(30) {
        // Between two daemons nobody hears it.
        let _ = socket.send(&query);
        rcodes.extend(socket.recv(&mut said).map(|_| said[3] & 15));
    }
    rcodes
}

/// A secondary that is told SERVFAIL may come back hours later: BIND 9.18 waits for its expiry.
#[test]
fn who_asks_during_a_restart_is_answered_late_and_rightly() {
    let house = House::good();
    let mut zone = good_zone();
    (0..1000).for_each(|host| zone += &format!("host{host} A 192.0.2.{}\n", host % 250));
    house.put_zone(&zone);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    house.put("danelaw.toml", CONFIG.replace("127.0.0.1:0", &address.to_string()));
    let (daemon, enough) = (house.start(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_on(address, &enough));
        let daemon = daemon.restarted();
        wait_until("it is served", || daemon.rcode(ZONE, "SOA") == "NOERROR");
        enough.store(true, Ordering::Relaxed);
        let rcodes = asking.join().unwrap();
        let others = rcodes.iter().filter(|rcode| **rcode != 0).count();
        assert!(rcodes.len() > others && others == 0, "{others} of {} answers are wrong", rcodes.len());
    });
}
