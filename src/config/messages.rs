//! `[messages]`: who is told of what happens, and over which way. Secrets stand in files of their own, never here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::check::{check_path, parse_host};
use super::reader::{Problems, Section};
use super::values::Config;
use crate::dns::Name;
use crate::tell::{Timing, Topic};

/// More are a mailing list's business.
const RECIPIENTS_MAX: usize = 16;
const SENDMAIL: &str = "/usr/sbin/sendmail";
const ADDRESS: &str = "an address, such as \"postmaster@elsewhere.example\"";
const SMARTHOST: &str = "host and port, such as \"smtp.provider.example:587\"";
const WEBHOOK: &str = "\"https://...\", or \"http://...\" on loopback";
const TOPICS: [(&str, Topic); 6] = [
    ("rollover", Topic::Rollover),
    ("alarm", Topic::Alarm),
    ("prerequisite", Topic::Prerequisite),
    ("tlsa", Topic::Tlsa),
    ("expiry", Topic::Expiry),
    ("problem", Topic::Problem),
];

/// `[messages]`; nobody is told anything when it is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Who gets mail, each a message of his own.
    pub to: Vec<String>,
    /// Who it is from; none: `danelaw` at this host.
    pub from: Option<String>,
    /// Which way mail goes.
    pub mailer: Mailer,
    /// Where else messages are posted.
    pub webhook: Option<Webhook>,
    /// What is told.
    pub on: BTreeSet<Topic>,
    /// When.
    pub timing: Timing,
}

/// Which way mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mailer {
    /// To a program, as sendmail takes it.
    Sendmail(PathBuf),
    /// To a server that delivers for us.
    Smarthost(Smarthost),
}

/// A server that delivers for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smarthost {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is encrypted.
    pub tls: SmtpTls,
    /// Who we are to it: the user, and the file with the password.
    pub login: Option<(String, PathBuf)>,
}

/// How a smarthost is talked to. Its certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the beginning (RFC 8314).
    Implicit,
    /// STARTTLS, and nothing without it (RFC 3207).
    Starttls,
    /// In the clear, on loopback only.
    None,
}

/// Where messages are posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The URL. It may be all the secret that there is.
    pub url: String,
    /// Scheme, host and port: what may be shown of it.
    pub origin: String,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({})", self.origin)
    }
}

impl Default for Messages {
    fn default() -> Messages {
        Messages {
            to: Vec::new(),
            from: None,
            mailer: Mailer::Sendmail(SENDMAIL.into()),
            webhook: None,
            on: TOPICS.into_iter().map(|(_, topic)| topic).filter(|topic| *topic != Topic::Problem).collect(),
            timing: Timing::default(),
        }
    }
}

impl Messages {
    /// The recipients whose mail depends on what is served here. `is_served`: whether a name is in one of our zones.
    pub fn internal(&self, is_served: impl Fn(&Name) -> bool) -> Vec<&str> {
        let is_internal = |to: &&str| {
            let domain = to.rsplit_once('@').and_then(|(_, domain)| domain.parse::<Name>().ok());
            domain.is_some_and(|domain| is_served(&domain))
        };
        self.to.iter().map(String::as_str).filter(is_internal).collect()
    }
}

/// What is said of such a recipient.
pub fn internal(to: &str) -> String {
    format!(
        "messages: {to} is in a zone served here, and what is told there may get lost with what it tells of: add a mailbox \
         elsewhere to `to`"
    )
}

