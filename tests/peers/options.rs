//! dig and kdig read what our OPT records say.

use danelaw::answer::Settings;
use danelaw::answer::cookie::Secrets;
use danelaw::dns::dnssec::Algorithm;
use danelaw::zone::Snapshot;

use super::common::{example, run, server, sign, snapshot};

fn settings() -> &'static Settings {
    Box::leak(Box::new(Settings {
        nsid: b"ns1".to_vec(),
        version: b"danelaw".to_vec(),
        identity: b"ns1.example.org".to_vec(),
        cookies: Secrets::new([[7; 16]]),
        keepalive: Some(300),
    }))
}

fn asked(program: &str, port: u16, arguments: &str) -> String {
    let arguments = format!("@127.0.0.1 -p {port} {arguments}");
    let output = run(program, &arguments.split(' ').collect::<Vec<_>>());
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn dig_and_kdig_understand_our_options() {
    let zone = snapshot(&sign(&example("example.org"), Algorithm::Ed25519));
    let port = server::serve_with(Snapshot::new([zone], []), settings()).port();
    let dig: &[(&str, &[&str])] = &[
        ("+cookie=2464c4abcf10c957 +nsid SOA example.org", &["; COOKIE: 2464c4abcf10c957", "(good)", "(\"ns1\")"]),
        ("+nocookie +ednsopt=100:ff +ednsflags=0x40 SOA example.org", &["NOERROR", "version: 0, flags:; udp: 1232"]),
        ("+nocookie +edns=1 +noednsneg SOA example.org", &["status: BADVERS", "EDNS: version: 0"]),
        ("+nocookie +dnssec SOA elsewhere.test", &["status: REFUSED", "; EDE: 20 (Not Authoritative)"]),
        ("+tcp +keepalive SOA example.org", &["; TCP KEEPALIVE: 30.0 secs"]),
        ("+opcode=15 +noedns +header-only", &["opcode: RESERVED15, status: NOTIMP"]),
        (
            "+tries=1 +time=2 +header-only +cookie=2464c4abcf10c957",
            &["NOERROR", "QUERY: 0", "; COOKIE: 2464c4abcf10c957", "(good)"],
        ),
        ("CH TXT version.bind", &["\"danelaw\""]),
        ("CH TXT id.server", &["\"ns1.example.org\""]),
        ("+nocookie +noedns AXFR example.org", &["Transfer failed"]),
    ];
    for (arguments, expected) in dig {
        let said = asked("dig", port, arguments);
        for part in *expected {
            assert!(said.contains(part), "dig {arguments}: no {part}\n{said}");
        }
    }
    let kdig: &[(&str, &[&str])] = &[
        ("+cookie=2464c4abcf10c957 +nsid example.org SOA", &["COOKIE: 2464C4ABCF10C957", "NSID: 6E7331", "NOERROR"]),
        ("+edns +dnssec elsewhere.test SOA", &["REFUSED", "EDE: 20"]),
    ];
    for (arguments, expected) in kdig {
        let said = asked("kdig", port, arguments);
        for part in *expected {
            assert!(said.contains(part), "kdig {arguments}: no {part}\n{said}");
        }
    }
}
