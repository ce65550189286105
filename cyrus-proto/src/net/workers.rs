//! Threads that run jobs: the only place of the network core that may block.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::observer::Observer;
use super::reactor::{Inbox, Key};
use crate::job::{Done, Job, Progress};
use crate::output::Output;

/// A pool of threads fed from one queue.
///
/// A connection has one job in flight at most, so the queue holds no more entries than there are connections.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    /// Threads waiting in `filled`.
    idle: usize,
    closed: bool,
}

/// A job on its way to a worker, and where its result goes.
pub(super) struct Task {
    pub(super) job: Job,
    pub(super) key: Key,
    pub(super) inbox: Arc<Inbox>,
    pub(super) service: Arc<str>,
}

/// What came of one piece of a job.
pub(super) struct Piece {
    pub(super) output: Output,
    pub(super) next: Next,
}

/// What follows a piece of a job.
pub(super) enum Next {
    /// Run this on when the output is sent.
    More(Job),
    /// Hand this to the session.
    Done(Done),
}

impl Workers {
    /// Starts `count` threads.
    pub(super) fn start(count: usize, observer: &Arc<dyn Observer>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
        });
        let mut workers = Self {
            shared,
            threads: Vec::with_capacity(count),
        };
        for number in 0..count {
            let shared = Arc::clone(&workers.shared);
            let observer = Arc::clone(observer);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || shared.work(observer.as_ref()))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// What reactors submit to.
    pub(super) fn submitter(&self) -> Submitter {
        Submitter(Arc::clone(&self.shared))
    }

    /// Lets the threads finish what is queued, and waits for them.
    pub(super) fn finish(mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its jobs; one of its own was reported by the runtime.
            let _ = thread.join();
        }
    }

    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Hands tasks to the pool.
#[derive(Clone)]
pub(super) struct Submitter(Arc<Shared>);

impl Submitter {
    pub(super) fn submit(&self, task: Task) {
        let mut queue = self.0.lock();
        queue.tasks.push_back(task);
        let wake = queue.idle > 0;
        drop(queue);
        if wake {
            self.0.filled.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is never left half changed, whoever panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, observer: &dyn Observer) {
        while let Some(task) = self.take() {
            let Task {
                job,
                key,
                inbox,
                service,
            } = task;
            let piece = run(job, &service, observer);
            inbox.finished(key, piece);
        }
    }

    fn take(&self) -> Option<Task> {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                return Some(task);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

/// Runs one piece of a job; a panic in it is its outcome, and nobody else's trouble.
pub(super) fn run(mut job: Job, service: &str, observer: &dyn Observer) -> Piece {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(move || {
        let mut output = Output::new();
        let progress = job.run(&mut output, BUDGET);
        let next = match progress {
            Progress::More => Next::More(job),
            Progress::Done(done) => Next::Done(done),
        };
        Piece { output, next }
    }));
    observer.job_ran(service, start.elapsed());
    result.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        observer.trouble(&format!(
            "{service}: a command was abandoned by a bug in this program: {what}"
        ));
        Piece {
            output: Output::new(),
            next: Next::Done(Done::aborted()),
        }
    })
}

/// Octets of output after which a job is asked to pause until they are sent.
const BUDGET: usize = Output::HIGH_WATER as usize;
