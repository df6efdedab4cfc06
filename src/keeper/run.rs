//! The keeper's thread: waits for a notice, a command or the time, and runs a cycle.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{error, info, warn};

use super::look::Scope;
use super::updates::TOGETHER;

use super::{Answering, Cycle, Finished, Keeper, OrderNews, RolloverEdges};
use crate::act::notify::News;
use crate::act::{messages, transfer};
use crate::config::{Config, Cookies, TlsCertificate};
use crate::dns::Timestamp;
use crate::observe::outside;
use crate::observe::stamps::{Stamp, stamp};
use crate::observe::watch::{Changed, Folder, Watcher};
use crate::serve::Notified;
use crate::serve::control::{Call, Reply, Request};
use crate::serve::transfers::Taken;
use crate::serve::updates::Update;

/// Between two parcels of notices to secondaries: not all of thousands at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Rollovers are looked at so often: a machine that was suspended goes on at once, and no wait ends a second late.
const TICK: Duration = Duration::from_secs(1);

/// What the daemon tells its keeper besides what is watched.
#[derive(Debug)]
pub enum Message {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT: end.
    Stop,
}

/// What the keeper's thread needs besides the keeper.
pub struct Surroundings {
    /// Watches folders; none where the system gives no watcher, and rescans have to do.
    pub watcher: Option<Watcher>,
    /// Its notices.
    pub changed: mpsc::Receiver<Changed>,
    /// What secondaries say.
    pub news: mpsc::Receiver<News>,
    /// What became of messages to the operator.
    pub sent: mpsc::Receiver<messages::News>,
    /// How zones are seen from outside.
    pub outside: mpsc::Receiver<outside::News>,
    /// What came of orders of certificates.
    pub orders: mpsc::Receiver<OrderNews>,
    /// What came from primaries.
    pub transferred: mpsc::Receiver<transfer::News>,
    /// What primaries have said themselves.
    pub notified: Arc<Notified>,
    /// What nameservers, mail servers and hooks came to.
    pub rollovers: RolloverEdges,
    /// Calls through the control socket.
    pub calls: mpsc::Receiver<Call>,
    /// What they have taken.
    pub taken: mpsc::Receiver<Taken>,
    /// Dynamic updates.
    pub updates: mpsc::Receiver<Update>,
    /// Signals.
    pub messages: mpsc::Receiver<Message>,
    /// Where the daemon answers, and what it has counted.
    pub answering: Answering,
    /// Reads the configuration again.
    pub configure: Box<dyn Fn() -> Result<Config, String> + Send>,
}

