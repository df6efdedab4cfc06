//! Orders wait here until it is their turn: so many are under way at a time, one at a time for each address, with a rest between two.
//!
//! Who is to be asked again before it was asked is asked once, for the newer order: what waits is never more than there is to ask.
//! An address that can't be reached is not tried for each of those who wait for it. Asks nobody by itself.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dns::Name;

/// Something to ask of an address.
pub(super) trait Order: Sized + Send + Sync + 'static {
    /// What came of it.
    type Said: Clone + Send + Sync;
    /// The same as it is told.
    type News: Send;

    /// Whom to ask.
    fn address(&self) -> SocketAddr;
    /// For which host, and what the address is called there.
    fn subject(&self) -> (&Name, &str);
    /// Asks.
    fn ask(&self) -> impl Future<Output = Self::Said> + Send;
    /// Whether whoever asks at this address now hears the same.
    fn is_for_all(said: &Self::Said) -> bool;
    /// Tells what came of it.
    fn news(self, said: Self::Said) -> Self::News;
}

/// What ended.
enum Step<O: Order> {
    /// An order; what it has to say to all who wait.
    Asked(SocketAddr, Option<O::Said>),
    /// The rest of an address.
    Rested(SocketAddr),
}

/// Carries orders out, `at_once` at a time, until nobody can order any more. Between two at one address lies `apart`.
pub(super) async fn run<O: Order>(
    mut orders: mpsc::Receiver<O>,
    news: mpsc::Sender<O::News>,
    at_once: usize,
    apart: Duration,
) {
    let mut lanes: Lanes<O> = Lanes { free: at_once, waiting: HashMap::new(), ready: VecDeque::new() };
    let mut steps = JoinSet::new();
    loop {
        while let Some(order) = lanes.next() {
            steps.spawn(ask(order, news.clone()));
        }
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => lanes.add(order),
                None => return,
            },
            Some(step) = steps.join_next() => match step {
                Ok(Step::Asked(address, said)) => {
                    let hear = lanes.asked(address, said);
                    steps.spawn(rest(address, hear, news.clone(), apart));
                }
                Ok(Step::Rested(address)) => lanes.rested(address),
                Err(error) => tracing::error!("a question was broken off: {error}"),
            },
        }
    }
}

async fn ask<O: Order>(order: O, news: mpsc::Sender<O::News>) -> Step<O> {
    let (address, said) = (order.address(), order.ask().await);
    let for_all = O::is_for_all(&said).then(|| said.clone());
    // Who wants to know may have gone.
    let _ = news.send(order.news(said)).await;
    Step::Asked(address, for_all)
}

async fn rest<O: Order>(
    address: SocketAddr,
    hear: Vec<(O, O::Said)>,
    news: mpsc::Sender<O::News>,
    apart: Duration,
) -> Step<O> {
    for (order, said) in hear {
        let _ = news.send(order.news(said)).await;
    }
    sleep(apart).await;
    Step::Rested(address)
}

/// Who waits. An address has a lane while it is asked, rests, or is ready to be asked.
struct Lanes<O> {
    free: usize,
    waiting: HashMap<SocketAddr, VecDeque<O>>,
    ready: VecDeque<SocketAddr>,
}

impl<O: Order> Lanes<O> {
    fn add(&mut self, order: O) {
        let address = order.address();
        let Some(lane) = self.waiting.get_mut(&address) else {
            self.waiting.insert(address, VecDeque::from([order]));
            return self.ready.push_back(address);
        };
        match lane.iter_mut().find(|other| other.subject() == order.subject()) {
            Some(other) => *other = order,
            None => lane.push_back(order),
        }
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<O> {
        if self.free == 0 {
            return None;
        }
        let order = self.waiting.get_mut(&self.ready.pop_front()?)?.pop_front()?;
        self.free -= 1;
        Some(order)
    }

    /// One is done; gives those who have heard the same by it.
    fn asked(&mut self, address: SocketAddr, said: Option<O::Said>) -> Vec<(O, O::Said)> {
        self.free += 1;
        let lane = self.waiting.get_mut(&address).zip(said);
        lane.map_or_else(Vec::new, |(lane, said)| lane.drain(..).map(|order| (order, said.clone())).collect())
    }

    fn rested(&mut self, address: SocketAddr) {
        if self.waiting.get(&address).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(&address);
        } else {
            self.ready.push_back(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    /// When a question to which address began and ended.
    static ASKED: Mutex<Vec<(SocketAddr, Instant, Instant)>> = Mutex::new(Vec::new());
    static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);

    struct Question {
        address: SocketAddr,
        host: Name,
        number: usize,
    }

    impl Order for Question {
        type Said = bool;
        type News = (Name, usize, bool);

        fn address(&self) -> SocketAddr {
            self.address
        }

        fn subject(&self) -> (&Name, &str) {
            (&self.host, "")
        }

        async fn ask(&self) -> bool {
            MOST.fetch_max(UNDER_WAY.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let begun = Instant::now();
            sleep(Duration::from_millis(20)).await;
            UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
            ASKED.lock().unwrap().push((self.address, begun, Instant::now()));
            self.address.port() != 1
        }

        fn is_for_all(said: &bool) -> bool {
            !said
        }

        fn news(self, said: bool) -> (Name, usize, bool) {
            (self.host, self.number, said)
        }
    }

    #[tokio::test]
    async fn one_at_a_time_for_each_address_so_many_in_all_and_once_for_the_newest_order() {
        const APART: Duration = Duration::from_millis(30);
        let (orders, taken) = mpsc::channel(100);
        let (tell, mut news) = mpsc::channel(1);
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let host = |number: usize| format!("h{number}.example.").parse().unwrap();
        // The same host twice at each address, and an address that can't be reached. The first three begin at once.
        for number in 0..30 {
            let (address, host) = (at(2 + number as u16 % 5), host(number % 15));
            orders.send(Question { address, host, number }).await.unwrap();
        }
        for number in 30..40 {
            orders.send(Question { address: at(1), host: host(number), number }).await.unwrap();
        }
        let worker = tokio::spawn(run(taken, tell, 3, APART));
        let mut told = Vec::new();
        while told.len() < 28 {
            told.push(news.recv().await.unwrap());
        }
        sleep(Duration::from_millis(100)).await;
        assert!(news.try_recv().is_err(), "once for two orders");
        drop(orders);
        worker.await.unwrap();
        let heard = |said: bool| {
            let numbers = told.iter().filter(|(.., heard)| *heard == said).map(|(_, number, _)| *number);
            numbers.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(heard(true), (0..3).chain(15..30).collect(), "for the newest order");
        assert_eq!(heard(false), (30..40).collect());
        let asked = ASKED.lock().unwrap();
        assert_eq!(asked.iter().filter(|(address, ..)| *address == at(1)).count(), 1, "tried once for all");
        assert_eq!(MOST.load(Ordering::SeqCst), 3);
        for port in 2..7 {
            let of: Vec<_> = asked.iter().filter(|(address, ..)| *address == at(port)).collect();
            assert_eq!(of.len(), if port < 5 { 4 } else { 3 });
            assert!(of.windows(2).all(|two| two[1].1 - two[0].2 >= APART), "{of:?}");
        }
    }
}
