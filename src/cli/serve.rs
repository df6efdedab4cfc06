//! `serve`: opens what the daemon needs, runs the first cycle, answers, and ends cleanly on a signal.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::answering::Published;
use super::args::Serve;
use super::{CliError, Outcome, load, log, ready};
use crate::act;
use crate::config::{Config, Encrypted};
use crate::keeper::{
    self, Answering, Finished, Keeper, Message, OrderNews, OrderOrders, RolloverEdges, RolloverOrders, Surroundings,
};
use crate::observe::presented::Turns;
use crate::observe::watch::{Timing, Watcher};
use crate::observe::{self, clock};
use crate::serve::control::{ControlHandle, ControlSocket};
use crate::serve::encrypted::{EncryptedHandle, EncryptedListeners};
use crate::serve::{Answerer, Counters, Handle, Listeners, Transport, updates};
use crate::store::Store;

/// What secondaries said and the keeper has not heard yet.
const NEWS: usize = 256;
/// What rollovers may ask for at once: something at each address of thousands of hosts. What finds no room waits for the next try.
const ORDERS: usize = 1 << 16;

/// Serves until SIGTERM or SIGINT.
pub fn run(file: Option<&Path>, args: &Serve) -> Result<Outcome, CliError> {
    log::begin();
    let begun = Instant::now();
    take_descriptors();
    let config = load(file)?.with(&args.overrides())?;
    make_example(&config)?;
    let store = if args.ephemeral { Store::ephemeral()? } else { Store::open(&config.state)? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime: {error}")))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let listeners = Listeners::bind(&config.listen, cores)?;
    let encrypted = EncryptedListeners::bind(&encrypted(&config))?;
    let (control, calls) = control(&config, args.ephemeral, &runtime)?;

    let mut keeper = Keeper::new(config, store, args.ephemeral, keeper::now())?;
    keeper.read_clocks(clock::reading);
    let turns = Turns::default();
    let rollovers = drive(&mut keeper, runtime.handle(), turns.clone());
    // Zones that are not signed yet are answered SERVFAIL meanwhile.
    keeper.begin(keeper::now());
    let counters = Arc::new(Counters::default());
    let (snapshot, policy, wanted) = (keeper.published(), keeper.policy(), keeper.wanted());
    let (sender, updates) = mpsc::channel(updates::WAITING);
    let taken = counters.transfers().taken();
    let answerer: Arc<dyn Answerer> = Arc::new(Published {
        snapshot,
        policy,
        wanted,
        transfers: counters.transfers(),
        updates: counters.updates(),
        keeper: sender,
        notified: counters.notified(),
        begun,
    });
    let handle = listeners.run(&answerer, &counters)?;
    let first = keeper.cycle(&Finished::All, keeper::now());
    let encrypted = encrypted.run(runtime.handle(), &answerer, &counters, &keeper.presented())?;
    let addresses = answering(&handle, &encrypted);
    info!("answering on {} after {} ms", addresses.join(", "), begun.elapsed().as_millis());
    let (listening, encrypted_listening) = (handle.local_addrs().to_vec(), encrypted.local_addrs().to_vec());
    let answering = Answering { listening, encrypted: encrypted_listening, counters };
    if let Some(path) = &args.ready_file {
        ready::write(path, &addresses)?;
    }

    let (watcher, changed) = match Watcher::start(Timing::default()) {
        Ok((watcher, changed)) => (Some(watcher), changed),
        Err(error) => {
            warn!("{error}; changes are seen every {} s", keeper::RESCAN);
            (None, mpsc::channel(1).1)
        }
    };
    let overrides = args.overrides();
    let file = file.map(Path::to_owned);
    let configure = move || -> Result<Config, String> {
        let config = load(file.as_deref()).map_err(|error| error.to_string())?;
        config.with(&overrides).map_err(|error| error.to_string())
    };
    let keeper = runtime.block_on(async {
        let messages = signals().map_err(|error| CliError::Failed(format!("signals: {error}")))?;
        let (orders, hosts) = keeper.orders();
        let (sender, news) = mpsc::channel(NEWS);
        tokio::spawn(act::resolve::run(hosts, sender.clone()));
        tokio::spawn(act::notify::run(orders, sender, keeper::now));
        let (transfer_orders, (transfer_news, transferred)) = (keeper.transfer_orders(), mpsc::channel(NEWS));
        tokio::spawn(act::transfer::run(transfer_orders, transfer_news, keeper::now));
        let (message_orders, (message_news, sent)) = (keeper.message_orders(), mpsc::channel(NEWS));
        tokio::spawn(act::messages::run(message_orders, message_news));
        let (outside_orders, (outside_news, outside)) = (keeper.outside_orders(), mpsc::channel(NEWS));
        tokio::spawn(observe::outside::run(outside_orders, outside_news, turns));
        let orders = order(&mut keeper);
        let notified = answering.counters.notified();
        let around = Surroundings {
            watcher,
            changed,
            news,
            taken,
            transferred,
            sent,
            outside,
            orders,
            notified,
            rollovers,
            calls,
            updates,
            messages,
            answering,
            configure: Box::new(configure),
        };
        // A task of the runtime, since a cycle blocks the thread it runs on.
        let ended = tokio::spawn(keeper::run(keeper, first, around)).await;
        ended.map_err(|error| CliError::Failed(format!("a bug: the keeper ended: {error}")))
    })?;
    drop((control, encrypted));
    handle.shutdown();
    keeper.close(keeper::now())?;
    info!("stopped");
    Ok(Outcome::Done)
}

/// Who asks nameservers and mail servers, and runs hooks, when a rollover wants it.
fn drive(keeper: &mut Keeper, runtime: &tokio::runtime::Handle, turns: Turns) -> RolloverEdges {
    let ((ask, asked), (shown, nameservers)) = (mpsc::channel(ORDERS), mpsc::channel(NEWS));
    let ((probe, probed), (presents, presented)) = (mpsc::channel(ORDERS), mpsc::channel(NEWS));
    let ((run, to_run), (ran, hooks)) = (mpsc::channel(ORDERS), mpsc::channel(NEWS));
    runtime.spawn(observe::nameservers::run(asked, shown));
    runtime.spawn(observe::presented::run(probed, presents, turns));
    runtime.spawn(act::hook::work(to_run, ran));
    keeper.drive(RolloverOrders { nameservers: ask, presented: probe, hooks: run });
    RolloverEdges { nameservers, presented, hooks }
}

/// Who speaks with CAs, and asks nameservers for proofs and the resolver for what is elsewhere.
fn order(keeper: &mut Keeper) -> mpsc::Receiver<OrderNews> {
    let OrderOrders { ca, texts, elsewhere, directories } = keeper.order_orders();
    let (sender, news) = mpsc::channel(NEWS);
    let ((of_ca, mut from_ca), (of_texts, mut from_texts)) = (mpsc::channel(NEWS), mpsc::channel(NEWS));
    let ((found, mut from_elsewhere), (said, mut from_directories)) = (mpsc::channel(NEWS), mpsc::channel(NEWS));
    tokio::spawn(act::acme::run(ca, of_ca, keeper::now));
    tokio::spawn(observe::proofs::run(texts, of_texts));
    tokio::spawn(observe::outside::elsewhere::run(elsewhere, found));
    tokio::spawn(act::acme::directory::run(directories, said, keeper::now));
    tokio::spawn(async move {
        loop {
            let news = tokio::select! {
                Some(news) = from_ca.recv() => OrderNews::Ca(news),
                Some(news) = from_texts.recv() => OrderNews::Texts(news),
                Some(news) = from_elsewhere.recv() => OrderNews::Elsewhere(news),
                Some(news) = from_directories.recv() => OrderNews::Directory(news),
                else => return,
            };
            if sender.send(news).await.is_err() {
                return;
            }
        }
    });
    news
}

/// Each client over a stream takes a descriptor, a thousand of each transport at most, and what is left has to do for zones,
/// keys, store and control socket. The usual soft limit of 1024 is there for programs that call select(2): the hard one holds.
fn take_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!("the limit of open files stays at {}: {error}", current.unwrap_or_default());
    }
}

