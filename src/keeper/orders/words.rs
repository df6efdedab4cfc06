//! What is said of orders, for people: in the log, the event list, `status`, and messages.

use super::Driven;
use crate::acme::{Action, Alarm, Id, Notice as Said, Why};
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
    /// Tells the operator what machines tell.
    pub(super) fn say_orders(&mut self, actions: &[(Id, Action)], now: Timestamp) {
        for (id, action) in actions {
            let subject = called(id);
            match action {
                Action::Alarm(alarm) => {
                    let Words { text, detail } = words(alarm);
                    self.tell(Notice::new(now, Kind::Alarm, &subject, text).with(detail), now);
                }
                Action::Cleared(alarm) => {
                    self.tell(Notice::new(now, Kind::AlarmCleared, &subject, words(alarm).text), now);
                }
                Action::Tell(Said::Refused(why)) => {
                    if let Some(driven) = self.orders.each.get_mut(id) {
                        driven.refused = Some(why.clone());
                    }
                }
                Action::Tell(Said::Stored { why, not_after }) => {
                    let text = format!(
                        "{}, until {}",
                        if *why == Why::First { "issued" } else { "renewed" },
                        print_moment(*not_after)
                    );
                    let detail = if self.is_alone(&id.host) {
                        "It is installed at once: no TLSA is published of this host."
                    } else {
                        "It is installed when its record has been out for long enough: `danelaw rollover status` shows it."
                    };
                    let notice = Notice::new(now, Kind::CertificateIssued, &subject, &text);
                    self.tell(notice.with(format!("It was ordered since {}.\n{detail}", reason(*why))), now);
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

/// What is wrong with a certificate's order, a line each.
pub(super) fn problems(id: &Id, driven: &Driven) -> Vec<String> {
    let line = |alarm| {
        let Words { text, detail } = words(alarm);
        format!("certificate {}: {text}: {detail}", called(id))
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
        Why::Due => "the one before is to be replaced",
        Why::Names => "it is to have other names",
        Why::Directory => "it is to be another CA's",
        Why::Word => "the operator said so",
        Why::Rotation => "the operator wants another key",
    }
}

fn said_in_words(said: &Said) -> String {
    match said {
        Said::Begun(why) => format!("it is being ordered, since {}", reason(*why)),
        Said::Failed(why) => format!("its order came to nothing: {why}"),
        Said::Sooner(Some(page)) => format!("the CA wants it to be replaced sooner: {page}"),
        Said::Sooner(None) => "the CA wants it to be replaced sooner".to_owned(),
        Said::Revoked(fingerprint) => format!("{} is revoked", &fingerprint[..fingerprint.len().min(16)]),
        Said::GivenUp => "its order was given up".to_owned(),
        Said::Stored { .. } | Said::Refused(_) => String::new(),
    }
}

fn words(alarm: &Alarm) -> Words {
    let of = |text, detail: &str| Words { text, detail: detail.to_owned() };
    match alarm {
        Alarm::Late => of(
            "it expires so soon that a renewed one may come too late",
            "see why its order fails: `danelaw certificate list`",
        ),
        Alarm::Expired => of("it has expired", "see why its order fails: `danelaw certificate list`"),
        Alarm::Caa(record) => Words { text: "CAA forbids the CA to issue it", detail: record.clone() },
        Alarm::NotShown(why) => Words {
            text: "a nameserver does not show its proof",
            detail: format!("{why}; the CA is told when every nameserver does"),
        },
        Alarm::Needed(why) => Words { text: "its order needs the operator", detail: why.clone() },
        Alarm::Failing(why) => Words { text: "its order fails", detail: why.clone() },
        Alarm::FreshIsDue => of(
            "it is new, and is to be replaced already",
            "see that this machine's clock is right; the next order waits for a day and longer",
        ),
        Alarm::Clock(ahead) => Words {
            text: "the CA's clock is another than the one here",
            detail: format!("it is {ahead} s ahead: see that this machine's clock is right"),
        },
        Alarm::HoldTooLong(why) => Words { text: "it can't be renewed in time", detail: why.clone() },
        Alarm::NotRevoked(why) => {
            Words { text: "the one before is not revoked", detail: format!("{why}; it is tried until that expires") }
        }
    }
}
