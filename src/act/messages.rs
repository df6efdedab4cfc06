//! Sends messages to the operator: each order once, through the channel that it names, and tells what became of it.
//!
//! What to send comes in as orders; what came of it goes out as news, and no secret is in it. When to try again is decided
//! elsewhere.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{mail, webhook};
use crate::config::{Mailer, Webhook};
use crate::tell::Message;

/// The longest error that is told, characters.
const WHY_MAX: usize = 400;

/// A message that is to be sent.
#[derive(Debug)]
pub struct Order {
    /// What the news will be called.
    pub channel: String,
    /// To whom.
    pub to: To,
    /// What.
    pub message: Message,
    /// The machine that tells.
    pub host: String,
    /// How long it may take.
    pub limit: Duration,
}

/// To whom a message goes, and over which way.
#[derive(Debug)]
pub enum To {
    /// By mail.
    Mail {
        /// The recipient.
        to: String,
        /// The sender; none: `danelaw` at this machine.
        from: Option<String>,
        /// The way.
        mailer: Mailer,
        /// The smarthost's password.
        password: Option<Secret>,
    },
    /// By POST.
    Webhook {
        /// Where.
        webhook: Webhook,
        /// The bearer token.
        token: Option<Secret>,
    },
}

impl To {
    /// What may be in no error.
    fn secrets(&self) -> Vec<String> {
        match self {
            To::Mail { mailer, password: Some(password), .. } => {
                let user = match mailer {
                    Mailer::Smarthost(smarthost) => smarthost.login.as_ref().map_or("", |(user, _)| user),
                    Mailer::Sendmail(_) => "",
                };
                let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
                let secret = &password.0;
                vec![base64(&format!("\0{user}\0{secret}")), base64(secret), secret.clone()]
            }
            To::Mail { .. } => Vec::new(),
            To::Webhook { webhook, token } => {
                let path = webhook.url.strip_prefix(&webhook.origin).filter(|path| path.len() > 1);
                [token.as_ref().map(|token| token.0.clone()), path.map(str::to_owned)].into_iter().flatten().collect()
            }
        }
    }
}

/// A password or token. It is never printed.
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The order's channel.
    pub channel: String,
    /// The message's id.
    pub id: String,
    /// Taken, or why not.
    pub result: Result<(), String>,
}

/// Sends what it is ordered to until nobody can order any more.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    while let Some(order) = orders.recv().await {
        let news = news.clone();
        tokio::spawn(async move {
            let sent = timeout(order.limit, send(&order)).await;
            let result = sent.unwrap_or_else(|_| Err(format!("no answer within {} s", order.limit.as_secs())));
            let result = result.map_err(|why| shown(&why, &order.to.secrets()));
            // Who wants to know may have gone.
            let _ = news.send(News { channel: order.channel, id: order.message.id, result }).await;
        });
    }
}

async fn send(order: &Order) -> Result<(), String> {
    let Order { to, message, host, limit, .. } = order;
    match to {
        To::Mail { to, from, mailer, password } => {
            let mail = mail::compose(message, host, from.as_deref(), to)?;
            match mailer {
                Mailer::Smarthost(smarthost) => mail::submit(&mail, smarthost, password.as_ref(), host).await,
                Mailer::Sendmail(program) => mail::hand_over(&mail, program, from.as_deref(), to).await,
            }
        }
        To::Webhook { webhook, token } => webhook::post(webhook, token.as_ref(), message, host, *limit).await,
    }
}

/// One line of an error, of bounded length, without what a server may have repeated of our secrets.
fn shown(why: &str, secrets: &[String]) -> String {
    let mut why = why.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        why = why.replace(secret.as_str(), "...");
    }
    why.chars().take(WHY_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Smarthost, SmtpTls};

    #[test]
    fn what_a_server_repeats_of_a_secret_is_not_told() {
        let login = Some(("me".to_owned(), "f".into()));
        let smarthost = Smarthost { host: "s".into(), port: 1, tls: SmtpTls::Starttls, login };
        let to = To::Mail {
            to: "a@b.c".into(),
            from: None,
            mailer: Mailer::Smarthost(smarthost),
            password: Some(Secret("pass-word".into())),
        };
        let said = "535 what is AG1lAHBhc3Mtd29yZA==, cGFzcy13b3Jk\r\nor pass-word";
        assert_eq!(shown(said, &to.secrets()), "535 what is ..., ...  or ...");
        assert_eq!(shown(&"x".repeat(1000), &[]).len(), WHY_MAX);
        assert!(!format!("{to:?}").contains("pass-word"));
        let webhook =
            Webhook { url: "https://h.example/T0/x".into(), origin: "https://h.example".into(), token_file: None };
        let to = To::Webhook { webhook, token: Some(Secret("tok".into())) };
        assert_eq!(
            shown("bad uri: https://h.example/T0/x with tok", &to.secrets()),
            "bad uri: https://h.example... with ..."
        );
    }
}
