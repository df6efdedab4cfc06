//! The operator is told: `tell` decides what goes out when, `act::messages` sends it, and what waits is in the store before.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{Keeper, RESCAN};
use crate::act::messages::{News, Order, Secret, To};
use crate::config::{Config, Mailer, internal};
use crate::dns::{Name, Timestamp};
use crate::observe::secrets;
use crate::serve::control::Reply;
use crate::store::{self, Store, StoreError};
use crate::tell::{self, Event, Kind, Message, Notice, State, Topic};

/// Kind and key of the state in the store.
const STATE: (&str, &str) = ("messages", "all");
/// The webhook's channel. A recipient's is his address.
const WEBHOOK: &str = "webhook";
/// The orders that wait for their task: more than there are channels.
const ORDERS: usize = 64;
const MAIL_TIME: Duration = Duration::from_secs(60);
const WEBHOOK_TIME: Duration = Duration::from_secs(30);
/// A test is over before the client on the control socket has gone.
const TEST_TIME: Duration = Duration::from_secs(20);

/// What the keeper knows of messages, and where its orders go.
pub(super) struct Messages {
    pub(super) state: State,
    /// What the store has of it.
    stored: String,
    /// The time of the last tick.
    ticked: Timestamp,
    /// This machine's name.
    host: String,
    orders: Option<mpsc::Sender<Order>>,
    test: Option<Test>,
    /// What is wrong with the configuration's files and recipients.
    problems: Vec<String>,
    store_problem: Option<String>,
}

/// A test under way.
struct Test {
    id: String,
    begun: Timestamp,
    reply: oneshot::Sender<Reply>,
    waiting: BTreeSet<String>,
    results: Vec<TestReport>,
}

/// What one channel answered to a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TestReport {
    /// The recipient, or the webhook.
    pub channel: String,
    /// Why the message was not taken; none when it was.
    pub error: Option<String>,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChannelReport {
    /// The recipient, or the webhook.
    pub channel: String,
    /// When it took a message last.
    pub last_success: Option<Timestamp>,
    /// How many notices wait, those in a message that it did not take yet among them.
    pub waiting: usize,
    /// How many were given up since then.
    pub undelivered: usize,
    /// When it did not take one; none since it took one.
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub failure: Option<String>,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// What is not as good as it could be.
    pub warning: Option<String>,
}

impl Messages {
    /// What the store has. A state that can't be read is told and left behind: to serve is more.
    pub(super) fn load(store: &Store) -> Result<Messages, StoreError> {
        let mut store_problem = None;
        let state = match store.load(STATE.0, STATE.1)? {
            Some((_, json)) => serde_json::from_str(&json).unwrap_or_else(|error| {
                let text = format!("messages: what waited can't be read, and is left behind: {error}");
                error!("{text}");
                store_problem = Some(text);
                State::default()
            }),
            None => State::default(),
        };
        Ok(Messages {
            state,
            stored: String::new(),
            ticked: 0,
            host: host_name(),
            orders: None,
            test: None,
            problems: Vec::new(),
            store_problem,
        })
    }

    /// The state after some notices that are told under a configuration.
    pub(super) fn after(&self, notices: Vec<Notice>, config: &Config, now: Timestamp) -> State {
        let is_told = |notice: &Notice| notice.kind.topic().is_none_or(|topic| config.messages.on.contains(&topic));
        let notices = notices.into_iter().filter(is_told).collect();
        tell::step(self.state.clone(), Event::Happened(notices), now).0
    }

    fn take(&mut self, event: Event, now: Timestamp) -> Vec<tell::Send> {
        let (state, sends) = tell::step(std::mem::take(&mut self.state), event, now);
        self.state = state;
        sends
    }
}

/// As the store keeps it.
pub(super) fn stored(state: &State) -> Result<store::State, StoreError> {
    let (kind, key) = (STATE.0.to_owned(), STATE.1.to_owned());
    let json = serde_json::to_string(state)
        .map_err(|error| StoreError::State { kind: kind.clone(), why: error.to_string() })?;
    Ok(store::State { kind, key, version: tell::state::VERSION, json })
}

/// What a mail can name this machine by.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_host =
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet));
    if is_host { name } else { "localhost".to_owned() }
}

impl Keeper {
    /// Where orders to send messages come out from now on.
    pub fn message_orders(&mut self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        self.messages.orders = Some(sender);
        orders
    }

    /// The operator is told of something, and the log and the event list too. It is stored when this returns.
    pub fn tell(&mut self, notice: Notice, now: Timestamp) {
        self.tell_all(vec![notice], now);
    }