/// Runs cycles until told to stop. `first` is the cycle that was run before serving began.
pub async fn run(mut keeper: Keeper, first: Cycle, mut around: Surroundings) -> Keeper {
    watch(&around, &keeper, &first);
    let mut config_seen = config_stamp(&keeper);
    // What changed after it was read and before it was watched gave no notice: look once more.
    let mut due = tokio::task::block_in_place(|| {
        if !(around.configure)().is_ok_and(|config| config == keeper.config) {
            // What is wrong with it is among the problems.
            let _ = reconfigure(&mut keeper, &around);
        }
        look(&mut keeper, &around, Look::All(Finished::All)).unwrap_or_else(Instant::now)
    });
    let mut told_at = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut request: Option<(Request, oneshot::Sender<Reply>)> = None;
        let mut reload = false;
        let mut what = Look::All(Finished::none());
        let to_send = [
            keeper.send_notices(now()),
            keeper.send_checks(now()),
            keeper.send_messages(now()),
            keeper.send_outside(now()),
        ];
        let to_send = to_send.into_iter().flatten().min();
        let notices = to_send.map(|at| moment(at, PAUSE));
        let ordered = keeper.orders_due(now()).map(|at| moment(at, Duration::ZERO));
        tokio::select! {
            // A moment, not a wait: those who ask often don't put it off.
            () = tokio::time::sleep_until(due) => {}
            () = tokio::time::sleep_until(notices.unwrap_or(due)), if notices.is_some() => continue,
            Some(news) = around.news.recv() => {
                keeper.hear(&news, now());
                continue;
            }
            Some(news) = around.sent.recv() => {
                keeper.hear_message(&news, now());
                continue;
            }
            Some(news) = around.outside.recv() => {
                let news: Vec<outside::News> = gather(news, &mut around.outside);
                if !keeper.hear_outside(news, now()) {
                    continue;
                }
                what = Look::Decided;
            }
            Some(news) = around.orders.recv() => {
                let news = gather(news, &mut around.orders);
                if !tokio::task::block_in_place(|| keeper.hear_orders(news, now())) {
                    continue;
                }
                what = Look::Decided;
            }
            () = tokio::time::sleep_until(ordered.unwrap_or(due)), if ordered.is_some() => {
                if !tokio::task::block_in_place(|| keeper.tick_orders(now())) {
                    continue;
                }
                what = Look::Decided;
            }
            Some(taken) = around.taken.recv() => {
                keeper.note_taken(&taken, now());
                continue;
            }
            () = around.notified.wait(told_at) => {
                told_at = Instant::now();
                keeper.hear_notified(&around.notified, now());
                continue;
            }
            _ = tick.tick(), if keeper.has_rollovers() => {
                if !keeper.is_tick_due(now()) || !tokio::task::block_in_place(|| keeper.tick(now())) {
                    continue;
                }
                what = Look::Decided;
            }
            Some(news) = around.rollovers.recv() => {
                let news = around.rollovers.gather(news);
                if !tokio::task::block_in_place(|| keeper.hear_rollovers(news, now())) {
                    continue;
                }
                what = Look::Decided;
            }
            Some(news) = around.transferred.recv() => what = Look::Transferred(news),
            Some(changed) = around.changed.recv() => {
                reload = config_stamp(&keeper) != config_seen;
                what = if reload { Look::All(Finished::told(&changed)) } else { Look::Changed(changed) };
            }
            Some(update) = around.updates.recv() => what = Look::Updates(gather(update, &mut around.updates)),
            Some(call) = around.calls.recv() => {
                if call.request == Request::TestMessages {
                    keeper.test_messages(call.reply, now());
                    continue;
                }
                reload = call.request == Request::Reload;
                if reload {
                    what = Look::All(Finished::All);
                }
                request = Some((call.request, call.reply));
            }
            message = around.messages.recv() => match message {
                Some(Message::Reload) => {
                    reload = true;
                    what = Look::All(Finished::All);
                }
                Some(Message::Stop) | None => return keeper,
            },
        }
        // Reading, deciding and signing block this thread, and none that answers.
        tokio::task::block_in_place(|| {
            let mut said = Ok(());
            if reload {
                config_seen = config_stamp(&keeper);
                said = reconfigure(&mut keeper, &around);
            }
            let Some((request, reply)) = request else {
                due = look(&mut keeper, &around, what).unwrap_or(due);
                return;
            };
            match &request {
                Request::Withdraw { host } => said = keeper.command(host, true, now()).map(drop),
                Request::Restore { host } => said = keeper.command(host, false, now()).map(drop),
                Request::Forget { host, certificate } => said = keeper.forget_certificate(host, certificate, now()),
                Request::ForgetKey { zone, key } => said = keeper.forget_key(zone, key, now()),
                Request::Freeze { zone } => said = keeper.freeze(zone, true, now()),
                Request::Thaw { zone } => said = keeper.freeze(zone, false, now()),
                Request::Rollover { host, word } => said = keeper.rollover(host, *word, now()),
                Request::Order { host, word } => said = keeper.say_to_orders(host, *word, now()),
                Request::Status
                | Request::Rollovers { .. }
                | Request::Orders { .. }
                | Request::Plan { .. }
                | Request::Log { .. }
                | Request::Explain { .. }
                | Request::Dump { .. }
                | Request::Export { .. }
                | Request::TestMessages
                | Request::Reload => {}
            }
            if request.is_change() {
                due = look(&mut keeper, &around, what).unwrap_or(due);
            }
            // Who asked may have gone.
            let _ = reply.send(said.and_then(|()| report(&keeper, &request, &around)));
        });
    }
}

/// The moment of a time, `least` from now or later. What is asked for anew each time that something comes would never be over where a lot
/// comes: only what may be put off, as notices may, has a `least`.
fn moment(at: Timestamp, least: Duration) -> Instant {
    Instant::now() + Duration::from_secs(at.saturating_sub(now())).max(least)
}

/// What a cycle is about.
enum Look {
    /// Everything.
    All(Finished),
    /// What a notice tells.
    Changed(Changed),
    /// What others ask to be changed.
    Updates(Vec<Update>),
    /// What was decided otherwise.
    Decided,
    /// What came from a primary.
    Transferred(transfer::News),
}

/// Something that has come, and what waits behind it.
fn gather<T>(first: T, more: &mut mpsc::Receiver<T>) -> Vec<T> {
    std::iter::once(first).chain(std::iter::from_fn(|| more.try_recv().ok())).take(TOGETHER).collect()
}

