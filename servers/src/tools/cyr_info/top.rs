//! `cyr_info top`: who is at work on the server right now, in the terminal, again and again; what the proc directory and
//! the system know of sessions of this server and of Cyrus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::procdir;
use crate::tools::time;

/// Shows the sessions of a proc directory until somebody presses `q`; once only where nobody can.
pub(super) fn run(directory: &Path, interval: Duration, once: bool, out: &mut dyn Write) -> u8 {
    let mut before = Sample::take(directory, None);
    if once || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        // How busy a process is shows only over a time.
        std::thread::sleep(SHORT);
        let now = Sample::take(directory, Some(&before));
        let _ = out.write_all(frame(&now, Order::User, usize::MAX, usize::MAX).as_bytes());
        let _ = out.flush();
        return 0;
    }
    let screen = match Screen::enter() {
        Ok(screen) => screen,
        Err(error) => {
            eprintln!("cyr_info: {error}");
            return 1;
        }
    };
    let mut order = Order::User;
    let mut now = Sample::take(directory, Some(&before));
    loop {
        let (rows, columns) = window();
        let shown = frame(&now, order, rows, columns).replace('\n', "\r\n");
        let written = write!(out, "\x1b[H\x1b[2J{}", shown.trim_end()).and_then(|()| out.flush());
        if written.is_err() {
            break;
        }
        match screen.key(interval) {
            Some(b'q' | 3 | 4) => break,
            Some(b'u') => order = Order::User,
            Some(b's') => order = Order::Service,
            Some(b'h') => order = Order::Host,
            Some(b't') => order = Order::Time,
            Some(_) => {}
            None => {
                before = now;
                now = Sample::take(directory, Some(&before));
            }
        }
    }
    0
}

/// Rows and columns of the terminal; those of old where it does not know.
fn window() -> (usize, usize) {
    let size = tcgetwinsize(io::stdout()).ok();
    let known = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or((24, 80), |size| {
        (usize::from(size.ws_row), usize::from(size.ws_col))
    })
}

/// By what sessions are sorted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    User,
    Service,
    Host,
    Time,
}

/// One session.
struct Session {
    service: String,
    client: String,
    user: String,
    mailbox: String,
    command: String,
    /// Seconds since its file was last changed.
    age: u64,
}

/// One process that serves.
struct Process {
    services: BTreeSet<String>,
    sessions: usize,
    /// Ticks of processor time since it began.
    ticks: u64,
    /// Of a processor, since the sample before.
    percent: Option<u64>,
    /// Resident memory, KiB.
    memory: u64,
}

/// What there is at one moment.
struct Sample {
    at: Instant,
    sessions: Vec<Session>,
    processes: BTreeMap<u32, Process>,
}

impl Sample {
    fn take(directory: &Path, before: Option<&Self>) -> Self {
        let at = Instant::now();
        let mut sample = Self {
            at,
            sessions: Vec::new(),
            processes: BTreeMap::new(),
        };
        // No directory: nothing has run yet.
        for (number, line) in procdir::sessions(directory).unwrap_or_default() {
            let path = directory.join(number.to_string());
            let mut fields = line.split('\t').map(printable);
            let mut next = || fields.next().unwrap_or_default();
            let session = Session {
                service: next(),
                client: next(),
                user: next(),
                mailbox: next(),
                command: next(),
                age: age_of(&path),
            };
            let owner = procdir::owner_of(&path).unwrap_or(number);
            let process = sample
                .processes
                .entry(owner)
                .or_insert_with(|| Process::of(owner));
            process.sessions += 1;
            process.services.insert(session.service.clone());
            sample.sessions.push(session);
        }
        if let Some(before) = before {
            let elapsed = at.saturating_duration_since(before.at);
            for (pid, process) in &mut sample.processes {
                let earlier = before.processes.get(pid);
                process.percent = earlier.and_then(|earlier| percent(earlier.ticks, process.ticks, elapsed));
            }
        }
        sample
    }
}

impl Process {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let memory = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages = memory
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        Self {
            services: BTreeSet::new(),
            sessions: 0,
            ticks: ticks(&status).unwrap_or(0),
            percent: None,
            memory: pages.unwrap_or(0) * page / 1024,
        }
    }
}