    /// The same of many.
    pub(super) fn tell_all(&mut self, notices: Vec<Notice>, now: Timestamp) {
        let mut events = Vec::new();
        // What becomes of TLSA has its events where it is decided.
        for notice in notices.iter().filter(|notice| notice.kind.topic() != Some(Topic::Tlsa)) {
            if notice.urgent {
                warn!("{}", notice.headline());
            } else {
                info!("{}", notice.headline());
            }
            events.push((notice.kind.word(), notice.subject.clone(), notice.text.clone()));
        }
        self.events(now, events);
        self.messages.state = self.messages.after(notices, &self.config, now);
        self.store_messages();
    }

    /// Writes down what changed. False: it could not be, so nothing may be sent.
    fn store_messages(&mut self) -> bool {
        let Messages { state, stored: before, .. } = &self.messages;
        let saved = stored(state).and_then(|state| {
            if state.json != *before {
                self.store.save(&state)?;
            }
            Ok(state.json)
        });
        match saved {
            Ok(json) => {
                self.messages.stored = json;
                self.messages.store_problem = None;
                true
            }
            Err(error) => {
                let text = format!("messages: what waits can't be stored, so nothing is sent: {error}");
                if self.messages.store_problem.replace(text.clone()).as_ref() != Some(&text) {
                    error!("{text}");
                }
                false
            }
        }
    }

    /// Sends what is due; gives when more will be.
    pub fn send_messages(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.messages.orders.as_ref()?;
        let next = self.messages.state.next();
        if next.is_none_or(|next| next > now) && now >= self.messages.ticked {
            return next;
        }
        self.messages.ticked = now;
        let before = self.messages.state.clone();
        let sends = self.messages.take(Event::Tick, now);
        if !self.store_messages() {
            self.messages.state = before;
            return Some(now + RESCAN);
        }
        for tell::Send { channel, message } in sends {
            let id = message.id.clone();
            if let Err(why) = self.order(&channel, message, None) {
                self.hear_message(&News { channel, id, result: Err(why) }, now);
            }
        }
        self.messages.state.next()
    }

    /// Orders a message to be sent through a channel.
    fn order(&self, channel: &str, message: Message, limit: Option<Duration>) -> Result<(), String> {
        let (to, usual) = self.way(channel)?;
        let (channel, host) = (channel.to_owned(), self.messages.host.clone());
        let order = Order { channel, to, message, host, limit: limit.unwrap_or(usual) };
        let orders = self.messages.orders.as_ref().ok_or("nothing is sent by this process")?;
        orders.try_send(order).map_err(|_| "too many messages are being sent".to_owned())
    }

    /// Where a channel leads. Secrets are read anew each time.
    fn way(&self, channel: &str) -> Result<(To, Duration), String> {
        let config = &self.config.messages;
        let read = |path| secrets::read(path).map(Secret);
        if channel == WEBHOOK {
            let webhook = config.webhook.clone().ok_or("no webhook is configured")?;
            let token = webhook.token_file.as_deref().map(read).transpose()?;
            return Ok((To::Webhook { webhook, token }, WEBHOOK_TIME));
        }
        let login = match &config.mailer {
            Mailer::Smarthost(smarthost) => smarthost.login.as_ref(),
            Mailer::Sendmail(_) => None,
        };
        let password = login.map(|(_, file)| read(file)).transpose()?;
        let (from, mailer) = (config.from.clone(), config.mailer.clone());
        Ok((To::Mail { to: channel.to_owned(), from, mailer, password }, MAIL_TIME))
    }

    /// What became of a message.
    pub fn hear_message(&mut self, news: &News, now: Timestamp) {
        let News { channel, id, result } = news.clone();
        if self.messages.test.as_ref().is_some_and(|test| test.id == id) {
            return self.hear_of_test(&channel, result.err());
        }
        let event = match result {
            Ok(()) => {
                info!("messages: {channel} has taken {id}");
                Event::Sent { channel, id }
            }
            Err(why) => {
                warn!("messages: {channel} has not taken {id}: {why}");
                Event::Failed { channel, id, why }
            }
        };
        self.messages.take(event, now);
        self.store_messages();
        self.tell_problems(now);
    }

    /// Sends a message through every channel now, and answers when each has said something.
    pub(super) fn test_messages(&mut self, reply: oneshot::Sender<Reply>, now: Timestamp) {
        let channels = self.message_channels();
        let is_going_on = |test: &Test| now.saturating_sub(test.begun) < 2 * TEST_TIME.as_secs();
        let refusal = if channels.is_empty() {
            Some("nobody is told anything: [messages] in the configuration says who")
        } else if self.messages.test.as_ref().is_some_and(is_going_on) {
            Some("another test is under way")
        } else {
            None
        };
        if let Some(why) = refusal {
            // Who asked may have gone.
            let _ = reply.send(Err(why.to_owned()));
            return;
        }
        let id = format!("{now}.test");
        let notice = Notice::new(now, Kind::Test, "", "");
        let version = tell::message::VERSION;
        let message = Message { version, id: id.clone(), at: now, notices: vec![notice], more: 0, undelivered: 0 };
        let waiting = channels.clone();
        self.messages.test = Some(Test { id, begun: now, reply, waiting, results: Vec::new() });
        for channel in channels {
            if let Err(why) = self.order(&channel, message.clone(), Some(TEST_TIME)) {
                self.hear_of_test(&channel, Some(why));
            }
        }
    }

