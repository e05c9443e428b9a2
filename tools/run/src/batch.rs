//! Work on many items, spread over threads, with the results in the order of the items and memory for a few of them.

use rayon::ThreadPool;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, TryRecvError},
    },
};

/// Items in flight for each thread: enough to keep the others busy while one takes long.
const IN_FLIGHT: usize = 4;

/// Calls `work` on each of `items`, with one of `workers` each time, and hands the results to `sink` in the order of the items. The caller's thread asks for
/// items and runs `sink`; with a pool, `work` runs there, on as many threads as there are workers, else here as well.
///
/// # Errors
/// The first that `sink` returns; the items after it are not worked on, but for those already begun.
///
/// # Panics
/// If there are no workers, or `work` panics.
pub fn in_order<I: Send, W: Send, R: Send, E>(
    pool: Option<&ThreadPool>,
    workers: &mut [W],
    items: impl Iterator<Item = I>,
    work: impl Fn(&mut W, I) -> R + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let Some(pool) = pool else {
        for item in items {
            sink(work(&mut workers[0], item))?;
        }
        return Ok(());
    };
    let limit = workers.len() * IN_FLIGHT;
    let workers: Vec<Mutex<&mut W>> = workers.iter_mut().map(Mutex::new).collect();
    let (workers, work) = (&workers, &work);
    pool.in_place_scope(|scope| {
        let mut in_flight: VecDeque<mpsc::Receiver<R>> = VecDeque::with_capacity(limit);
        for item in items {
            // Hand on what is ready, and wait only where too much is in flight.
            while let Some(oldest) = in_flight.front() {
                let result =
                    if in_flight.len() < limit { oldest.try_recv() } else { oldest.recv().map_err(Into::into) };
                if matches!(result, Err(TryRecvError::Empty)) {
                    break;
                }
                in_flight.pop_front();
                // Without a result the worker panicked; the scope passes that on when it ends.
                result.map_or(Ok(()), &mut sink)?;
            }
            let (sender, receiver) = mpsc::sync_channel(1);
            scope.spawn(move |_| {
                // A thread of the pool has its own worker, so this never waits.
                let index = rayon::current_thread_index().unwrap_or(0);
                let mut worker = workers[index].lock().unwrap_or_else(PoisonError::into_inner);
                // The receiver is gone once `sink` has failed.
                let _ = sender.send(work(&mut worker, item));
            });
            in_flight.push_back(receiver);
        }
        in_flight.into_iter().filter_map(|oldest| oldest.recv().ok()).try_for_each(sink)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Duration};

    #[test]
    fn results_come_in_order() {
        for threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for pool in [None, Some(&pool)] {
                let mut counts = vec![0; threads];
                let mut results = Vec::new();
                let work = |count: &mut usize, item: u64| {
                    *count += 1;
                    thread::sleep(Duration::from_micros(item * 7919 % 400));
                    item * 2
                };
                let sink = |result| {
                    results.push(result);
                    Ok::<_, ()>(())
                };
                in_order(pool, &mut counts, 0..100, work, sink).unwrap();
                assert_eq!(results, (0..100).map(|item| item * 2).collect::<Vec<_>>());
                assert_eq!(counts.iter().sum::<usize>(), 100);
            }
        }
    }

    #[test]
    fn a_failing_sink_ends_it() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for pool in [None, Some(&pool)] {
            let mut taken = 0;
            let items = (0..1_000_000).inspect(|_| taken += 1);
            let result = in_order(
                pool,
                &mut [(), ()],
                items,
                |(), item| item,
                |result| if result == 5 { Err(result) } else { Ok(()) },
            );
            assert_eq!(result, Err(5));
            assert!(taken < 100);
        }
    }
}
