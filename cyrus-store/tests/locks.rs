//! Locks between threads and between processes.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cyrus_store::lock::{Guard, LockError, LockTable, Mapping, Recheck, Wait};
use cyrus_store::sys::{Disk, Mode, Open, RealDisk, SimDisk};

fn real() -> LockTable {
    LockTable::new(Arc::new(RealDisk))
}

fn soon() -> Wait {
    Wait::Until(Instant::now() + Duration::from_millis(50))
}

fn is_busy<T>(result: Result<T, LockError>) -> bool {
    matches!(result, Err(LockError::Busy { .. }))
}

/// Locks as another thread of this process.
fn elsewhere(table: &LockTable, path: &Path, mode: Mode, wait: Wait) -> Result<Guard, LockError> {
    thread::scope(|scope| scope.spawn(|| table.lock_file(path, mode, wait)).join().unwrap())
}

/// Another process that holds a lock by `fcntl`, as Cyrus does.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
}

impl Other {
    /// Starts one that locks `path`; nothing, with the reason printed, where there is no Python.
    fn holding(path: &Path, mode: Mode, then: &str) -> Option<Self> {
        let kind = if mode == Mode::Shared {
            "LOCK_SH"
        } else {
            "LOCK_EX"
        };
        let script = format!(
            "import fcntl, sys, os\nf = open(sys.argv[1], 'r+b')\nfcntl.lockf(f, fcntl.{kind})\n\
             print('locked', flush=True)\nsys.stdin.readline()\n{then}\n"
        );
        let child = Command::new("python3")
            .args(["-c", &script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: no python3");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "locked\n");
        let input = child.stdin.take();
        Some(Self { child, input })
    }

    /// Whether another process could lock the file right now.
    fn can_lock(path: &Path, mode: Mode) -> Option<bool> {
        let kind = if mode == Mode::Shared {
            "LOCK_SH"
        } else {
            "LOCK_EX"
        };
        let script = format!(
            "import fcntl, sys\nf = open(sys.argv[1], 'r+b')\nfcntl.lockf(f, fcntl.{kind} | fcntl.LOCK_NB)"
        );
        let status = Command::new("python3")
            .args(["-c", &script])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        status.ok().map(|status| status.success())
    }

    fn finish(mut self) {
        writeln!(self.input.take().unwrap()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn exclusive_lock_keeps_out_everybody_and_shared_locks_share() {
    let table = LockTable::new(Arc::new(SimDisk::new()));
    let path = Path::new("/lock/deep/user.lock");
    let one = table.lock_file(path, Mode::Shared, Wait::Forever).unwrap();
    let two = elsewhere(&table, path, Mode::Shared, Wait::Never).unwrap();
    assert!(is_busy(elsewhere(&table, path, Mode::Exclusive, soon())));
    drop(one);
    assert!(is_busy(elsewhere(&table, path, Mode::Exclusive, Wait::Never)));
    let alone = two.relock(Mode::Exclusive, Wait::Never).unwrap();
    assert!(is_busy(elsewhere(&table, path, Mode::Shared, Wait::Never)));
    assert_eq!(alone.mode(), Mode::Exclusive);
    assert_eq!(table.len(), 1);
    drop(alone);
    assert!(table.is_empty(), "an unused entry leaves the table");
}

#[test]
fn lock_files_are_made_with_their_directories_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock/U/*U*alice.lock");
    drop(real().lock_file(&path, Mode::Exclusive, Wait::Forever).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn locks_are_given_in_the_order_they_were_asked_for() {
    let table = LockTable::new(Arc::new(SimDisk::new()));
    let path = Path::new("/f.lock");
    let first = table.lock_file(path, Mode::Shared, Wait::Forever).unwrap();
    let (order, seen) = mpsc::channel();
    let mut threads = Vec::new();
    for (name, mode) in [("writer", Mode::Exclusive), ("reader", Mode::Shared)] {
        let (table, order, path) = (table.clone(), order.clone(), path.to_owned());
        threads.push(thread::spawn(move || {
            let _held = table.lock_file(&path, mode, Wait::Forever).unwrap();
            order.send(name).unwrap();
        }));
        thread::sleep(Duration::from_millis(30));
    }
    // The reader could share with the first one, but the writer was there before it.
    assert!(seen.try_recv().is_err());
    drop(first);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["writer", "reader"]);
}

#[test]
fn one_that_gives_up_does_not_hold_up_those_behind_it() {
    let table = LockTable::new(Arc::new(SimDisk::new()));
    let path = Path::new("/f.lock");
    let first = table.lock_file(path, Mode::Shared, Wait::Forever).unwrap();
    let waiting = thread::spawn({
        let table = table.clone();
        move || is_busy(table.lock_file(path, Mode::Exclusive, soon()))
    });
    thread::sleep(Duration::from_millis(20));
    let second = elsewhere(&table, path, Mode::Shared, Wait::Forever).unwrap();
    assert!(waiting.join().unwrap());
    drop((first, second));
    assert!(table.is_empty());
}

#[test]
fn thread_that_would_wait_for_itself_is_told() {
    let table = LockTable::new(Arc::new(SimDisk::new()));
    let _held = table
        .lock_file(Path::new("/f.lock"), Mode::Exclusive, Wait::Forever)
        .unwrap();
    let again = table.lock_file(Path::new("/f.lock"), Mode::Shared, soon());
    assert!(matches!(again, Err(LockError::Reentrant { .. })) || !cfg!(debug_assertions));
    let _shared = table
        .lock_file(Path::new("/g.lock"), Mode::Shared, Wait::Forever)
        .unwrap();
    let again = table.lock_file(Path::new("/g.lock"), Mode::Shared, soon());
    assert!(
        matches!(again, Err(LockError::Reentrant { .. })) || !cfg!(debug_assertions),
        "it would wait for itself as soon as somebody wants the lock exclusively"
    );
}

#[test]
fn threads_never_hold_an_exclusive_lock_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    std::fs::write(&path, 0u64.to_be_bytes()).unwrap();
    let table = real();
    let inside = AtomicUsize::new(0);
    let start = Barrier::new(6);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let file = table.data_file(&path);
                start.wait();
                for round in 0..100 {
                    if round % 3 == 0 {
                        let lock = file
                            .lock(Mode::Shared, Wait::Forever, Open::write(), Recheck::Replaced)
                            .unwrap();
                        let mut map = Mapping::default();
                        assert_eq!(map.refresh(&lock).unwrap().len(), 8);
                    } else {
                        let mut lock = file
                            .lock(Mode::Exclusive, Wait::Forever, Open::write(), Recheck::Replaced)
                            .unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        let count = u64::from_be_bytes(lock.file().read_all().unwrap().try_into().unwrap());
                        lock.write_at(&(count + 1).to_be_bytes(), 0).unwrap();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(std::fs::read(&path).unwrap(), 396u64.to_be_bytes());
    assert!(table.is_empty());
}

#[test]
fn lock_of_another_process_is_respected_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.lock");
    std::fs::write(&path, "").unwrap();
    let table = real();
    let Some(other) = Other::holding(&path, Mode::Exclusive, "") else {
        return;
    };
    assert!(is_busy(table.lock_file(&path, Mode::Shared, Wait::Never)));
    assert!(is_busy(table.lock_file(&path, Mode::Shared, soon())));
    assert!(table.is_empty());
    let waiting = {
        let (table, path) = (table.clone(), path.clone());
        thread::spawn(move || table.lock_file(&path, Mode::Exclusive, Wait::Forever).unwrap())
    };
    thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    other.finish();
    let held = waiting.join().unwrap();
    assert_eq!(Other::can_lock(&path, Mode::Shared), Some(false));
    drop(held);
    assert_eq!(Other::can_lock(&path, Mode::Exclusive), Some(true));
}

/// Two processes of Cyrus that wait for each other are told so by the kernel, and one of them gives up; while one of our
/// threads waits for the same lock, too.
#[test]
fn waiting_threads_do_not_hide_a_deadlock_of_other_processes_from_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let (namespace, mailbox) = (dir.path().join("user.lock"), dir.path().join("mailbox.lock"));
    for path in [&namespace, &mailbox] {
        std::fs::write(path, "").unwrap();
    }
    let then_lock = |path: &Path, outcome: &str| {
        format!(
            "import errno, signal\nsignal.alarm(20)\ng = open('{}', 'r+b')\ntry:\n fcntl.lockf(g, fcntl.LOCK_EX)\n \
             outcome = 'locked'\nexcept OSError as error:\n outcome = os.strerror(error.errno)\n\
             sys.exit(outcome != {outcome})",
            path.display()
        )
    };
    let refused = then_lock(&mailbox, "os.strerror(errno.EDEADLK)");
    let served = then_lock(&namespace, "'locked'");
    let Some(one) = Other::holding(&namespace, Mode::Exclusive, &refused) else {
        return;
    };
    let two = Other::holding(&mailbox, Mode::Exclusive, &served).unwrap();
    let table = real();
    let waiting = thread::spawn({
        let namespace = namespace.clone();
        move || table.lock_file(&namespace, Mode::Shared, Wait::Forever).map(drop)
    });
    thread::sleep(Duration::from_millis(100));
    let two = thread::spawn(move || two.finish());
    thread::sleep(Duration::from_millis(300));
    one.finish();
    two.join().unwrap();
    waiting.join().unwrap().unwrap();
}

#[test]
fn shared_lock_of_another_process_is_shared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.lock");
    std::fs::write(&path, "").unwrap();
    let table = real();
    let Some(other) = Other::holding(&path, Mode::Shared, "") else {
        return;
    };
    let held = table.lock_file(&path, Mode::Shared, Wait::Never).unwrap();
    assert!(is_busy(elsewhere(&table, &path, Mode::Exclusive, Wait::Never)));
    drop(held);
    assert!(is_busy(table.lock_file(&path, Mode::Exclusive, Wait::Never)));
    other.finish();
    drop(table.lock_file(&path, Mode::Exclusive, Wait::Forever).unwrap());
}

#[test]
fn threads_that_share_a_lock_one_after_the_other_let_another_process_in() {
    let dir = tempfile::tempdir().unwrap();
    let (path, start) = (dir.path().join("f.lock"), dir.path().join("start"));
    std::fs::write(&path, "").unwrap();
    std::fs::write(&start, "").unwrap();
    let table = real();
    let first = table.lock_file(&path, Mode::Shared, Wait::Forever).unwrap();
    let wants_all = format!("fcntl.lockf(open('{}', 'r+b'), fcntl.LOCK_EX)", path.display());
    let Some(other) = Other::holding(&start, Mode::Exclusive, &wants_all) else {
        return;
    };
    let other = thread::spawn(move || other.finish());
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut held = first;
    while !other.is_finished() {
        assert!(Instant::now() < deadline, "the other process never had its turn");
        // The next one shares the lock before this one gives it back, if that is allowed; else it gives up, and waits.
        let next = elsewhere(&table, &path, Mode::Shared, soon());
        drop(held);
        held = match next {
            Ok(next) => next,
            Err(_) => elsewhere(&table, &path, Mode::Shared, Wait::Forever).unwrap(),
        };
    }
    other.join().unwrap();
}

#[test]
fn lock_of_the_last_holder_only_is_given_back_to_other_processes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.lock");
    let table = real();
    let one = table.lock_file(&path, Mode::Shared, Wait::Forever).unwrap();
    let two = elsewhere(&table, &path, Mode::Shared, Wait::Forever).unwrap();
    drop(one);
    // Somebody in this process looks at the file without the table.
    drop(std::fs::read(&path).unwrap());
    let Some(free) = Other::can_lock(&path, Mode::Exclusive) else {
        return;
    };
    assert!(!free);
    drop(two);
    assert_eq!(Other::can_lock(&path, Mode::Exclusive), Some(true));
}

#[test]
fn file_that_another_process_replaces_meanwhile_is_not_the_one_that_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    std::fs::write(&path, "old").unwrap();
    let table = real();
    let file = table.data_file(&path);
    drop(
        file.lock(Mode::Shared, Wait::Forever, Open::write(), Recheck::Replaced)
            .unwrap(),
    );
    let replace =
        "open(sys.argv[1] + '.NEW', 'w').write('new!')\nos.rename(sys.argv[1] + '.NEW', sys.argv[1])";
    let Some(other) = Other::holding(&path, Mode::Exclusive, replace) else {
        return;
    };
    let waiting = thread::spawn(move || {
        let lock = file
            .lock(Mode::Shared, Wait::Forever, Open::write(), Recheck::Replaced)
            .unwrap();
        let mut map = Mapping::default();
        map.refresh(&lock).unwrap().to_vec()
    });
    thread::sleep(Duration::from_millis(50));
    other.finish();
    assert_eq!(waiting.join().unwrap(), b"new!");
}

#[test]
fn file_that_is_removed_meanwhile_is_missing_or_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    std::fs::write(&path, "old").unwrap();
    let table = real();
    let file = table.data_file(&path);
    drop(
        file.lock(Mode::Shared, Wait::Forever, Open::write(), Recheck::Replaced)
            .unwrap(),
    );
    std::fs::remove_file(&path).unwrap();
    let missing = file.lock(Mode::Shared, Wait::Forever, Open::write(), Recheck::Replaced);
    assert!(matches!(missing, Err(LockError::Disk(error)) if error.is_not_found()));
    let made = file
        .lock(Mode::Exclusive, Wait::Forever, Open::create(), Recheck::Replaced)
        .unwrap();
    assert_eq!(made.stat().size, 0);
    assert!(path.exists());
}

#[test]
fn mapping_follows_the_file_as_it_grows_shrinks_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let table = real();
    let file = table.data_file(&path);
    let mut map = Mapping::default();
    let lock = || {
        file.lock(Mode::Exclusive, Wait::Forever, Open::create(), Recheck::Replaced)
            .unwrap()
    };
    {
        let mut lock = lock();
        assert_eq!(map.refresh(&lock).unwrap(), b"");
        lock.write_at(b"one", 0).unwrap();
        assert_eq!(map.held(&lock), b"", "what was written has to be read anew");
        assert_eq!(map.refresh(&lock).unwrap(), b"one");
        lock.write_at(&[b'x'; 300_000], 3).unwrap();
        assert_eq!(map.refresh(&lock).unwrap().len(), 300_003);
        lock.truncate(2).unwrap();
        assert_eq!(map.held(&lock), b"");
        assert_eq!(map.refresh(&lock).unwrap(), b"on");
    }
    let mut lock = lock();
    assert_eq!(
        map.held(&lock),
        b"",
        "a mapping of an earlier lock is not readable under a later one"
    );
    let new = RealDisk
        .open(&dir.path().join("data.NEW"), Open::replace())
        .unwrap();
    new.write_at(b"replaced", 0).unwrap();
    lock.replace(&RealDisk, new).unwrap();
    assert_eq!(map.refresh(&lock).unwrap(), b"replaced");
    drop(lock);
    if let Some(free) = Other::can_lock(&path, Mode::Exclusive) {
        assert!(free, "the lock on the new file was given back");
    }
}
