//! Work spread over the cores, at a lower priority than answering.

use std::num::NonZero;
use std::sync::Mutex;

use crate::zone::sign::Workers;

/// How much nicer than those who answer the workers are.
const NICER: i32 = 10;

/// Does `work` on every item and gives the results in their order. The caller's thread waits. Few items are not worth a thread.
pub fn spread<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    // To ask how many there are takes a while.
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if items.len() < 2 { 1 } else { cores().min(items.len()) };
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let queue = Mutex::new(items.into_iter().zip(results.iter_mut()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                be_nice();
                loop {
                    let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some((item, result)) = next else { return };
                    *result = Some(work(item));
                }
            });
        }
    });
    // A panic in a worker ends the scope with a panic: here all are done.
    results.into_iter().flatten().collect()
}

/// Lets the calling thread stand back behind those who answer.
pub fn be_nice() {
    // On Linux this is of the calling thread alone. Where it may not be set, work goes on as it is.
    let _ = rustix::process::setpriority_process(None, NICER);
}

/// The cores, as the pure rooms are handed them.
pub struct Cores;

impl Workers for Cores {
    fn run(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        spread((0..count).collect(), work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let expected: Vec<u32> = items.iter().map(|item| item * 2).collect();
        assert_eq!(spread(items, |item| item * 2), expected);
        assert_eq!(spread(vec![7], |item| item + 1), [8]);
        assert!(spread(Vec::<u8>::new(), |item| item).is_empty());
    }
}