/// Reads the section.
pub(super) fn check(mut section: Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let messages = &mut config.messages;
    let head = section.span.clone();
    check_recipients(&mut section, messages, problems);
    messages.from = section.parsed("from", ADDRESS, problems, parse_address);
    let smarthost = check_smarthost(&mut section, config, problems);
    let sendmail = check_path(&mut section, "sendmail", &config.folder, problems);
    let messages = &mut config.messages;
    for key in ["smarthost", "sendmail"] {
        if section.has(key) && !section.has("to") {
            let message = format!("`{key}` without `to`: who should get mail?");
            problems.error(section.span_of(key), message, "to = [\"postmaster@elsewhere.example\"]");
        }
    }
    if section.has("smarthost") && section.has("sendmail") {
        let message = "`smarthost` and `sendmail`: which way should mail go?";
        problems.error(section.span_of("sendmail"), message, "one of the two");
    }
    if section.has("smarthost") && !section.has("from") {
        let message = "`smarthost` without `from`: it has to know whose mail it takes";
        problems.error(section.span_of("smarthost"), message, "from = \"danelaw@provider.example\"");
    }
    if let Some(smarthost) = smarthost {
        messages.mailer = Mailer::Smarthost(smarthost);
    } else if let Some(sendmail) = sendmail {
        messages.mailer = Mailer::Sendmail(sendmail);
    }
    check_webhook(&mut section, config, problems);
    if !section.has("to") && !section.has("webhook") {
        problems.error(head, "[messages] without `to` and `webhook`: who should be told?", format!("to = [{ADDRESS}]"));
    }
    check_what_and_when(&mut section, &mut config.messages, problems);
    section.finish(problems);
}

fn check_recipients(section: &mut Section<'_>, messages: &mut Messages, problems: &mut Problems<'_>) {
    let Some(list) = section.list("to", ADDRESS, problems, parse_address) else { return };
    if section.value("to").is_some_and(|value| value.get_ref().as_array().is_some_and(|array| array.is_empty())) {
        problems.error(section.span_of("to"), "`to` is empty", ADDRESS);
    }
    for (address, span) in list {
        if messages.to.contains(&address) {
            problems.error(span, format!("`to`: {address} stands here twice"), "take one of them out");
        } else if messages.to.len() == RECIPIENTS_MAX {
            let message = format!("`to`: more than {RECIPIENTS_MAX} recipients");
            return problems.error(span, message, "a mailing list");
        } else {
            messages.to.push(address);
        }
    }
}

