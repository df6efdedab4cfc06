//! `[domain."..."]`: the mail domains whose zones are served elsewhere, and whose mail comes here.

use super::check::{check_dkim, parse_host};
use super::reader::{Problems, Section, as_section};
use super::values::Config;
use crate::dane::config::DomainDane;

const HOST: &str = "hosts = [\"mail.example.org\"]: the hosts here that its MX names";

pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let Some(domains) = root.section("domain", problems) else { return };
    for (key, span, value) in domains.entries() {
        let Some(section) = as_section(&format!("domain.\"{key}\""), value, problems) else { continue };
        match parse_host(key) {
            Err(why) => problems.error(span, why, "[domain.\"example.net\"], in quotes"),
            Ok(domain) if config.elsewhere.contains_key(&domain) => {
                let message = format!("[domain.\"{key}\"] stands here twice, with other case or a final dot");
                problems.error(span, message, "one table for each domain");
            }
            Ok(domain) if config.overrides.contains_key(&domain) => {
                let message =
                    format!("[domain.\"{key}\"] and [zone.\"{key}\"]: its zone is served here, and speaks for it");
                problems.error(span, message, "a domain whose zone is served elsewhere");
            }
            Ok(domain) => {
                let checked = check_domain(section, problems);
                config.elsewhere.insert(domain, checked);
            }
        }
    }
}

fn check_domain(mut section: Section<'_>, problems: &mut Problems<'_>) -> DomainDane {
    let mut domain = DomainDane::default();
    for (host, span) in section.list("hosts", HOST, problems, parse_host).unwrap_or_default() {
        if domain.hosts.contains(&host) {
            problems.error(span, format!("`hosts`: {} stands here twice", host.to_host()), "take one of them out");
        } else {
            domain.hosts.push(host);
        }
    }
    let value = section.value("hosts");
    if value.is_none_or(|value| value.get_ref().as_array().is_some_and(|hosts| hosts.is_empty())) {
        problems.error(section.span.clone(), "a [domain] without `hosts`", HOST);
    }
    let (policy, selectors) = check_dkim(&mut section, problems);
    domain.dkim = policy.unwrap_or_default();
    domain.dkim_selectors = selectors.unwrap_or_default();
    section.finish(problems);
    domain
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};
    use crate::dane::config::DkimPolicy;

    #[test]
    fn a_domain_elsewhere_has_hosts_here() {
        let text = "[domain.\"example.net\"]\nhosts = [\"mail.example.org\"]\ndkim-selectors = [\"s1\"]\n[domain.\"example.com\"]\nhosts = [\"mail.example.org\", \"mx.example.org\"]\ndkim = \"optional\"";
        let rules = parse(text).unwrap().dane_rules();
        let net = &rules.elsewhere[&name("example.net.")];
        assert_eq!((&net.hosts[..], net.dkim), (&[name("mail.example.org.")][..], DkimPolicy::Required));
        assert_eq!(net.dkim_selectors, ["s1"]);
        let com = &rules.elsewhere[&name("example.com.")];
        assert_eq!((com.hosts.len(), com.dkim), (2, DkimPolicy::Optional));
    }

    #[test]
    fn what_can_not_be_is_said() {
        for (text, expected) in [
            ("[domain.\"example.net\"]", "without `hosts`"),
            ("[domain.\"example.net\"]\nhosts = []", "without `hosts`"),
            ("[domain.\"example.net\"]\nhosts = [\"mail example\"]", "not a host name"),
            ("[domain.\"example.net\"]\nhosts = [\"mail.example.org\", \"MAIL.example.org.\"]", "twice"),
            ("[domain.\"example.net\"]\nhosts = [\"a.org\"]\n[domain.\"EXAMPLE.net.\"]\nhosts = [\"a.org\"]", "twice"),
            ("[domain.\"example.net\"]\nhost = [\"mail.example.org\"]", "did you mean `hosts`?"),
            (
                "[domain.\"example.net\"]\nhosts = [\"a.org\"]\ndkim-selectors = [\"s._domainkey\"]",
                "more than a selector",
            ),
            ("[zone.\"a.org\"]\n[domain.\"a.org\"]\nhosts = [\"b.org\"]", "its zone is served here"),
            ("[domain]\n\"exa mple\" = { hosts = [\"a.org\"] }", "not a host name"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
