//! Mail to the operator: composed here (RFC 5322, RFC 3834), then given to a smarthost or to a program as sendmail.
//!
//! It goes nowhere without verified TLS but to loopback, and never looks for a recipient's MX by itself: that may be the very
//! server which is in trouble.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncTransport, Tokio1Executor};
use tokio::io::AsyncWriteExt;

use super::messages::Secret;
use crate::config::{Smarthost, SmtpTls};
use crate::tell::Message;

/// The name of the sender.
const NAME: &str = "danelaw";

/// A mail as it goes out. The same message gives the same mail, its Message-ID and Date included.
pub fn compose(message: &Message, host: &str, from: Option<&str>, to: &str) -> Result<Mail, String> {
    let address = |text: &str| text.parse::<Address>().map_err(|error| format!("{text}: {error}"));
    let from = match from {
        Some(from) => address(from)?,
        None => address(&format!("{NAME}@{host}"))?,
    };
    let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
    Mail::builder()
        .from(Mailbox::new(Some(NAME.to_owned()), from))
        .to(Mailbox::new(None, address(to)?))
        .subject(message.subject(host))
        .message_id(Some(format!("<{NAME}.{}@{host}>", message.id)))
        .date(UNIX_EPOCH + Duration::from_secs(message.at))
        .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(message.body(host))
        .map_err(|error| error.to_string())
}

/// Gives a mail to a smarthost.
pub async fn submit(mail: &Mail, smarthost: &Smarthost, password: Option<&Secret>, host: &str) -> Result<(), String> {
    let parameters = || TlsParameters::new_rustls(smarthost.host.clone()).map_err(|error| error.to_string());
    let tls = match smarthost.tls {
        SmtpTls::Implicit => Tls::Wrapper(parameters()?),
        SmtpTls::Starttls => Tls::Required(parameters()?),
        SmtpTls::None => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smarthost.host)
        .port(smarthost.port)
        .tls(tls)
        .hello_name(ClientId::Domain(host.to_owned()));
    if let (Some((user, _)), Some(password)) = (&smarthost.login, password) {
        transport = transport
            .credentials(Credentials::new(user.clone(), password.0.clone()))
            .authentication(vec![Mechanism::Plain, Mechanism::Login]);
    }
    let said = transport.build().send(mail.clone()).await;
    said.map(drop).map_err(|error| format!("{}, port {}: {error}", smarthost.host, smarthost.port))
}

/// Gives a mail to a program, which is killed when nobody waits for it any more.
pub async fn hand_over(mail: &Mail, program: &Path, from: Option<&str>, to: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut command = tokio::process::Command::new(program);
    // A single dot on a line ends nothing.
    command.arg("-i");
    if let Some(from) = from {
        command.args(["-f", from]);
    }
    command.args(["--", to]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    // A program that fails before it has read everything says why.
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(&mail.formatted()).await,
        None => Ok(()),
    };
    let output = child.wait_with_output().await.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}: {}", program.display(), output.status, said.trim()));
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::{Kind, Notice};

    fn message() -> Message {
        let notice =
            Notice::new(1_800_000_000, Kind::CertificateInstalled, "mail.example.org", "").with("für dich\n.\n");
        Message { version: 1, id: "7.1".into(), at: 1_800_000_000, notices: vec![notice], more: 0, undelivered: 0 }
    }

    #[test]
    fn a_mail_has_the_headers_that_readers_and_robots_look_at_and_is_the_same_each_time() {
        let mail = |from| compose(&message(), "ns1.example.org", from, "postmaster@elsewhere.example").unwrap();
        let text = String::from_utf8(mail(None).formatted()).unwrap();
        for line in [
            "From: danelaw <danelaw@ns1.example.org>",
            "To: postmaster@elsewhere.example",
            "Subject: danelaw ns1.example.org: mail.example.org: certificate installed",
            "Message-ID: <danelaw.7.1@ns1.example.org>",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(text.is_ascii() && text.lines().all(|line| line.len() < 998));
        assert_eq!(text, String::from_utf8(mail(None).formatted()).unwrap());
        assert!(String::from_utf8(mail(Some("x@y.example")).formatted()).unwrap().contains("<x@y.example>"));
    }

    #[tokio::test]
    async fn a_program_gets_the_mail_and_what_it_says_is_told_when_it_fails() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (program, taken) = (folder.path().join("sendmail"), folder.path().join("taken"));
        let put = |script: String| {
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        };
        let mail = compose(&message(), "ns1", Some("x@y.example"), "a@b.example").unwrap();
        put(format!("#!/bin/sh\n(echo \"$@\"; env; cat) >{}\n", taken.display()));
        hand_over(&mail, &program, Some("x@y.example"), "a@b.example").await.unwrap();
        let text = std::fs::read_to_string(&taken).unwrap();
        assert!(text.starts_with("-i -f x@y.example -- a@b.example\n") && text.contains("Auto-Submitted"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
        put("#!/bin/sh\necho no such user >&2\nexit 67\n".to_owned());
        let why = hand_over(&mail, &program, None, "a@b.example").await.unwrap_err();
        assert!(why.contains("67") && why.contains("no such user"), "{why}");
        let why = hand_over(&mail, Path::new("/nonexistent/sendmail"), None, "a@b.example").await.unwrap_err();
        assert!(why.contains("/nonexistent/sendmail"), "{why}");
    }
}
