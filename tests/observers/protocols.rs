//! Services of IMAP, POP3 and ManageSieve, which come to TLS from the clear as mail servers do, each with words of its own.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use danelaw::observe::presented::{Greeting, NotPresented, Stage};
use rustls::version::{TLS12, TLS13};

use super::certificates::issued;
use super::services::{Script, Service, Then};

/// A protocol: what a sound server says, and what it hears.
struct Words {
    how: Greeting,
    name: &'static str,
    says: &'static [&'static str],
    hears: &'static [&'static str],
    /// How its greeting, its offer and its consent to TLS are called.
    stages: &'static [Stage],
    /// Says no.
    no: &'static [&'static str],
    without_tls: &'static [&'static str],
}

const ALL: [Words; 3] = [
    Words {
        how: Greeting::Imap,
        name: "IMAP",
        says: &[
            "* OK [CAPABILITY IMAP4rev1] mail.example.org ready\r\n",
            "* CAPABILITY IMAP4rev1 ID StartTLS LOGINDISABLED\r\n* 1 EXPUNGE\r\na OK that is all\r\n",
            "b OK go on\r\n",
        ],
        hears: &["a CAPABILITY", "b STARTTLS", "c LOGOUT"],
        stages: &[Stage::Banner, Stage::Offer("CAPABILITY"), Stage::StartTls("STARTTLS")],
        no: &["* BYE too many of you\r\n", "a BAD what?\r\n", "b NO [UNAVAILABLE] TLS is broken\r\n"],
        without_tls: &["* PREAUTH I know you\r\n", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na OK STARTTLS\r\n"],
    },
    Words {
        how: Greeting::Pop3,
        name: "POP3",
        says: &["+OK mail.example.org\r\n", "+OK that is all\r\nTOP\r\nSASL PLAIN\r\nSTLS\r\n.\r\n", "+OK go on\r\n"],
        hears: &["CAPA", "STLS", "QUIT"],
        stages: &[Stage::Banner, Stage::Offer("CAPA"), Stage::StartTls("STLS")],
        // A server without CAPA offers nothing.
        no: &["-ERR too many of you\r\n", "", "-ERR TLS is broken\r\n"],
        without_tls: &["+OK\r\n", "-ERR what?\r\n"],
    },
    Words {
        how: Greeting::Sieve,
        name: "ManageSieve",
        says: &[
            "\"IMPLEMENTATION\" \"it\"\r\n\"SIEVE\" \"fileinto\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"ready\"\r\n",
            "OK \"go on\r\n",
        ],
        hears: &["STARTTLS", "LOGOUT"],
        stages: &[Stage::Banner, Stage::StartTls("STARTTLS")],
        no: &["BYE \"too many of you\"\r\n", "NO \"TLS is broken\"\r\n"],
        without_tls: &["\"IMPLEMENTATION\" \"it\"\r\n\"SASL\" \"STARTTLS\"\r\nOK (TAG x) \"ready\"\r\n"],
    },
];

impl Words {
    /// A service that says what a sound one does, and in the place of the last of so many things something else.
    fn but(&self, count: usize, other: &str) -> Script {
        let says = [&self.says[..count - 1], &[other][..]].concat();
        Script::of(&says, Then::Waits)
    }

    /// Why such a service presents nothing, within a second, and what it has heard when the conversation is over.
    async fn why(&self, script: Script) -> (NotPresented, Vec<String>) {
        let service = Service::start(self.how, script).await;
        let begun = Instant::now();
        let why = service.presents(self.how, Duration::from_millis(500)).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(1), "{}: {why}: {:?}", self.name, begun.elapsed());
        (why, service.heard().await.lines)
    }

    /// Of what a service hears: so much, without the end, or with it.
    fn heard(&self, count: usize, is_left: bool) -> Vec<String> {
        let leave = self.hears.last().filter(|_| is_left);
        self.hears[..count].iter().chain(leave).map(ToString::to_string).collect()
    }
}

#[tokio::test]
async fn the_chain_of_each_protocol_is_seen_and_the_service_is_left_as_is_proper() {
    let made = issued();
    for words in ALL {
        for version in [&TLS12, &TLS13] {
            let service = Service::start(words.how, Script::of(words.says, Then::Shakes(made.tls(version)))).await;
            let begun = Instant::now();
            assert_eq!(service.presents(words.how, Duration::from_secs(10)).await.unwrap(), made.chain);
            assert!(begun.elapsed() < Duration::from_secs(2), "{}: {:?}", words.name, begun.elapsed());
            let heard = service.heard().await;
            assert_eq!(heard.lines, words.hears, "{}", words.name);
            assert_eq!(heard.end, Some(Ok(())), "{}: a proper end", words.name);
        }
    }
}