fn make_example(config: &Config) -> Result<(), CliError> {
    let Some(folder) = config.certificates.first().map(|folder| &folder.path) else { return Ok(()) };
    for host in &config.example_certificates {
        let made = act::example::write(folder, host)
            .map_err(|error| CliError::File(format!("example certificate in {}: {error}", folder.display())))?;
        if let Some(path) = made {
            info!("[example]: made a self-signed certificate, {}", path.display());
        }
    }
    Ok(())
}

type Calls = mpsc::Receiver<crate::serve::control::Call>;

/// `--ephemeral` leaves nothing in the state folder, the control socket neither.
fn control(
    config: &Config,
    ephemeral: bool,
    runtime: &tokio::runtime::Runtime,
) -> Result<(Option<ControlHandle>, Calls), CliError> {
    let (sender, calls) = mpsc::channel(16);
    if ephemeral && config.control_socket.starts_with(&config.state) {
        info!("--ephemeral: no control socket (set [control] socket outside {} for one)", config.state.display());
        return Ok((None, calls));
    }
    let socket = ControlSocket::bind(&config.control_socket)?;
    Ok((Some(socket.run(runtime.handle(), sender)?), calls))
}

/// Where encrypted queries come in.
fn encrypted(config: &Config) -> Vec<(Transport, SocketAddr)> {
    let Encrypted { tls, https, quic, .. } = &config.encrypted;
    let lists = [(Transport::Tls, tls), (Transport::Https, https), (Transport::Quic, quic)];
    lists.into_iter().flat_map(|(transport, list)| list.iter().map(move |address| (transport, *address))).collect()
}

/// Addresses for UDP and TCP, then transport and address of the others.
fn answering(handle: &Handle, encrypted: &EncryptedHandle) -> Vec<String> {
    let plain = handle.local_addrs().iter().map(ToString::to_string);
    plain.chain(encrypted.local_addrs().iter().map(|(transport, address)| format!("{transport} {address}"))).collect()
}

fn signals() -> std::io::Result<mpsc::Receiver<Message>> {
    let (sender, messages) = mpsc::channel(4);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                _ = hangup.recv() => Message::Reload,
                _ = terminate.recv() => Message::Stop,
                _ = interrupt.recv() => Message::Stop,
            };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(messages)
}