/// Runs a cycle; gives the moment of the next one. None where there was nothing to run it for.
fn look(keeper: &mut Keeper, around: &Surroundings, what: Look) -> Option<Instant> {
    let time = now();
    // A bug in here must not end the answering: it is told, and tried again with the next look.
    let cycle = std::panic::catch_unwind(AssertUnwindSafe(|| match what {
        Look::All(finished) => Some(keeper.cycle(&finished, time)),
        Look::Changed(changed) => Some(keeper.cycle_after(&changed, time)),
        Look::Decided => Some(keeper.run_cycle(&Scope::nothing(), &Finished::none(), time)),
        Look::Updates(updates) => keeper.update(updates, time),
        Look::Transferred(news) => keeper.hear_primary(news, time),
    }));
    let cycle = cycle.unwrap_or_else(|_| {
        error!("a bug: looking at zones and certificates panicked; what is served stays");
        Some(Cycle { next: time + super::RESCAN, watch: Default::default(), new_folders: true })
    })?;
    // The watcher looks through its folders when it is told of them.
    if cycle.new_folders {
        watch(around, keeper, &cycle);
    }
    Some(Instant::now() + Duration::from_secs(cycle.next.saturating_sub(time)))
}

/// What is said to a request once everything is done.
fn report(keeper: &Keeper, request: &Request, around: &Surroundings) -> Reply {
    let json = |value: serde_json::Result<serde_json::Value>| value.map_err(|error| error.to_string());
    match request {
        Request::Status
        | Request::Reload
        | Request::ForgetKey { .. }
        | Request::Freeze { .. }
        | Request::Thaw { .. } => json(serde_json::to_value(keeper.status(&around.answering, now()))),
        Request::Explain { host }
        | Request::Withdraw { host }
        | Request::Restore { host }
        | Request::Forget { host, .. } => match keeper.explain_with_outside(host, now()) {
            found if found.is_empty() => Err(format!(
                "no mail domain in the zones served here has {} as its MX host, and no [[service]] names it; \
                     `danelaw status` lists what is known",
                host.to_host()
            )),
            found => json(serde_json::to_value(found)),
        },
        Request::Rollover { host, .. } => json(serde_json::to_value(keeper.rollovers(Some(host))?)),
        Request::Rollovers { host } => json(serde_json::to_value(keeper.rollovers(host.as_ref())?)),
        Request::Order { host, .. } => json(serde_json::to_value(keeper.order_reports(Some(host)))),
        Request::Orders { host } => json(serde_json::to_value(keeper.list_orders(host.as_ref())?)),
        Request::Plan { host } => json(serde_json::to_value(keeper.timeline(host, now())?)),
        Request::Log { subject, limit } => json(serde_json::to_value(keeper.log(subject.as_deref(), *limit)?)),
        Request::Dump { zone, origin } => keeper.dump(zone, *origin).map(Into::into),
        Request::Export { zone } => json(serde_json::to_value(keeper.export(zone)?)),
        // It is answered when the channels have.
        Request::TestMessages => Ok(serde_json::Value::Null),
    }
}

/// A configuration that can't be used leaves the one before in force.
fn reconfigure(keeper: &mut Keeper, around: &Surroundings) -> Result<(), String> {
    match (around.configure)() {
        Ok(config) => {
            if config.listen != keeper.config.listen {
                warn!("`listen` changed: that takes a restart");
            }
            let lists = |config: &Config| config.listeners().copied().collect::<Vec<_>>();
            if config.listen == keeper.config.listen && lists(&config) != lists(&keeper.config) {
                warn!("where encrypted queries come in changed: that takes a restart");
            }
            info!("the configuration was read again");
            keeper.configure(config);
            Ok(())
        }
        Err(why) => {
            let problem = format!("{why}\nthe configuration before stays in force");
            keeper.keep_configuration(problem.clone());
            Err(problem)
        }
    }
}

fn watch(around: &Surroundings, keeper: &Keeper, cycle: &Cycle) {
    let Some(watcher) = &around.watcher else { return };
    let config = &keeper.config;
    let mut folders = vec![Folder::deep(&config.zones), Folder::flat(&config.keys)];
    folders.extend(config.file.as_ref().and_then(|file| file.parent()).map(|folder| match folder.as_os_str().len() {
        0 => Folder::flat("."),
        _ => Folder::flat(folder),
    }));
    for certificates in &config.certificates {
        folders.push(Folder::deep(&certificates.path));
        folders.extend(certificates.roots.iter().map(Folder::deep));
    }
    if keeper.has_rollovers() {
        folders.push(Folder::linked(&config.rollover.deployed));
    }
    if let Some(TlsCertificate::Files { certificate, key }) = &config.encrypted.certificate {
        folders.extend([certificate, key].into_iter().filter_map(|path| path.parent()).map(Folder::flat));
    }
    if let Cookies::File(file) = &config.server.cookies {
        folders.extend(file.parent().map(Folder::flat));
    }
    folders.extend(config.tsig_keys.iter().filter_map(|file| file.parent()).map(Folder::flat));
    folders.extend(cycle.watch.iter().map(Folder::flat));
    watcher.watch(folders);
}

fn config_stamp(keeper: &Keeper) -> Option<Stamp> {
    stamp(keeper.config.file.as_ref()?)
}

/// The wall clock.
pub fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