/// User and system time in a line of `/proc/PID/stat`, whose second field, in parentheses, may hold anything.
fn ticks(status: &str) -> Option<u64> {
    let (_, rest) = status.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn percent(before: u64, now: u64, elapsed: Duration) -> Option<u64> {
    let possible = u128::from(rustix::param::clock_ticks_per_second()) * elapsed.as_millis() / 1000;
    let used = u128::from(now.checked_sub(before)?) * 100;
    u64::try_from(used.checked_div(possible)?).ok()
}

fn age_of(path: &Path) -> u64 {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = changed
        .ok()
        .and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.map_or(0, |age| age.as_secs())
}

/// A field that cannot move the cursor.
fn printable(field: &str) -> String {
    field
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// What is shown of a moment in a window of this size.
fn frame(sample: &Sample, order: Order, rows: usize, columns: usize) -> String {
    let count = |of: fn(&Session) -> &str| {
        let different: BTreeSet<&str> = sample
            .sessions
            .iter()
            .map(of)
            .filter(|text| !text.is_empty())
            .collect();
        different.len()
    };
    let mut lines = vec![format!(
        "{}  sessions {}  users {}  clients {}  processes {}",
        time::format(time::now(), "%H:%M:%S"),
        sample.sessions.len(),
        count(|session| &session.user),
        count(|session| &session.client),
        sample.processes.len(),
    )];
    lines.push(format!(
        "{:>8} {:>5} {:>8} {:>8} SERVICE",
        "PID", "CPU%", "MEM KiB", "SESSIONS"
    ));
    let mut processes: Vec<(&u32, &Process)> = sample.processes.iter().collect();
    processes.sort_by_key(|(_, process)| std::cmp::Reverse((process.percent, process.sessions)));
    // Half of the window at most, so that sessions have room.
    let room = (rows / 2).saturating_sub(2).max(1);
    for (pid, process) in processes.iter().take(room) {
        let percent = process
            .percent
            .map_or_else(|| "-".to_owned(), |percent| percent.to_string());
        let services: Vec<&str> = process.services.iter().map(String::as_str).collect();
        lines.push(format!(
            "{pid:>8} {percent:>5} {:>8} {:>8} {}",
            process.memory,
            process.sessions,
            services.join(",")
        ));
    }
    if processes.len() > room {
        lines.push(format!("{:>8} more", processes.len() - room));
    }
    lines.push(String::new());
    let mut sessions: Vec<&Session> = sample.sessions.iter().collect();
    sessions.sort_by(|one, other| match order {
        Order::User => (&one.user, &one.service).cmp(&(&other.user, &other.service)),
        Order::Service => (&one.service, &one.user).cmp(&(&other.service, &other.user)),
        Order::Host => (&one.client, &one.user).cmp(&(&other.client, &other.user)),
        Order::Time => other.age.cmp(&one.age),
    });
    let widths = Widths::of(&sessions);
    lines.push(widths.line("USER", "SERVICE", "CLIENT", "SINCE", "MAILBOX", "COMMAND"));
    for session in sessions {
        let age = since(session.age);
        lines.push(widths.line(
            &session.user,
            &session.service,
            &session.client,
            &age,
            &session.mailbox,
            &session.command,
        ));
    }
    if rows != usize::MAX {
        lines.truncate(rows.saturating_sub(1));
        lines.push("q quit  sort: u user  s service  h host  t time".to_owned());
    }
    lines
        .into_iter()
        .map(|line| {
            let shown: String = line.trim_end().chars().take(columns).collect();
            format!("{shown}\n")
        })
        .collect()
}

/// How wide the columns of sessions are.
struct Widths {
    user: usize,
    service: usize,
    client: usize,
    mailbox: usize,
}

impl Widths {
    fn of(sessions: &[&Session]) -> Self {
        let widest = |of: fn(&Session) -> &str, least: usize, most: usize| {
            let lengths = sessions.iter().map(|session| of(session).chars().count());
            lengths.max().unwrap_or(0).clamp(least, most)
        };
        Self {
            user: widest(|session| &session.user, 4, 24),
            service: widest(|session| &session.service, 7, 12),
            client: widest(|session| &session.client, 6, 32),
            mailbox: widest(|session| &session.mailbox, 7, 32),
        }
    }

    fn line(
        &self,
        user: &str,
        service: &str,
        client: &str,
        age: &str,
        mailbox: &str,
        command: &str,
    ) -> String {
        let cut = |text: &str, width: usize| -> String {
            let kept: String = text.chars().take(width).collect();
            format!("{kept:<width$}")
        };
        format!(
            "{} {} {} {age:>6} {} {command}",
            cut(user, self.user),
            cut(service, self.service),
            cut(client, self.client),
            cut(mailbox, self.mailbox),
        )
    }
}

/// `59s`, `12m`, `3h`, `4d`
fn since(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The terminal, as a view needs it; as it was before when dropped.
struct Screen {
    before: Termios,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        let screen = Self { before };
        io::stdout().write_all(b"\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    /// A key that is pressed within this time.
    fn key(&self, wait: Duration) -> Option<u8> {
        let stdin = io::stdin();
        let wait = Timespec::try_from(wait).ok();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        // A window that changes its size is drawn anew.
        let count = poll(&mut ready, wait.as_ref()).unwrap_or(0);
        if count == 0 {
            return None;
        }
        let mut key = [0];
        match stdin.lock().read(&mut key) {
            Ok(1) => Some(key[0]),
            // Nobody is there any longer.
            _ => Some(b'q'),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// How long a single look takes.
const SHORT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        let session = |user: &str, service: &str, age| Session {
            service: service.to_owned(),
            client: "localhost [127.0.0.1]".to_owned(),
            user: user.to_owned(),
            mailbox: format!("user.{user}"),
            command: "Idle".to_owned(),
            age,
        };
        let process = Process {
            services: BTreeSet::from(["imap".to_owned()]),
            sessions: 2,
            ticks: 7,
            percent: Some(12),
            memory: 4096,
        };
        Sample {
            at: Instant::now(),
            sessions: vec![session("zoe", "imap", 5), session("ann", "pop3", 400)],
            processes: BTreeMap::from([(17, process)]),
        }
    }

    fn users(frame: &str) -> Vec<&str> {
        frame
            .lines()
            .skip_while(|line| !line.starts_with("USER"))
            .skip(1)
            .filter_map(|line| line.split(' ').next())
            .collect()
    }

    #[test]
    fn sessions_are_sorted_as_asked_and_cut_to_the_window() {
        let sample = sample();
        let whole = frame(&sample, Order::User, usize::MAX, usize::MAX);
        assert!(
            whole.contains("sessions 2  users 2  clients 1  processes 1"),
            "{whole}"
        );
        assert!(
            whole.contains("      17    12     4096        2 imap\n"),
            "{whole}"
        );
        assert_eq!(users(&whole), ["ann", "zoe"]);
        assert!(
            whole.contains("ann  pop3    localhost [127.0.0.1]     6m user.ann Idle\n"),
            "{whole}"
        );
        assert_eq!(
            users(&frame(&sample, Order::Service, usize::MAX, 80)),
            ["zoe", "ann"]
        );
        assert_eq!(
            users(&frame(&sample, Order::Time, usize::MAX, 80)),
            ["ann", "zoe"]
        );
        let small = frame(&sample, Order::Host, 6, 20);
        assert_eq!(small.lines().count(), 6);
        assert!(small.lines().all(|line| line.chars().count() <= 20));
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let status = "17 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20";
        assert_eq!(ticks(status), Some(42));
        assert_eq!(ticks("noise"), None);
        assert_eq!(percent(10, 5, Duration::from_secs(1)), None);
    }

    #[test]
    fn what_a_file_says_cannot_move_the_cursor() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("4194305"), "imap\thost\u{1b}[2J\tann\t\t\n").unwrap();
        let sample = Sample::take(dir.path(), None);
        assert_eq!(sample.sessions[0].client, "host?[2J");
        let again = Sample::take(dir.path(), Some(&sample));
        assert_eq!(again.processes.len(), 1);
    }
}
