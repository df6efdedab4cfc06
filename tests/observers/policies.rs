//! MTA-STS policies that are fetched, and those that are not. The system's root certificates are of the process: each test goes on in a
//! child that trusts the test's authority.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use danelaw::observe::policy::fetch;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::common::name;

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 604800\r\n";
const LIMIT: Duration = Duration::from_secs(10);
/// Set in the child: the folder with what the parent made.
const MADE: &str = "DANELAW_TEST_AUTHORITY";

/// An authority that the child trusts.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// None in the parent, which makes it, and has the child do this test.
    fn trusted(test: &str) -> Option<Authority> {
        let params = || {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        if let Some(folder) = std::env::var_os(MADE) {
            let key = std::fs::read_to_string(Path::new(&folder).join("key.pem")).unwrap();
            return Some(Authority(Issuer::new(params(), KeyPair::from_pem(&key).unwrap())));
        }
        let folder = tempfile::tempdir().unwrap();
        let (key, roots) = (KeyPair::generate().unwrap(), folder.path().join("roots.pem"));
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(&roots, params().self_signed(&key).unwrap().pem()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("policies::{test}"), "--exact", "--nocapture"])
            .env(MADE, folder.path())
            .env("SSL_CERT_FILE", &roots)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        None
    }

    /// Serves one connection with a certificate for this host; what it was asked comes back when it ends.
    fn serve(&self, host: &str, answer: &[u8]) -> Server {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Server::start(leaf.der().clone(), &key, answer)
    }
}

struct Server {
    address: SocketAddr,
    heard: std::thread::JoinHandle<String>,
}

impl Server {
    fn start(leaf: rustls::pki_types::CertificateDer<'static>, key: &KeyPair, answer: &[u8]) -> Server {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![leaf], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, answer) = (listener.local_addr().unwrap(), answer.to_vec());
        let heard = std::thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
            let mut heard = Vec::new();
            let mut octets = [0; 4096];
            while !heard.ends_with(b"\r\n\r\n") {
                match stream.read(&mut octets) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => heard.extend_from_slice(&octets[..length]),
                }
            }
            // Who has had enough hangs up.
            stream.write_all(&answer).ok();
            stream.conn.send_close_notify();
            stream.flush().ok();
            String::from_utf8(heard).unwrap()
        });
        Server { address, heard }
    }
}

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n{body}").into_bytes()
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

#[tokio::test]
async fn a_policy_is_fetched_from_the_addresses_that_were_looked_up() {
    let Some(authority) = Authority::trusted("a_policy_is_fetched_from_the_addresses_that_were_looked_up") else {
        return;
    };
    let server = authority.serve("mta-sts.example.org", &answer("200 OK", TEXT, POLICY));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let policy = fetch(&name("example.org"), &[silent, server.address], LIMIT).await;
    assert_eq!(policy.as_deref(), Ok(POLICY));
    let heard = server.heard.join().unwrap().to_lowercase();
    assert!(heard.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{heard}");
    assert!(heard.contains("\r\nhost: mta-sts.example.org\r\n"), "{heard}");
}

#[tokio::test]
async fn what_senders_do_not_take_for_a_policy_is_none() {
    let Some(authority) = Authority::trusted("what_senders_do_not_take_for_a_policy_is_none") else { return };
    let large = "x: y\n".repeat(20_000);
    for (answer, expected) in [
        (answer("404 Not Found", TEXT, POLICY), "HTTP status 404"),
        (answer("203 Non-Authoritative Information", TEXT, POLICY), "HTTP status 203"),
        (answer("301 Moved Permanently", &format!("{TEXT}Location: https://localhost/\r\n"), POLICY), "no redirect"),
        (answer("200 OK", "Content-Type: text/html\r\n", POLICY), "media type"),
        (answer("200 OK", "", POLICY), "media type"),
        (answer("200 OK", TEXT, &large), "more than 65536 octets"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nversion: STSv1\r\n".to_vec(), ""),
        (b"220 mail.example.org ESMTP\r\n".to_vec(), ""),
    ] {
        let server = authority.serve("mta-sts.example.org", &answer);
        let why = fetch(&name("example.org"), &[server.address], LIMIT).await.unwrap_err();
        assert!(why.contains(expected), "{why}, not {expected}");
    }
}

#[tokio::test]
async fn a_certificate_that_the_system_does_not_trust_is_none() {
    let Some(authority) = Authority::trusted("a_certificate_that_the_system_does_not_trust_is_none") else { return };
    let answer = answer("200 OK", TEXT, POLICY);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["mta-sts.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
    for server in [Server::start(own.into(), &key, &answer), authority.serve("example.org", &answer)] {
        let why = fetch(&name("example.org"), &[server.address], LIMIT).await.unwrap_err();
        assert!(why.contains("certificate"), "{why}");
        assert_eq!(server.heard.join().unwrap(), "", "it was asked all the same");
    }
}
