//! What is said of orders, for people: in the log, the event list, `status`, and messages.

use std::collections::BTreeMap;

use super::Driven;
use crate::acme::{Action, Alarm, Held, Id, Notice as Said, State, Why};
use crate::dns::Timestamp;
use crate::dns::text::print_moment;
use crate::keeper::Keeper;
use crate::tell::{Kind, Notice};

/// An alarm in words.
struct Words {
    /// What is wrong, the same as long as it is.
    text: &'static str,
    /// What it rests on, and what to do.
    detail: String,
}

impl Keeper {
    /// Tells the operator what machines tell. `before`: what they were.
    pub(super) fn say_orders(&mut self, actions: &[(Id, Action)], before: &BTreeMap<Id, State>, now: Timestamp) {
        for (id, action) in actions {
            let subject = called(id);
            let Some(driven) = self.orders.each.get_mut(id) else { continue };
            match action {
                Action::Alarm(alarm) => {
                    let Words { text, detail } = words(alarm, driven.state.held());
                    self.tell(Notice::new(now, Kind::CertificateAlarm, &subject, text).with(detail), now);
                }
                Action::Cleared(alarm) => {
                    let text = words(alarm, None).text;
                    self.tell(Notice::new(now, Kind::CertificateAlarmCleared, &subject, text), now);
                }
                Action::Tell(Said::Refused(why)) => driven.refused = Some(why.clone()),
                Action::Tell(Said::Stored { why, not_after }) => {
                    let is_first = before.get(id).is_none_or(|state| state.held().is_none());
                    let what = if is_first { "issued" } else { "renewed" };
                    let text = format!("{what}, valid until {}", print_moment(*not_after));
                    let notice = Notice::new(now, Kind::CertificateIssued, &subject, &text);
                    let detail = driven.state.held().map_or_else(String::new, |held| issued(held, *why));
                    self.tell(notice.with(detail), now);
                }
                Action::Tell(said) => {
                    let text = said_in_words(said);
                    tracing::info!("certificate {subject}: {text}");
                    self.events(now, vec![("certificate-order", subject, text)]);
                }
                _ => {}
            }
        }
    }
}

/// Which certificate it is, and why there is one.
fn issued(held: &Held, why: Why) -> String {
    let names: Vec<String> = held.names.iter().map(|name| name.to_host()).collect();
    let Held { fingerprint, .. } = held;
    format!("for {}\nSHA-256 fingerprint {fingerprint}\nIt was ordered because {}.", names.join(", "), reason(why))
}

/// What is wrong with a certificate's order, a line each.
pub(super) fn problems(id: &Id, driven: &Driven) -> Vec<String> {
    let line = |alarm| {
        let Words { text, detail } = words(alarm, driven.state.held());
        format!("{}: {text}: {detail}", called(id))
    };
    driven.state.alarms().iter().map(line).collect()
}

/// The host, and the key type where that is not the usual one.
pub(super) fn called(id: &Id) -> String {
    match id.key_type {
        crate::dane::certificate::KeyType::Ecdsa => id.host.to_host(),
        other => format!("{} ({other})", id.host.to_host()),
    }
}

/// Why a certificate is ordered.
pub(super) fn reason(why: Why) -> &'static str {
    match why {
        Why::First => "there was none",
        Why::Due => "it was time to replace the one before",
        Why::Names => "it is to have other names",
        Why::Directory => "it is to be another CA's",
        Why::Word => "the operator said so",
        Why::Rotation => "the operator wants another key",
    }
}

fn said_in_words(said: &Said) -> String {
    match said {
        Said::Begun(why) => format!("it is being ordered because {}", reason(*why)),
        Said::Failed(why) => format!("its order came to nothing: {why}"),
        Said::Sooner(Some(page)) => format!("the CA wants it to be replaced sooner: {page}"),
        Said::Sooner(None) => "the CA wants it to be replaced sooner".to_owned(),
        Said::Revoked(fingerprint) => {
            format!("certificate {} is revoked", fingerprint.get(..16).unwrap_or(fingerprint))
        }
        Said::GivenUp => "its order was given up".to_owned(),
        Said::Stored { .. } | Said::Refused(_) => String::new(),
    }
}

/// `held`: what lies in the folder.
fn words(alarm: &Alarm, held: Option<&Held>) -> Words {
    let of = |text, detail: String| Words { text, detail };
    let end = held.map_or_else(String::new, |held| print_moment(held.not_after));
    match alarm {
        Alarm::Late => of(
            "the certificate expires so soon that a renewed one may come too late",
            format!("It expires on {end}, and danelaw goes on trying. To do: see why the order fails."),
        ),
        Alarm::Expired => of(
            "the certificate has expired",
            format!(
                "It expired on {end}, and danelaw goes on trying. DANE-EE records ignore expiry, and other clients don't. \
                 To do: see why the order fails."
            ),
        ),
        Alarm::Caa(advice) => of("CAA forbids the CA to issue the certificate", format!("To do: {advice}.")),
        Alarm::NotShown(why) => of(
            "a nameserver does not show the proof for the certificate",
            format!("{why}. The CA is asked to look when every nameserver shows it."),
        ),
        Alarm::Needed(why) => of("the order of the certificate needs the operator", why.clone()),
        Alarm::Failing(why) => of("the order of the certificate fails again and again", why.clone()),
        Alarm::FreshIsDue => of(
            "the certificate is new, and is to be replaced already",
            "The next order waits, so that there is not one after the other. To do: see that this machine's clock is right."
                .to_owned(),
        ),
        Alarm::Clock(ahead) => of(
            "the CA's clock is another than the one here",
            format!(
                "It is {} s {}. To do: see that this machine's clock is right.",
                ahead.unsigned_abs(),
                if *ahead < 0 { "behind" } else { "ahead" }
            ),
        ),
        Alarm::HoldTooLong(why) => of("the certificate can't be renewed in time", format!("{why}.")),
        Alarm::NotRevoked(why) => {
            of("the certificate before is not revoked", format!("{why} It is tried until that one expires."))
        }
    }
}
