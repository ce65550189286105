//! Threads that run jobs: the only place of the network core that may block.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::observer::Observer;
use super::reactor::{Inbox, Key};
use crate::job::{Done, Job, Progress};
use crate::output::Output;

/// A pool of threads fed from one queue.
///
/// A connection has one job in flight at most, so the queue holds no more entries than there are connections. Jobs may
/// wait long for a lock that somebody else holds; so that a few of them do not hold up everybody, a job that
/// has waited for [`STALL`] gets another thread, up to a limit. Such a thread ends when it has had nothing to do for a
/// while.
pub(super) struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is a task, or no more will come: for workers.
    filled: Condvar,
    /// There are more tasks than idle workers: for the watcher.
    crowded: Condvar,
    /// A thread ended.
    ended: Condvar,
    most: usize,
    observer: Arc<dyn Observer>,
}

#[derive(Default)]
struct Queue {
    /// With the moment of arrival.
    tasks: VecDeque<(Instant, Task)>,
    /// Threads, the watcher included.
    threads: usize,
    /// Threads that run tasks, or wait for some.
    workers: usize,
    /// Workers waiting in `filled`.
    idle: usize,
    /// The watcher is awake.
    watched: bool,
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
    /// Starts `count` threads; there will be no more than `most`.
    pub(super) fn start(count: usize, most: usize, observer: &Arc<dyn Observer>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            crowded: Condvar::new(),
            ended: Condvar::new(),
            most,
            observer: Arc::clone(observer),
        });
        let workers = Self { shared };
        for _ in 0..count {
            workers.shared.start_worker(Tenure::Permanent)?;
        }
        if most > count {
            Shared::spawn(&workers.shared, "watcher", |shared| shared.watch())?;
        }
        Ok(workers)
    }

    /// What reactors submit to.
    pub(super) fn submitter(&self) -> Submitter {
        Submitter(Arc::clone(&self.shared))
    }

    /// Lets the threads finish what is queued, and waits for them.
    pub(super) fn finish(self) {
        self.close();
        let mut queue = self.shared.lock();
        while queue.threads > 0 {
            queue = self
                .shared
                .ended
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
        self.shared.crowded.notify_all();
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
        queue.tasks.push_back((Instant::now(), task));
        // Workers that were woken count as idle until they have taken their tasks: so do tasks that wait for them.
        let (idle, crowded) = (queue.idle > 0, queue.tasks.len() > queue.idle);
        let watched = queue.watched;
        let waiting = queue.tasks.len();
        drop(queue);
        self.0.observer.waiting(waiting);
        if idle {
            self.0.filled.notify_one();
        }
        if crowded && !watched {
            self.0.crowded.notify_one();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tenure {
    Permanent,
    Spare,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is never left half changed, whoever panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(
        shared: &Arc<Self>,
        name: &str,
        body: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> io::Result<()> {
        shared.lock().threads += 1;
        let mine = Arc::clone(shared);
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // A worker catches the panics of its jobs; one of its own was reported by the runtime.
            let _ = catch_unwind(AssertUnwindSafe(|| body(&mine)));
            mine.lock().threads -= 1;
            mine.ended.notify_all();
        });
        if spawned.is_err() {
            shared.lock().threads -= 1;
        }
        spawned.map(drop)
    }

    fn start_worker(self: &Arc<Self>, tenure: Tenure) -> io::Result<()> {
        self.lock().workers += 1;
        let spawned = Self::spawn(self, "worker", move |shared| {
            shared.work(tenure);
            shared.lock().workers -= 1;
        });
        if spawned.is_err() {
            self.lock().workers -= 1;
        }
        spawned
    }

    fn work(&self, tenure: Tenure) {
        while let Some(Task {
            job,
            key,
            inbox,
            service,
        }) = self.take(tenure)
        {
            let piece = run(job, &service, self.observer.as_ref());
            inbox.finished(key, piece);
        }
    }

    /// The next task; `None` when the thread is not needed any more.
    fn take(&self, tenure: Tenure) -> Option<Task> {
        let mut queue = self.lock();
        loop {
            if let Some((_, task)) = queue.tasks.pop_front() {
                let waiting = queue.tasks.len();
                drop(queue);
                self.observer.waiting(waiting);
                return Some(task);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            let (back, timed_out) = match tenure {
                Tenure::Permanent => (
                    self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
                    false,
                ),
                Tenure::Spare => {
                    let (back, waited) = self
                        .filled
                        .wait_timeout(queue, SPARE_PATIENCE)
                        .unwrap_or_else(PoisonError::into_inner);
                    (back, waited.timed_out())
                }
            };
            queue = back;
            queue.idle -= 1;
            if timed_out && queue.tasks.is_empty() {
                return None;
            }
        }
    }

    /// Gives tasks that wait too long a thread of their own. Sleeps as long as tasks find idle workers.
    fn watch(self: &Arc<Self>) {
        let mut queue = self.lock();
        while !queue.closed {
            let Some(since) = queue.tasks.front().map(|(since, _)| *since) else {
                queue.watched = false;
                queue = self.crowded.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.watched = true;
            let left = STALL.saturating_sub(since.elapsed());
            if !left.is_zero() {
                queue = self
                    .crowded
                    .wait_timeout(queue, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            let room = queue.workers < self.most;
            drop(queue);
            if room && let Err(error) = self.start_worker(Tenure::Spare) {
                self.observer
                    .trouble(&format!("cannot start another worker thread: {error}"));
            }
            queue = self.lock();
            // Let the new thread take its task before the next one is looked at.
            queue = self
                .crowded
                .wait_timeout(queue, STALL / 8)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
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

/// How long a task may wait before it gets another thread.
const STALL: Duration = Duration::from_millis(40);

/// How long such a thread waits for more to do.
const SPARE_PATIENCE: Duration = Duration::from_secs(10);
