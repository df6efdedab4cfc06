//! A real Postfix: what it presents is seen, on the ports of mail servers and with TLS at once; what it says instead is told; and it
//! has nothing to complain of in its log.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use danelaw::observe::presented::{Greeting, NotPresented, Stage, present};
use rustls::pki_types::CertificateDer;

use super::certificates::{HOST, Made, ec, issued, rsa};
use super::common::{free_port, name, postfix, succeed};
use super::house::wait_until;

const LIMIT: Duration = Duration::from_secs(10);

/// It runs until this is dropped.
struct Postfix {
    master: Child,
    folder: tempfile::TempDir,
    /// STARTTLS; RSA and TLS 1.2; no TLS; a key that is not the certificate's; no certificate; too many connections; TLS at once.
    ports: [u16; 7],
}

impl Postfix {
    fn start(put: impl Fn(PathBuf)) -> Postfix {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let ports = [(); 7].map(|()| free_port());
        let main = format!(
            "myhostname = {HOST}\nmydestination =\nmynetworks =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {path}/etc/identity.pem\nsmtpd_tls_loglevel = 1\n\
             smtpd_relay_restrictions = reject\nsmtpd_recipient_restrictions = reject\n"
        );
        let with = [
            "",
            "smtpd_tls_chain_files={path}/etc/rsa.pem -o smtpd_tls_protocols=TLSv1.2",
            "smtpd_tls_security_level=none",
            "smtpd_tls_chain_files={path}/etc/broken.pem",
            "smtpd_tls_chain_files={path}/etc/missing.pem",
            "smtpd_client_connection_rate_limit=1",
            "smtpd_tls_wrappermode=yes",
        ];
        let mut services = String::new();
        for (port, with) in ports.iter().zip(with) {
            let with = if with.is_empty() { String::new() } else { format!(" -o {}", with.replace("{path}", &path)) };
            services += &format!("127.0.0.1:{port} inet n - n - - smtpd{with}\n");
        }
        postfix::lay(folder.path(), &main, &services);
        put(folder.path().join("etc"));
        let master = Command::new("postfix")
            .args(["-c", &format!("{path}/etc"), "start-fg"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("postfix: {error} (`.ci/run` installs what the tests need)"));
        let postfix = Postfix { master, folder, ports };
        wait_until("Postfix has started", || postfix.log().contains("daemon started"));
        postfix
    }

    fn command(&self, command: &str) {
        succeed("postfix", &["-c", self.folder.path().join("etc").to_str().unwrap(), command]);
    }

    fn log(&self) -> String {
        postfix::log(self.folder.path())
    }

    async fn presents(&self, service: usize, how: Greeting) -> Result<Vec<CertificateDer<'static>>, NotPresented> {
        present(([127, 0, 0, 1], self.ports[service]).into(), how, &name(HOST), LIMIT)
            .await
            .map(|given| given.certificates)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("--- {} ---\n{}", self.folder.path().display(), self.log());
        }
        self.command("stop");
        self.master.wait().unwrap();
    }
}

/// Whether it says no to that, with this code.
fn is_no(why: &NotPresented, to: Stage, code: &str) -> bool {
    matches!(why, NotPresented::TurnedAway { stage, said } if *stage == to && said.starts_with(code))
}

#[tokio::test]
async fn postfix_presents_what_is_seen() {
    let (first, second, rsa) = (issued(), ec(), rsa());
    let postfix = Postfix::start(|etc| {
        first.write(&etc.join("identity.pem"));
        rsa.write(&etc.join("rsa.pem"));
        Made { chain: first.chain.clone(), key: ec().key }.write(&etc.join("broken.pem"));
    });
    assert_eq!(postfix.presents(0, Greeting::Smtp).await.unwrap(), first.chain);
    assert_eq!(postfix.presents(1, Greeting::Smtp).await.unwrap(), rsa.chain);
    assert_eq!(postfix.presents(6, Greeting::Tls).await.unwrap(), first.chain);

    assert_eq!(postfix.presents(2, Greeting::Smtp).await, Err(NotPresented::NoStartTls("STARTTLS")));
    let why = postfix.presents(3, Greeting::Smtp).await.unwrap_err();
    assert!(is_no(&why, Stage::StartTls("STARTTLS"), "454 "), "{why:?}");
    let why = postfix.presents(4, Greeting::Smtp).await.unwrap_err();
    assert!(matches!(&why, NotPresented::Alert(alert) if alert == "HandshakeFailure"), "{why:?}");
    postfix.presents(5, Greeting::Smtp).await.unwrap();
    let why = postfix.presents(5, Greeting::Smtp).await.unwrap_err();
    assert!(is_no(&why, Stage::Banner, "421 "), "{why:?}");

    // Another certificate, as it is installed.
    let etc = postfix.folder.path().join("etc");
    second.write(&etc.join("next.pem"));
    fs::rename(etc.join("next.pem"), etc.join("identity.pem")).unwrap();
    postfix.command("reload");
    let mut seen = Vec::new();
    for _ in 0..50 {
        seen = postfix.presents(0, Greeting::Smtp).await.unwrap();
        if seen == second.chain {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(seen, second.chain);

    let log = postfix.log();
    for end in
        ["ehlo=1 starttls=1 quit=1 commands=3", "ehlo=1 quit=1 commands=2", "ehlo=1 starttls=0/1 quit=1 commands=2/3"]
    {
        assert!(log.contains(end), "{end}");
    }
    // Without a certificate; and TLS at once, where nobody knows what is spoken over it.
    assert_eq!(log.matches("lost connection after").count(), 2, "{log}");
}
