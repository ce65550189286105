//! Time and processor time of one measurement.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::target::Target;

/// What one measurement cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// Operations done.
    pub(super) count: u64,
    /// Processor time of the server, in milliseconds.
    pub(super) server_cpu_ms: f64,
}

impl Cost {
    pub(super) fn rate(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    pub(super) fn cpu_per_operation(&self) -> f64 {
        self.server_cpu_ms / self.count.max(1) as f64
    }
}

/// Times one operation.
pub(super) fn time<T>(target: &Target, operation: impl FnOnce() -> io::Result<T>) -> io::Result<(Cost, T)> {
    let cpu = target.cpu_ms();
    let begin = Instant::now();
    let value = operation()?;
    let wall = begin.elapsed();
    Ok((
        Cost {
            wall,
            count: 1,
            server_cpu_ms: target.cpu_ms() - cpu,
        },
        value,
    ))
}

/// Runs `connections` clients for a time; `connect(index)` makes the operation of one, which says for how many it counts.
pub(super) fn rate<Step>(
    target: &Target,
    connections: usize,
    length: Duration,
    connect: impl Fn(usize) -> io::Result<Step> + Sync,
) -> io::Result<Cost>
where
    Step: FnMut() -> io::Result<u64>,
{
    let (ready, stop, count) = (
        Barrier::new(connections + 1),
        AtomicBool::new(false),
        AtomicU64::new(0),
    );
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|index| {
                let (ready, stop, count, connect) = (&ready, &stop, &count, &connect);
                scope.spawn(move || -> io::Result<()> {
                    let step = connect(index);
                    ready.wait();
                    let mut step = step?;
                    while !stop.load(Ordering::Relaxed) {
                        count.fetch_add(step()?, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let cpu = target.cpu_ms();
        ready.wait();
        let begin = Instant::now();
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client
                .join()
                .map_err(|_| io::Error::other("a client panicked"))??;
        }
        let wall = begin.elapsed();
        let count = count.load(Ordering::Relaxed);
        Ok(Cost {
            wall,
            count,
            server_cpu_ms: target.cpu_ms() - cpu,
        })
    })
}