fn check_smarthost(section: &mut Section<'_>, config: &Config, problems: &mut Problems<'_>) -> Option<Smarthost> {
    let found = section.parsed("smarthost", SMARTHOST, problems, parse_smarthost);
    let words = [("starttls", SmtpTls::Starttls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
    let tls = section.choice("tls", &words, problems);
    let user = section.parsed("user", "a user's name", problems, parse_word);
    let file = check_path(section, "password-file", &config.folder, problems);
    for key in ["tls", "user", "password-file"] {
        if section.has(key) && !section.has("smarthost") {
            let message = format!("`{key}` without `smarthost`: what for?");
            problems.error(section.span_of(key), message, format!("smarthost = {SMARTHOST}"));
        }
    }
    for (key, other) in [("user", "password-file"), ("password-file", "user")] {
        if section.has(key) && !section.has(other) {
            problems.error(section.span_of(key), format!("`{key}` without `{other}`"), "both, or neither");
        }
    }
    let (host, port) = found?;
    let tls = tls.unwrap_or(if port == 465 { SmtpTls::Implicit } else { SmtpTls::Starttls });
    if tls == SmtpTls::None && !is_loopback(&host) {
        let message = format!("`tls`: nothing goes to {host} in the clear, on loopback only");
        problems.error(section.span_of("tls"), message, "\"starttls\" or \"implicit\"");
    }
    Some(Smarthost { host, port, tls, login: user.zip(file) })
}

fn check_webhook(section: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let webhook = section.parsed("webhook", WEBHOOK, problems, parse_webhook);
    let token_file = check_path(section, "webhook-token-file", &config.folder, problems);
    if section.has("webhook-token-file") && !section.has("webhook") {
        let message = "`webhook-token-file` without `webhook`: what for?";
        problems.error(section.span_of("webhook-token-file"), message, format!("webhook = {WEBHOOK}"));
    }
    config.messages.webhook = webhook.map(|(url, origin)| Webhook { url, origin, token_file });
}

fn check_what_and_when(section: &mut Section<'_>, messages: &mut Messages, problems: &mut Problems<'_>) {
    let words = TOPICS.map(|(word, _)| format!("\"{word}\"")).join(", ");
    let topic = |text: &str| {
        let topic = TOPICS.into_iter().find(|(word, _)| *word == text).map(|(_, topic)| topic);
        topic.ok_or_else(|| format!("\"{text}\" is not known"))
    };
    if let Some(on) = section.list("on", &format!("of {words}"), problems, topic) {
        if section.value("on").is_some_and(|value| value.get_ref().as_array().is_some_and(|array| array.is_empty())) {
            problems.error(section.span_of("on"), "`on` is empty: nothing would be told", format!("some of {words}"));
        }
        messages.on = on.into_iter().map(|(topic, _)| topic).collect();
    }
    let timing = &mut messages.timing;
    timing.gather = section.duration("gather", 0..=3600, problems).unwrap_or(timing.gather);
    timing.pause = section.duration("pause", 0..=86_400, problems).unwrap_or(timing.pause);
    timing.retry = section.duration("retry", 1..=3600, problems).unwrap_or(timing.retry);
}

fn parse_address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("\"{text}\" is not an address: {why}");
    text.parse::<lettre::Address>().map_err(|error| wrong(&error.to_string().to_lowercase()))?;
    let (_, domain) = text.rsplit_once('@').ok_or_else(|| wrong("no @"))?;
    parse_host(domain)?;
    Ok(text.to_owned())
}

fn parse_word(text: &str) -> Result<String, String> {
    match text {
        "" => Err("empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("holds control characters".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// An IPv6 address stands in brackets.
fn parse_smarthost(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("\"{text}\" has no port"))?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("\"{port}\" is not a port"))?;
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if address.parse::<IpAddr>().is_ok_and(|found| found.is_ipv4() == (address == host)) {
        return Ok((address.to_owned(), port));
    }
    parse_host(host)?;
    Ok((host.trim_end_matches('.').to_owned(), port))
}

fn parse_webhook(text: &str) -> Result<(String, String), String> {
    // The URL may hold a secret, and what is wrong with it is said without it.
    let url: http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err("not a whole URL".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("there is a user's name in it; a token belongs into `webhook-token-file`".to_owned());
    }
    match scheme {
        "https" => {}
        "http" if is_loopback(url.host().unwrap_or_default()) => {}
        "http" => return Err("nothing goes over http but on loopback".to_owned()),
        _ => return Err(format!("{scheme} is neither https nor http")),
    }
    Ok((text.to_owned(), format!("{scheme}://{authority}")))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ConfigErrors;
    use super::super::tests::name;
    use super::*;

    fn parse(text: &str) -> Result<Messages, ConfigErrors> {
        let config = Config::parse(&format!("[messages]\n{text}"), "danelaw.toml", Path::new("/etc/danelaw"))?;
        Ok(config.messages)
    }

    #[test]
    fn both_ways_and_the_webhook_are_read() {
        let messages = parse(
            "to = [\"a@b.example\", \"c@d.example\"]\nfrom = \"danelaw@b.example\"\nsmarthost = \"smtp.b.example:465\"\nuser = \"u\"\n\
             password-file = \"secret\"\nwebhook = \"https://hooks.example:8443/T0/secret?x\"\nwebhook-token-file = \"/run/token\"\n\
             on = [\"alarm\", \"problem\"]\ngather = \"30s\"\npause = \"1h\"\nretry = \"2m\"",
        )
        .unwrap();
        let login = Some(("u".to_owned(), "/etc/danelaw/secret".into()));
        let smarthost = Smarthost { host: "smtp.b.example".into(), port: 465, tls: SmtpTls::Implicit, login };
        assert_eq!(messages.mailer, Mailer::Smarthost(smarthost));
        assert_eq!((messages.to.len(), messages.from.as_deref()), (2, Some("danelaw@b.example")));
        let webhook = messages.webhook.unwrap();
        assert_eq!(
            (&*webhook.origin, webhook.token_file.as_deref()),
            ("https://hooks.example:8443", Some(Path::new("/run/token")))
        );
        assert!(!format!("{webhook:?}").contains("secret"));
        assert_eq!(messages.on, [Topic::Alarm, Topic::Problem].into());
        assert_eq!(messages.timing, Timing { gather: 30, pause: 3600, retry: 120 });

        let messages = parse("to = [\"a@b.example\"]").unwrap();
        assert_eq!(messages, Messages { to: vec!["a@b.example".to_owned()], ..Messages::default() });
        assert!(!messages.on.contains(&Topic::Problem) && messages.on.len() == 5);
        for (smarthost, tls) in [("[::1]:25\"\ntls = \"none", SmtpTls::None), ("192.0.2.1:587", SmtpTls::Starttls)] {
            let text = format!("to = [\"a@b.example\"]\nfrom = \"x@b.example\"\nsmarthost = \"{smarthost}\"");
            let Mailer::Smarthost(found) = parse(&text).unwrap().mailer else { panic!("{text}") };
            assert_eq!((found.tls, found.login), (tls, None));
        }
        assert!(parse("webhook = \"http://[::1]:9/x\"").is_ok() && parse("webhook = \"http://localhost/x\"").is_ok());
    }

    #[test]
    fn what_can_not_be_is_said() {
        let mail = "to = [\"a@b.example\"]\nfrom = \"x@b.example\"\nsmarthost = \"s.example:587\"\n";
        for (text, expected) in [
            (String::new(), "without `to` and `webhook`"),
            ("to = []".to_owned(), "`to` is empty"),
            ("to = \"a@b.example\"".to_owned(), "must be a list"),
            ("to = [\"postmaster\"]".to_owned(), "is not an address"),
            ("to = [\"a@b.example>\\r\\nRCPT TO:<c@d\"]".to_owned(), "is not an address"),
            ("to = [\"a@b.example\", \"a@b.example\"]".to_owned(), "twice"),
            ("to = [\"a@b.example\"]\nsmarthost = \"s.example:587\"".to_owned(), "without `from`"),
            ("to = [\"a@b.example\"]\nfrom = \"x@b.example\"\nsmarthost = \"s.example\"".to_owned(), "has no port"),
            ("webhook = \"https://x.example/\"\nsmarthost = \"s.example:25\"".to_owned(), "`smarthost` without `to`"),
            (format!("{mail}sendmail = \"/x\""), "which way"),
            (format!("{mail}tls = \"none\""), "in the clear"),
            (format!("{mail}tls = \"ssl\""), "\"ssl\" is not known"),
            (format!("{mail}user = \"u\""), "`user` without `password-file`"),
            (format!("{mail}password-file = \"u\""), "`password-file` without `user`"),
            (format!("{mail}password = \"u\""), "unknown key `password`"),
            ("to = [\"a@b.example\"]\ntls = \"none\"".to_owned(), "`tls` without `smarthost`"),
            ("webhook = \"http://x.example/\"".to_owned(), "loopback"),
            ("webhook = \"ftp://x.example/\"".to_owned(), "neither https nor http"),
            ("webhook = \"https://u:p@x.example/\"".to_owned(), "webhook-token-file"),
            ("webhook = \"/x\"".to_owned(), "not a whole URL"),
            ("to = [\"a@b.example\"]\nwebhook-token-file = \"t\"".to_owned(), "without `webhook`"),
            (format!("{mail}on = [\"alarms\"]"), "\"alarms\" is not known"),
            (format!("{mail}on = []"), "`on` is empty"),
            (format!("{mail}gather = \"2h\""), "out of bounds"),
        ] {
            let message = parse(&text).expect_err(&text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn who_is_in_a_zone_served_here_is_internal() {
        let messages = parse("to = [\"a@Example.org\", \"b@mail.example.org\", \"c@example.net\"]").unwrap();
        let found = messages.internal(|domain| domain.is_at_or_below(&name("example.org")));
        assert_eq!(found, ["a@Example.org", "b@mail.example.org"]);
    }
}
