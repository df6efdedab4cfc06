//! Services that present certificates, and those that do not: servers of the test's own, and OpenSSL's.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use danelaw::dane::Chain;
use danelaw::dane::certificate::KeyType;
use danelaw::observe::presented::{self, Greeting, How, News, NotPresented, Order, Stage, present};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::certificates::{HOST, Made, ec, issued, pem, rsa, tls_of};
use super::common::{free_port, name};
use super::house::wait_until;

const LIMIT: Duration = Duration::from_secs(10);
const BANNER: &str = "220-mail.example.org has\r\n220 a greeting of two lines\r\n";
const EHLO: &str = "250-mail.example.org\r\n250-SIZE 1000\r\n250-starttls\r\n250 8BITMIME\r\n";
const GO: &str = "220 go on\r\n";

/// What a service says, in this order; where it says nothing it waits for the other side to end.
#[derive(Clone)]
pub struct Script {
    says: Vec<String>,
    then: Then,
}

#[derive(Clone)]
pub enum Then {
    Shakes(Arc<ServerConfig>),
    /// Another server does.
    HandsOver(SocketAddr),
    Babbles,
    Closes,
    Waits,
}

impl Script {
    fn good(tls: Arc<ServerConfig>) -> Script {
        Script::then(Then::Shakes(tls))
    }

    fn then(then: Then) -> Script {
        Script::of(&[BANNER, EHLO, GO], then)
    }

    pub fn of(says: &[&str], then: Then) -> Script {
        Script { says: says.iter().map(ToString::to_string).collect(), then }
    }

    fn saying(banner: &str, ehlo: &str, start_tls: &str) -> Script {
        Script::of(&[banner, ehlo, start_tls], Then::Waits)
    }
}

/// What a service heard: lines, the name it was asked for, how the conversation ended.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub lines: Vec<String>,
    asked_for: Option<String>,
    pub end: Option<Result<(), ErrorKind>>,
    pub at: Vec<Instant>,
}

pub struct Service {
    pub address: SocketAddr,
    pub heard: Arc<Mutex<Heard>>,
}

