//! The daemon itself: its configuration, the certificate out of a watched folder, and what its log says.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use danelaw::dns::Rtype;
use danelaw::dns::tsig::{Algorithm, Key, Responses, sign_request};
use rustls::pki_types::CertificateDer;

use super::clients::{self, HOST, config, doh, doq, dot, framed, read_frame};
use super::common::wire::DNSSEC;
use super::common::{self, name};
use super::equality::zero;
use super::laboratory::until;

struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(tls: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        std::fs::create_dir(folder.path().join("certs")).unwrap();
        let zone = "@ 1h SOA ns1 hostmaster 1 4h 1h 2w 5m\n@ 1h NS ns1\nns1 1h A 192.0.2.53\nmail 1h A 192.0.2.25\n";
        std::fs::write(folder.path().join("zones/example.org.zone"), zone).unwrap();
        let key = folder.path().join("transfer.key");
        std::fs::write(&key, "key \"transfer.test\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };\n").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "tsig-keys = [\"transfer.key\"]\nlisten = [\"127.0.0.1:0\"]\nlisten-tls = [\"127.0.0.1:0\"]\nlisten-https = [\"127.0.0.1:0\"]\n\
             listen-quic = [\"127.0.0.1:0\"]\n\
             [secondary.ns2]\naddresses = [\"127.0.0.1\"]\nnotify = false\n[update.all]\nkey = \"transfer.test\"\n\
             [control]\nsocket = \"control/danelaw.sock\"\n[tls]\n{tls}\n"
        );
        std::fs::write(folder.path().join("danelaw.toml"), text).unwrap();
        let child = common::serve(env!("CARGO_BIN_EXE_danelaw"), folder.path());
        let daemon = Daemon { child, folder };
        until("ready", || daemon.path("ready").exists());
        daemon
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    /// What the ready file says of a transport.
    fn address(&self, transport: &str) -> SocketAddr {
        common::address(self.folder.path(), transport)
    }

    fn status(&self) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_danelaw"))
            .args(["status", "--json"])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Whether whoever trusts this certificate is answered over TLS.
    fn is_believed(&self, trusted: &CertificateDer<'static>) -> bool {
        let client = dot(self.address("tls"), config(std::slice::from_ref(trusted), b"dot"));
        client.is_ok_and(|mut client| {
            let query = zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC);
            client.write_all(&framed(&query)).is_ok() && read_frame(&mut client).is_ok_and(|answer| answer[3] & 15 == 0)
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a new certificate and its key, each by a rename; gives the certificate and the key's PEM.
fn renew(folder: &Path, stem: &str, host: &str) -> (CertificateDer<'static>, String) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    for (file, text) in
        [(format!("{stem}.key"), made.signing_key.serialize_pem()), (format!("{stem}.pem"), made.cert.pem())]
    {
        let fresh = folder.join(format!(".{file}.new"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, folder.join(file)).unwrap();
    }
    (made.cert.der().clone(), made.signing_key.serialize_pem())
}

#[test]
fn the_certificate_of_a_host_comes_from_the_watched_folder_and_changes_live() {
    let daemon = Daemon::start(&format!("host = \"{HOST}\""));
    let certs = daemon.path("certs");
    renew(&certs, "other", "www.example.org");
    let (first, first_key) = renew(&certs, "ns1", HOST);
    until("the first certificate", || daemon.is_believed(&first));
    assert!(
        daemon.log().contains("no certificate in the certificate folders names ns1.example.org"),
        "{}",
        daemon.log()
    );

    let (second, second_key) = renew(&certs, "ns1", HOST);
    until("the renewed one", || daemon.is_believed(&second));
    assert!(!daemon.is_believed(&first));

    // Another host's certificate, and a broken one for this host, change nothing.
    std::fs::write(certs.join("ns1.pem"), "-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap();
    renew(&certs, "other", "www.example.org");
    until("the broken one is told of", || daemon.log().contains("the last good certificate stays in force"));
    assert!(daemon.is_believed(&second), "{}", daemon.log());

    let (third, third_key) = renew(&certs, "ns1", HOST);
    until("the repaired one", || daemon.is_believed(&third));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let trusted = [third];
    let query = zero(name("mail.example.org").as_wire(), Rtype::A, DNSSEC);
    runtime.block_on(async {
        let client = doh(daemon.address("https"), config(&trusted, b"h2")).await.unwrap();
        let path = clients::get(&query);
        assert_eq!(clients::request(&client, http::Method::GET, &path, None, None).await.unwrap().0, 200);
        let client = doq(daemon.address("quic"), config(&trusted, b"doq")).await.unwrap();
        assert!(clients::doq_octets(&client, &framed(&query)).await.unwrap().len() > 14);
    });
    let log = daemon.log();
    for key in [first_key, second_key, third_key] {
        let body = key.lines().nth(1).unwrap();
        assert!(!log.contains(body), "a private key in the log");
    }
}

#[test]
fn kdig_verifies_signed_answers_over_every_encrypted_transport() {
    let daemon = Daemon::start(&format!("host = \"{HOST}\""));
    renew(&daemon.path("certs"), "ns1", HOST);
    until("the certificate is shown", || !daemon.status()["presented"].is_null());
    for transport in ["tls", "https", "quic"] {
        let port = daemon.address(transport).port().to_string();
        let option = format!("+{transport}");
        let ask = |secret: &str| {
            let key = format!("hmac-sha256:transfer.test:{secret}");
            let arguments = ["@127.0.0.1", "-p", &port, &option, "+padding=32", "-y", &key, "mail.example.org", "A"];
            let output = common::run("kdig", &arguments);
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        let said = ask("c2VjcmV0");
        assert!(said.contains("192.0.2.25") && said.contains("TSIG PSEUDOSECTION"), "{transport}: {said}");
        assert!(said.contains("Received 468 B") && !said.contains("reply verification"), "{transport}: {said}");
        assert!(ask("b3RoZXI=").contains("status: BADSIG"), "{transport}");
    }
    assert_eq!(daemon.status()["statistics"]["tsig"]["verified"], 3);
}

/// An update that adds an address, signed.
fn update(last: u8) -> (Vec<u8>, Responses) {
    let zone = name("example.org");
    let owner = name(&format!("host{last}.example.org"));
    let head = [0, 0, 5 << 3, 0, 0, 1, 0, 0, 0, 1, 0, 0];
    let record = [&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4][..], &[192, 0, 2, last]].concat();
    let mut octets = [&head[..], zone.as_wire(), &[0, 6, 0, 1], owner.as_wire(), &record].concat();
    let length = octets.len();
    octets.resize(length + 300, 0);
    let key = Arc::new(Key::new(&name("transfer.test"), Algorithm::HmacSha256, b"secret").unwrap());
    let (length, responses) = sign_request(&key, &mut octets, length, common::now()).unwrap();
    octets.truncate(length);
    (octets, responses)
}

#[test]
fn an_update_is_answered_over_every_encrypted_transport_once_it_is_served() {
    let daemon = Daemon::start(&format!("host = \"{HOST}\""));
    let (trusted, _) = renew(&daemon.path("certs"), "ns1", HOST);
    until("the certificate is shown", || daemon.is_believed(&trusted));
    let trusted = [trusted];
    let is_served = |last: u8, said: &[u8], mut responses: Responses| {
        responses.verify(said, common::now()).unwrap();
        assert_eq!((said[2], said[3] & 15), (0x80 | 5 << 3, 0));
        let owner = name(&format!("host{last}.example.org"));
        let answer = common::wire::ask(daemon.address(""), owner.as_wire(), Rtype::A.0, common::wire::PLAIN).answer;
        assert!(answer.iter().any(|record| record.rdata == [192, 0, 2, last]));
    };
    let (first, responses) = update(1);
    let (second, more) = update(2);
    let mut client = dot(daemon.address("tls"), config(&trusted, b"dot")).unwrap();
    client.write_all(&[framed(&first), framed(&second)].concat()).unwrap();
    is_served(1, &read_frame(&mut client).unwrap(), responses);
    is_served(2, &read_frame(&mut client).unwrap(), more);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = doh(daemon.address("https"), config(&trusted, b"h2")).await.unwrap();
        let (octets, responses) = update(3);
        let (path, media_type) = ("/dns-query", Some(clients::MEDIA_TYPE));
        let said = clients::request(&client, http::Method::POST, path, media_type, Some(&octets)).await.unwrap();
        assert_eq!(said.0, 200);
        is_served(3, &said.2, responses);
        let client = doq(daemon.address("quic"), config(&trusted, b"doq")).await.unwrap();
        let (octets, responses) = update(4);
        let said = clients::doq_octets(&client, &framed(&octets)).await.unwrap();
        is_served(4, &said[2..], responses);
    });
}

#[test]
fn two_named_files_are_read_and_a_half_written_pair_waits() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (first, _) = renew(elsewhere.path(), "tls", HOST);
    let shown = elsewhere.path().display();
    let daemon = Daemon::start(&format!("certificate = \"{shown}/tls.pem\"\nkey = \"{shown}/tls.key\""));
    assert!(daemon.is_believed(&first), "from the first query on: {}", daemon.log());
    let status = daemon.status();
    for transport in ["tls", "https", "quic"] {
        let address = daemon.address(transport).to_string();
        let listed = status["encrypted"].as_array().unwrap();
        assert!(listed.contains(&serde_json::json!({"transport": transport, "address": address})), "{status}");
    }
    assert_eq!(status["presented"]["file"], format!("{shown}/tls.pem"));
    assert_eq!(status["presented"]["names"], serde_json::json!([HOST]));
    let open = |transport: &str| {
        let mut connections = status["statistics"]["connections"].as_array().unwrap().iter();
        connections.find(|one| one["transport"] == transport).unwrap().clone()
    };
    assert_eq!((&open("tls")["accepted"], &open("quic")["accepted"]), (&1.into(), &0.into()));
    // Whoever trusts another one gives up in the handshake.
    let stranger = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    assert!(!daemon.is_believed(stranger.cert.der()));
    until("its handshake is counted", || daemon.status()["statistics"]["connections"][1]["handshakes-failed"] == 1);
    // The certificate is there, its key is not yet.
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    std::fs::write(elsewhere.path().join("tls.pem"), made.cert.pem()).unwrap();
    until("it is told of", || daemon.log().contains("not a private key that belongs to"));
    assert!(daemon.is_believed(&first));
    std::fs::write(elsewhere.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    until("both belong together", || daemon.is_believed(made.cert.der()));
}

#[test]
fn a_transfer_over_quic_is_one_stream_of_messages() {
    let daemon = Daemon::start(&format!("host = \"{HOST}\""));
    let (trusted, _) = renew(&daemon.path("certs"), "ns1", HOST);
    let hosts: String = (0..3000).map(|host| format!("host{host} 1h A 192.0.2.1\n")).collect();
    let head = "@ 1h SOA ns1 hostmaster 1 4h 1h 2w 5m\n@ 1h NS ns1.example.org.\n";
    std::fs::write(daemon.path("zones/large.example.zone"), [head, &hosts].concat()).unwrap();
    until("the certificate is shown", || daemon.is_believed(&trusted));
    until("the large zone is served", || daemon.log().contains("large.example. is served"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let query = zero(name("large.example").as_wire(), Rtype::AXFR, DNSSEC);
    let octets = runtime.block_on(async {
        let client = doq(daemon.address("quic"), config(&[trusted], b"doq")).await.unwrap();
        clients::doq_octets(&client, &framed(&query)).await.unwrap()
    });
    let (mut rest, mut messages, mut addresses) = (&octets[..], 0, 0);
    while !rest.is_empty() {
        let message = common::wire::read_message(&mut rest).unwrap();
        let records = common::wire::decode(&message).answer;
        addresses += records.iter().filter(|record| record.rtype == Rtype::A.0).count();
        messages += 1;
    }
    assert!(messages > 20 && addresses == 3000, "{messages} messages, {addresses} addresses");
}
