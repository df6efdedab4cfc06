//! `listen-tls`, `listen-https`, `listen-quic` and `[tls]`: where encrypted queries come in, and which certificate they are shown.

use std::net::SocketAddr;

use super::check::{check_path, in_each_others_way, parse_host, parse_listener};
use super::reader::{Problems, Section, Span};
use super::values::{Config, Encrypted, TlsCertificate};

const LISTENER: &str = "address and port, such as \"192.0.2.53:853\" or \"[2001:db8::53]:853\"";
const CERTIFICATE: &str = "host = \"ns1.example.org\", or certificate = \"...\" and key = \"...\"";

/// Reads the lists and the section. `listen` is checked before.
pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let mut streams: Vec<SocketAddr> = config.listen.clone();
    let mut datagrams = streams.clone();
    let mut first: Option<(&str, Span)> = None;
    let mut list = |key: &'static str, taken: &mut Vec<SocketAddr>, root: &mut Section<'_>| {
        let listeners = root.list(key, LISTENER, problems, parse_listener).unwrap_or_default();
        for (address, span) in &listeners {
            if let Some(why) = taken.iter().find_map(|other| in_each_others_way(*other, *address)) {
                problems.error(span.clone(), format!("`{key}`: {why}"), "another port for one of them");
            }
            taken.push(*address);
            first.get_or_insert((key, span.clone()));
        }
        listeners.into_iter().map(|(address, _)| address).collect()
    };
    let encrypted = Encrypted {
        tls: list("listen-tls", &mut streams, root),
        https: list("listen-https", &mut streams, root),
        quic: list("listen-quic", &mut datagrams, root),
        certificate: None,
    };
    config.encrypted = encrypted;
    if let Some(section) = root.section("tls", problems) {
        config.encrypted.certificate = check_certificate(section, config, problems);
    } else if let Some((key, span)) = first {
        let message = format!("`{key}` without [tls]: which certificate should it show?");
        problems.error(span, message, format!("[tls] with {CERTIFICATE}"));
    }
}

fn check_certificate(mut section: Section<'_>, config: &Config, problems: &mut Problems<'_>) -> Option<TlsCertificate> {
    let head = section.span.clone();
    let host = section.parsed("host", "a host name, such as \"ns1.example.org\"", problems, parse_host);
    let certificate = check_path(&mut section, "certificate", &config.folder, problems);
    let key = check_path(&mut section, "key", &config.folder, problems);
    let named = section.has("certificate") || section.has("key");
    let found = match (host, certificate, key) {
        (Some(host), None, None) if !named => Some(TlsCertificate::OfHost(host)),
        (None, Some(certificate), Some(key)) if !section.has("host") => {
            Some(TlsCertificate::Files { certificate, key })
        }
        _ if section.has("host") && named => {
            problems.error(head, "[tls] with `host` and with files: which of them?", CERTIFICATE);
            None
        }
        _ if section.has("host") => None,
        _ if section.has("certificate") && section.has("key") => None,
        _ => {
            problems.error(head, "[tls] does not say which certificate", CERTIFICATE);
            None
        }
    };
    section.finish(problems);
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::super::{Encrypted, TlsCertificate};

    #[test]
    fn encrypted_listeners_are_off_and_on_by_their_lists() {
        assert_eq!(parse("").unwrap().encrypted, Encrypted::default());
        let text = r#"
            listen = ["127.0.0.1:853"]
            listen-tls = ["127.0.0.1:8853", "[::1]:8853"]
            listen-https = ["127.0.0.1:443"]
            listen-quic = ["127.0.0.1:8853"]
            [tls]
            host = "ns1.example.org"
        "#;
        let config = parse(text).unwrap();
        assert_eq!(config.listeners().count(), 5);
        assert_eq!(config.encrypted.certificate, Some(TlsCertificate::OfHost("ns1.example.org".parse().unwrap())));
        let config = parse("[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"").unwrap();
        let files = TlsCertificate::Files { certificate: "/etc/danelaw/c.pem".into(), key: "/k.pem".into() };
        assert_eq!(config.encrypted.certificate, Some(files));
    }

    #[test]
    fn a_listener_needs_a_certificate_and_a_place_of_its_own() {
        let tls = "[tls]\nhost = \"ns1.example.org\"";
        for (text, expected) in [
            ("listen-tls = [\"127.0.0.1:853\"]".to_owned(), "`listen-tls` without [tls]"),
            (format!("listen = [\"127.0.0.1:853\"]\nlisten-tls = [\"127.0.0.1:853\"]\n{tls}"), "stands here twice"),
            (format!("listen = [\"127.0.0.1:853\"]\nlisten-quic = [\"127.0.0.1:853\"]\n{tls}"), "stands here twice"),
            (format!("listen-tls = [\"0.0.0.0:853\"]\nlisten-https = [\"127.0.0.1:853\"]\n{tls}"), "every address"),
            (format!("listen-tls = [\"853\"]\n{tls}"), "not an address with a port"),
            (format!("{tls}\nkey = \"k\""), "which of them?"),
            ("[tls]\nkey = \"k\"".to_owned(), "does not say which certificate"),
            ("[tls]".to_owned(), "does not say which certificate"),
            ("[tls]\nhost = \"\"".to_owned(), "`host`"),
            ("[tls]\nhosts = \"a.example\"".to_owned(), "did you mean `host`"),
            (
                format!(
                    "listen = [\"127.0.0.1:1\"]\nlisten-tls = [\"192.0.2.1:853\"]\n{tls}\n[example]\ncertificates = [\"a.test\"]"
                ),
                "loopback only",
            ),
        ] {
            let message = parse(&text).expect_err(&text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