    fn hear_of_test(&mut self, channel: &str, error: Option<String>) {
        let shown = self.shown(channel);
        let Some(test) = &mut self.messages.test else { return };
        if test.waiting.remove(channel) {
            test.results.push(TestReport { channel: shown, error });
        }
        if test.waiting.is_empty()
            && let Some(Test { reply, results, .. }) = self.messages.test.take()
        {
            let _ = reply.send(serde_json::to_value(results).map_err(|error| error.to_string()));
        }
    }

    /// Who is told, by the names of the channels.
    fn message_channels(&self) -> BTreeSet<String> {
        let config = &self.config.messages;
        let webhook = config.webhook.as_ref().map(|_| WEBHOOK.to_owned());
        config.to.iter().cloned().chain(webhook).collect()
    }

    /// What people call a channel.
    fn shown(&self, channel: &str) -> String {
        match &self.config.messages.webhook {
            Some(webhook) if channel == WEBHOOK => format!("{WEBHOOK} {}", webhook.origin),
            _ => channel.to_owned(),
        }
    }

    fn internal_recipients(&self) -> Vec<&str> {
        let is_served = |domain: &Name| {
            std::iter::once(domain.clone()).chain(domain.ancestors()).any(|at| self.zones.contains_key(&at))
        };
        self.config.messages.internal(is_served)
    }

    /// Takes the configuration's channels.
    pub(super) fn configure_messages(&mut self, now: Timestamp) {
        let channels = self.message_channels();
        let is_new = !channels.iter().eq(self.messages.state.channels.keys());
        self.messages.take(Event::Configured(channels, self.config.messages.timing), now);
        if is_new {
            self.store_messages();
        }
    }

    /// Looks whether everybody can be told, before somebody has to be.
    pub(super) fn check_messages(&mut self) {
        let mut problems = Vec::new();
        for channel in self.message_channels() {
            if let Err(why) = self.way(&channel) {
                problems.push(format!("messages: {}: {why}", self.shown(&channel)));
            }
        }
        let config = &self.config.messages;
        if !config.to.is_empty() && config.webhook.is_none() && self.internal_recipients().len() == config.to.len() {
            let text = "messages: every recipient is in a zone served here, and what is told there may get lost with what it \
                        tells of: add a mailbox elsewhere to `to`";
            problems.push(text.to_owned());
        }
        self.messages.problems = problems;
    }

    /// Tells what began or ended to stand since the last look.
    pub(super) fn look_at_messages(&mut self, now: Timestamp) {
        if self.messages.state.channels.is_empty() {
            return;
        }
        let (kinds, conditions) = self.conditions(now);
        if let Some((state, notices)) = tell::look(&self.messages.state, &kinds, conditions, now) {
            self.messages.state = state;
            self.tell_all(notices, now);
        }
    }

    /// What is wrong with messages now.
    pub(super) fn message_problems(&self) -> Vec<String> {
        let mut problems = self.messages.problems.clone();
        problems.extend(self.messages.store_problem.clone());
        for (name, channel) in &self.messages.state.channels {
            let Some((_, why)) = &channel.last_failure else { continue };
            let given_up = match channel.undelivered() {
                0 => String::new(),
                count => format!("; {count} notices were given up after three days of tries and are in the log only"),
            };
            problems.push(format!("messages: {} could not be told: {why}{given_up}", self.shown(name)));
        }
        problems
    }

    /// Every channel.
    pub(super) fn channel_reports(&self) -> Vec<ChannelReport> {
        let internal_recipients = self.internal_recipients();
        let report = |(name, channel): (&String, &tell::Channel)| ChannelReport {
            channel: self.shown(name),
            last_success: channel.last_success,
            waiting: channel.unsent(),
            undelivered: channel.undelivered(),
            failed_at: channel.last_failure.as_ref().map(|(at, _)| *at),
            failure: channel.last_failure.as_ref().map(|(_, why)| why.clone()),
            next_try: channel.next_try(),
            warning: internal_recipients.contains(&name.as_str()).then(|| internal(name)),
        };
        self.messages.state.channels.iter().map(report).collect()
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