#[tokio::test]
async fn who_says_no_or_offers_no_tls_is_told_apart_and_left_as_is_proper() {
    for words in ALL {
        for (place, no) in words.no.iter().enumerate().filter(|(_, no)| !no.is_empty()) {
            let (why, heard) = words.why(words.but(place + 1, no)).await;
            let (stage, said) = (words.stages[place], no.trim_end().to_owned());
            assert_eq!(why, NotPresented::TurnedAway { stage, said }, "{}", words.name);
            assert_eq!(heard, words.heard(place, true), "{}", words.name);
        }
        let (why, heard) = words.why(Script::of(words.without_tls, Then::Waits)).await;
        let command = words.hears[words.hears.len() - 2].trim_start_matches("b ");
        assert_eq!(why, NotPresented::NoStartTls(command), "{}", words.name);
        assert!(why.to_string().contains(&format!("it does not offer {command} ")), "{why}");
        assert_eq!(heard, words.heard(words.without_tls.len() - 1, true), "{}", words.name);
    }
}

#[tokio::test]
async fn what_is_said_in_the_clear_after_the_consent_counts_as_said_by_somebody_else() {
    for words in ALL {
        let count = words.says.len();
        let injected = format!("{}* OK injected\r\n", words.says[count - 1]);
        let (why, heard) = words.why(words.but(count, &injected)).await;
        assert_eq!(why, NotPresented::Injected, "{}", words.name);
        assert_eq!(heard, words.heard(count - 1, false), "{}", words.name);
    }
}

#[tokio::test]
async fn what_is_another_protocol_a_flood_or_slow_is_told_with_the_protocols_name() {
    for words in ALL {
        let spoken = |stage, line: &str| NotPresented::NotSpoken { protocol: words.name, stage, line: line.to_owned() };
        let long = "a".repeat(5000);
        for (place, stage) in words.stages.iter().enumerate() {
            // Of SMTP no line is one of theirs.
            for (text, line) in [("220 mail.example.org\r\n", "220 mail.example.org"), (&long, &long[..200])] {
                // Within a list anything may stand but what never ends.
                if words.name == "POP3" && place == 1 && text != long {
                    continue;
                }
                let (why, heard) = words.why(words.but(place + 1, text)).await;
                assert_eq!(why, spoken(*stage, line), "{}", words.name);
                assert!(why.to_string().starts_with(&format!("it does not speak {}: {stage}: ", words.name)), "{why}");
                assert_eq!(heard, words.heard(place, false), "{}", words.name);
            }
            let (why, _) = words.why(words.but(place + 1, "")).await;
            assert_eq!(why, NotPresented::TimedOut(*stage), "{}", words.name);
        }
        let (flooded, line) = match words.how {
            Greeting::Imap => (1, "* 1 EXPUNGE\r\n".to_owned()),
            Greeting::Pop3 => (1, "+OK\r\n".to_owned()),
            _ => (0, "\"X\"\r\n".to_owned()),
        };
        let (why, _) = words.why(words.but(flooded + 1, &line.repeat(1000))).await;
        assert_eq!(why, spoken(words.stages[flooded], line.trim_end()), "{}", words.name);
        let closes = Script::of(words.says, Then::Closes);
        let (why, _) = words.why(closes).await;
        assert_eq!(why, NotPresented::Broken(Stage::Handshake, ErrorKind::UnexpectedEof), "{}", words.name);
    }
}

#[test]
fn each_port_is_spoken_to_as_is_usual_there() {
    for (how, ports) in [
        (Greeting::Smtp, &[25, 587][..]),
        (Greeting::Imap, &[143]),
        (Greeting::Pop3, &[110]),
        (Greeting::Sieve, &[4190]),
        (Greeting::Tls, &[443, 465, 636, 853, 993, 995, 5223, 8443]),
        (Greeting::Unknown, &[21, 389, 5222, 5269, 5432]),
    ] {
        assert!(ports.iter().all(|port| Greeting::of(*port) == how), "{how:?}");
    }
}

#[tokio::test]
async fn nobody_is_asked_in_a_protocol_that_is_not_known() {
    let service = Service::start(Greeting::Tls, Script::of(&[], Then::Shakes(issued().tls(&TLS13)))).await;
    let why = service.presents(Greeting::Unknown, Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(why, NotPresented::Unknown(service.address.port()));
    assert!(service.heard.lock().unwrap().at.is_empty(), "not even a connection");
}
