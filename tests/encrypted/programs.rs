//! Other people's clients: kdig of Knot DNS (GnuTLS, nghttp2, ngtcp2) and dig of BIND (OpenSSL, nghttp2).

use danelaw::serve::Transport;
use rustls::pki_types::CertificateDer;

use super::clients::HOST;
use super::common::{run, succeed};
use super::laboratory::Laboratory;

/// The certificate as a file that a client may trust.
fn anchor(folder: &std::path::Path, certificate: &CertificateDer<'_>) -> String {
    let body = data_encoding::BASE64.encode(certificate);
    let path = folder.join("anchor.pem");
    std::fs::write(&path, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn port(laboratory: &Laboratory, transport: Transport) -> String {
    laboratory.address(transport).port().to_string()
}

const SHORT: [&str; 4] = ["mail.example.org", "A", "+short", "+retry=0"];

#[test]
fn kdig_and_dig_ask_over_tls_and_https_and_kdig_over_quic() {
    let laboratory = Laboratory::new();
    let plain = laboratory.plain.local_addrs()[0].port().to_string();
    let ask = |program: &str, port: &str, options: &[&str]| {
        let arguments: Vec<&str> =
            ["@127.0.0.1", "-p", port].into_iter().chain(SHORT).chain(options.iter().copied()).collect();
        succeed(program, &arguments)
    };
    let expected = ask("kdig", &plain, &[]);
    assert_eq!(expected.trim(), "127.0.0.1");
    let (tls, https) = (port(&laboratory, Transport::Tls), port(&laboratory, Transport::Https));
    let quic = port(&laboratory, Transport::Quic);
    for (program, port, options) in [
        ("kdig", &tls, &["+tls"][..]),
        ("kdig", &https, &["+https"]),
        ("kdig", &https, &["+https", "+https-get"]),
        ("kdig", &quic, &["+quic"]),
        ("dig", &tls, &["+tls"]),
        ("dig", &https, &["+https"]),
        ("dig", &https, &["+https-get"]),
    ] {
        assert_eq!(ask(program, port, options), expected, "{program} {options:?}");
    }
    let said = succeed("kdig", &["@127.0.0.1", "-p", &quic, "+quic", "example.org", "MX"]);
    assert!(said.contains("QUIC session (QUICv1)"), "{said}");
}

#[test]
fn kdig_verifies_the_certificate_and_refuses_another() {
    let laboratory = Laboratory::new();
    let folder = tempfile::tempdir().unwrap();
    let anchor = anchor(folder.path(), &laboratory.presented.chain().unwrap()[0]);
    for (transport, option) in [(Transport::Tls, "+tls"), (Transport::Quic, "+quic")] {
        let port = port(&laboratory, transport);
        let ask = |host: &str| {
            let (ca, host) = (format!("+tls-ca={anchor}"), format!("+tls-hostname={host}"));
            // kdig takes the last of its options about the transport.
            let head = ["@127.0.0.1", "-p", &port, &ca, &host, option];
            run("kdig", &head.into_iter().chain(SHORT).collect::<Vec<_>>())
        };
        assert!(ask(HOST).status.success(), "{option}: {:?}", ask(HOST));
        assert!(!ask("ns2.example.org").status.success(), "{option}: another name");
    }
}

#[test]
fn openssl_gets_tls_1_3_and_nothing_older() {
    let laboratory = Laboratory::new();
    let address = laboratory.address(Transport::Tls).to_string();
    let connect = |version: &str| run("openssl", &["s_client", "-connect", &address, "-alpn", "dot", version]);
    let new = String::from_utf8_lossy(&connect("-tls1_3").stdout).into_owned();
    assert!(new.contains("ALPN protocol: dot") && new.contains("TLSv1.3"), "{new}");
    assert!(!connect("-tls1_2").status.success());
}