impl Service {
    pub async fn start(how: Greeting, script: Script) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Service { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = Arc::clone(&service.heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                heard.lock().unwrap().at.push(Instant::now());
                tokio::spawn(converse(stream, how, script.clone(), Arc::clone(&heard)));
            }
        });
        service
    }

    pub async fn presents(&self, how: Greeting, limit: Duration) -> Result<Vec<CertificateDer<'static>>, NotPresented> {
        present(self.address, how, &name(HOST), limit).await.map(|given| given.certificates)
    }

    /// What it heard, once the conversation is over.
    pub async fn heard(&self) -> Heard {
        loop {
            let heard = self.heard.lock().unwrap().clone();
            if heard.end.is_some() {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn converse(stream: TcpStream, how: Greeting, script: Script, heard: Arc<Mutex<Heard>>) {
    let end = speak(stream, how, script, &heard).await;
    heard.lock().unwrap().end = Some(end.map_err(|error| error.kind()));
}

async fn speak(stream: TcpStream, how: Greeting, script: Script, heard: &Mutex<Heard>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if how != Greeting::Tls {
        for text in &script.says {
            stream.write_all(text.as_bytes()).await?;
            if text.contains("go on\r\n") {
                break;
            }
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            heard.lock().unwrap().lines.push(line.trim_end().to_owned());
            if line.ends_with("QUIT\r\n") || line.ends_with("LOGOUT\r\n") {
                stream.write_all(goodbye(how)).await?;
                return stream.read_to_end(&mut Vec::new()).await.map(drop);
            }
        }
    }
    match script.then {
        Then::Waits => drop(stream.read_to_end(&mut Vec::new()).await?),
        Then::Closes => {
            stream.read_u8().await?;
        }
        Then::Babbles => {
            stream.read_u8().await?;
            stream.write_all(b"250 what?\r\n").await?;
        }
        Then::HandsOver(to) => {
            let mut other = TcpStream::connect(to).await?;
            copy_bidirectional(&mut stream, &mut other).await?;
        }
        Then::Shakes(tls) => {
            let stream = TlsAcceptor::from(tls).accept(stream).await?;
            heard.lock().unwrap().asked_for = stream.get_ref().1.server_name().map(str::to_owned);
            let mut stream = BufReader::new(stream);
            if how == Greeting::Sieve {
                stream.write_all(script.says[0].as_bytes()).await?;
                stream.flush().await?;
            }
            let mut line = String::new();
            // An end without close_notify is an error here.
            while stream.read_line(&mut line).await? > 0 {
                heard.lock().unwrap().lines.push(line.trim_end().to_owned());
                line.clear();
                stream.write_all(goodbye(how)).await?;
                stream.flush().await?;
            }
        }
    }
    Ok(())
}

fn goodbye(how: Greeting) -> &'static [u8] {
    match how {
        Greeting::Imap => b"* BYE goodbye\r\nc OK goodbye\r\n",
        Greeting::Pop3 => b"+OK goodbye\r\n",
        Greeting::Sieve => b"OK \"goodbye\"\r\n",
        Greeting::Smtp | Greeting::Tls | Greeting::Unknown => b"221 goodbye\r\n",
    }
}

#[tokio::test]
async fn the_chain_of_a_mail_server_is_seen_and_it_is_left_as_is_proper() {
    for made in [ec(), rsa(), issued()] {
        for version in [&TLS12, &TLS13] {
            let service = Service::start(Greeting::Smtp, Script::good(made.tls(version))).await;
            let begun = Instant::now();
            assert_eq!(service.presents(Greeting::Smtp, LIMIT).await.unwrap(), made.chain);
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            let heard = service.heard().await;
            let [ehlo, start_tls, quit] = &heard.lines[..] else { panic!("{heard:?}") };
            let ourselves = ehlo.strip_prefix("EHLO ").unwrap();
            assert!(ourselves == "[127.0.0.1]" || ourselves.contains('.'), "{ourselves}");
            assert_eq!((start_tls.as_str(), quit.as_str()), ("STARTTLS", "QUIT"));
            assert_eq!(heard.asked_for.as_deref(), Some(HOST));
            assert_eq!(heard.end, Some(Ok(())), "a proper end");
        }
    }
}

#[tokio::test]
async fn the_chain_of_another_service_is_seen() {
    let made = issued();
    for version in [&TLS12, &TLS13] {
        let service = Service::start(Greeting::Tls, Script::good(made.tls(version))).await;
        assert_eq!(service.presents(Greeting::Tls, LIMIT).await.unwrap(), made.chain);
        let heard = service.heard().await;
        assert!(heard.lines.is_empty() && heard.asked_for.as_deref() == Some(HOST));
        assert_eq!(heard.end, Some(Ok(())), "a proper end");
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_no_chain() {
    let (theirs, own) = (ec(), ec());
    for version in [&TLS12, &TLS13] {
        let tls = tls_of(Some((theirs.chain.clone(), &own.key)), version);
        let service = Service::start(Greeting::Smtp, Script::good(tls)).await;
        let why = service.presents(Greeting::Smtp, LIMIT).await.unwrap_err();
        assert!(matches!(&why, NotPresented::Handshake(text) if text.contains("BadSignature")), "{why:?}");
    }
}

#[tokio::test]
async fn what_a_mail_server_says_instead_is_told() {
    use NotPresented::{Broken, Handshake, Injected, NoStartTls, NotSpoken, TimedOut, TurnedAway};
    let no = |stage: Stage, said: &str| TurnedAway { stage, said: said.to_owned() };
    let other = |stage: Stage, line: &str| NotSpoken { protocol: "SMTP", stage, line: line.to_owned() };
    let (long, endless) = (format!("220 {}", "a".repeat(5000)), "220-a\r\n".repeat(1000));
    let injected = format!("{GO}250 injected\r\n");
    let cases = [
        (
            Script::saying("554 no service for you\r\n", "", ""),
            no(Stage::Banner, "554 no service for you"),
            vec!["QUIT"],
        ),
        (
            Script::saying("421-too many\r\n421 connections\r\n", "", ""),
            no(Stage::Banner, "421-too many 421 connections"),
            vec!["QUIT"],
        ),
        (
            Script::saying(BANNER, "550 \u{1b}[31mgo away\r\n", ""),
            no(Stage::Offer("EHLO"), "550 \u{fffd}[31mgo away"),
            vec!["EHLO", "QUIT"],
        ),
        (
            Script::saying(BANNER, "250-STARTTLS\r\n250 AUTH STARTTLS\r\n", ""),
            NoStartTls("STARTTLS"),
            vec!["EHLO", "QUIT"],
        ),
        (
            Script::saying(BANNER, EHLO, "454 4.7.0 TLS not available\r\n"),
            no(Stage::StartTls("STARTTLS"), "454 4.7.0 TLS not available"),
            vec!["EHLO", "STARTTLS", "QUIT"],
        ),
        (Script::saying(BANNER, EHLO, &injected), Injected, vec!["EHLO", "STARTTLS"]),
        (
            Script::saying("HTTP/1.1 400 Bad Request\r\n", "", ""),
            other(Stage::Banner, "HTTP/1.1 400 Bad Request"),
            vec![],
        ),
        (Script::saying(BANNER, "250-a\r\n251 b\r\n", ""), other(Stage::Offer("EHLO"), "251 b"), vec!["EHLO"]),
        (Script::saying(&long, "", ""), other(Stage::Banner, &long[..200]), vec![]),
        (Script::saying(&endless, "", ""), other(Stage::Banner, "220-a"), vec![]),
        (Script::saying("", "", ""), TimedOut(Stage::Banner), vec![]),
        (Script::saying("220-and then\r\n", "", ""), TimedOut(Stage::Banner), vec![]),
        (Script::saying(BANNER, "", ""), TimedOut(Stage::Offer("EHLO")), vec!["EHLO"]),
        (Script::saying(BANNER, EHLO, ""), TimedOut(Stage::StartTls("STARTTLS")), vec!["EHLO", "STARTTLS"]),
        (Script::then(Then::Waits), TimedOut(Stage::Handshake), vec!["EHLO", "STARTTLS"]),
        (Script::then(Then::Closes), Broken(Stage::Handshake, ErrorKind::UnexpectedEof), vec!["EHLO", "STARTTLS"]),
        (
            Script::then(Then::Babbles),
            Handshake("received corrupt message of type InvalidContentType".to_owned()),
            vec!["EHLO", "STARTTLS"],
        ),
    ];
    for (script, expected, lines) in cases {
        let service = Service::start(Greeting::Smtp, script).await;
        let begun = Instant::now();
        let why = service.presents(Greeting::Smtp, Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(why, expected);
        assert!(begun.elapsed() < Duration::from_secs(1), "{why}: {:?}", begun.elapsed());
        let heard: Vec<String> = service.heard().await.lines;
        let words: Vec<&str> = heard.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(words, lines, "{why}");
    }
}

#[tokio::test]
async fn who_does_not_take_us_or_ends_the_handshake_is_told_apart() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(present(nobody, Greeting::Smtp, &name(HOST), LIMIT).await, Err(NotPresented::Refused));
    let service = Service::start(Greeting::Tls, Script::good(tls_of(None, &TLS13))).await;
    let why = service.presents(Greeting::Tls, LIMIT).await.unwrap_err();
    assert!(matches!(why, NotPresented::Alert(_)), "{why:?}");
    let unnamed = name("under score.example.org");
    let why = present(service.address, Greeting::Tls, &unnamed, LIMIT).await.unwrap_err();
    assert_eq!(why, NotPresented::Name(unnamed));
}

/// OpenSSL's server; it runs until this is dropped.
struct OpenSsl {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl OpenSsl {
    fn start(made: &Made, arguments: &[&str]) -> OpenSsl {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity.pem");
        made.write(&file);
        let above = folder.path().join("above.pem");
        std::fs::write(&above, pem(&made.chain[1..])).unwrap();
        let chain = ["-cert_chain", above.to_str().unwrap()];
        let (port, file) = (free_port(), file.to_str().unwrap().to_owned());
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("openssl")
            .args(["s_server", "-rev", "-accept", &address, "-cert", &file, "-key", &file])
            .args(&chain[..if made.chain.len() > 1 { 2 } else { 0 }])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = OpenSsl { child, address: address.parse().unwrap(), _folder: folder };
        wait_until("OpenSSL listens", || std::net::TcpStream::connect(server.address).is_ok());
        server
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn openssl_presents_what_is_seen() {
    for (made, arguments) in [(ec(), ["-tls1_2"]), (rsa(), ["-tls1_2"]), (issued(), ["-tls1_3"]), (rsa(), ["-tls1_3"])]
    {
        let server = OpenSsl::start(&made, &arguments);
        assert_eq!(present(server.address, Greeting::Tls, &name(HOST), LIMIT).await.unwrap().certificates, made.chain);
        // It knows no SMTP: that part is ours, and the handshake its.
        let service = Service::start(Greeting::Smtp, Script::then(Then::HandsOver(server.address))).await;
        assert_eq!(service.presents(Greeting::Smtp, LIMIT).await.unwrap(), made.chain);
    }
    let old = OpenSsl::start(&ec(), &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    let why = present(old.address, Greeting::Tls, &name(HOST), LIMIT).await.unwrap_err();
    assert!(matches!(&why, NotPresented::Alert(alert) if alert == "ProtocolVersion"), "{why:?}");
}

#[tokio::test]
async fn of_two_certificates_the_one_that_is_asked_for_is_seen() {
    let (one, other) = (ec(), rsa());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.pem");
    other.write(&file);
    let file = file.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::start(&one, &[version, "-dcert", file, "-dkey", file]);
        let asked = async |key_type| {
            let how = How { greeting: Greeting::Tls, key_type };
            present(server.address, how, &name(HOST), LIMIT).await
        };
        assert_eq!(asked(Some(KeyType::Ecdsa)).await.unwrap().certificates, one.chain, "{version}");
        assert_eq!(asked(Some(KeyType::Rsa)).await.unwrap().certificates, other.chain, "{version}");
        asked(Some(KeyType::Ed25519)).await.unwrap_err();
    }
}

#[tokio::test]
async fn orders_are_carried_out_and_told_of() {
    let made = issued();
    let good = Service::start(Greeting::Smtp, Script::good(made.tls(&TLS13))).await;
    let silent = Service::start(Greeting::Smtp, Script::saying("421 later\r\n", "", "")).await;
    let (orders, taken) = mpsc::channel(10);
    let (tell, mut news) = mpsc::channel(1);
    let worker = tokio::spawn(presented::run(taken, tell, presented::Turns::default()));
    let order = |host: &str, label: &str, address| Order {
        host: name(host),
        label: label.to_owned(),
        address,
        greeting: Greeting::Smtp,
        key_type: None,
    };
    for host in ["a.test", "b.test", "c.test"] {
        orders.send(order(host, "good", good.address)).await.unwrap();
        orders.send(order(host, "silent", silent.address)).await.unwrap();
    }
    let (mut presents, mut unasked) = (Vec::new(), Vec::new());
    while presents.len() + unasked.len() < 6 {
        match news.recv().await.unwrap() {
            News::Presents { host, label, fingerprint, chain } => {
                assert_eq!(chain, Chain::presented(&made.chain).unwrap());
                assert_eq!((fingerprint, label.as_str()), (chain.leaf().fingerprint(), "good"));
                presents.push(host);
            }
            News::Unasked { host, label, why } => {
                assert!(matches!(&why, NotPresented::TurnedAway { said, .. } if said == "421 later"), "{why:?}");
                assert_eq!(label, "silent");
                unasked.push(host);
            }
        }
    }
    drop(orders);
    worker.await.unwrap();
    for mut hosts in [presents, unasked] {
        hosts.sort();
        assert_eq!(hosts, ["a.test", "b.test", "c.test"].map(name));
    }
    let at = good.heard.lock().unwrap().at.clone();
    assert!(at.len() == 3 && at.windows(2).all(|two| two[1] - two[0] >= Duration::from_secs(1)), "{at:?}");
    assert_eq!(silent.heard.lock().unwrap().at.len(), 1, "who waited has heard the same");
}
