//! The crate's only `unsafe`: libc's syslog and local time, inherited descriptors, what a child does before its program.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cyrus_conf::Moment;

/// Opens the system log under `ident` with the pid in each line; `debug` lets LOG_DEBUG through.
pub(crate) fn open_log(ident: &str, facility: c_int, debug: bool) {
    let Ok(ident) = CString::new(ident) else { return };
    let ident: &'static CString = Box::leak(Box::new(ident));
    // SAFETY: openlog keeps the pointer; the string was leaked on the line above and is never freed.
    unsafe { libc::openlog(ident.as_ptr(), libc::LOG_PID, facility) };
    let up_to = if debug { libc::LOG_DEBUG } else { libc::LOG_INFO };
    // SAFETY: setlogmask takes and returns plain numbers; the mask has a bit for each level up to `up_to`.
    unsafe { libc::setlogmask((1 << (up_to + 1)) - 1) };
}

/// Writes one line to the system log.
pub(crate) fn write_log(level: c_int, text: &str) {
    let Ok(text) = CString::new(text) else { return };
    // SAFETY: the format is a constant with one %s, and the one argument is a NUL-terminated string alive for the call.
    unsafe { libc::syslog(level, c"%s".as_ptr(), text.as_ptr()) };
}

/// Takes over descriptor `fd` that the parent left open, if it is open; a second call for one number gives `None`.
pub(crate) fn inherited(fd: RawFd) -> Option<OwnedFd> {
    static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
    // SAFETY: F_GETFD reads the descriptor's flags and touches no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
        return None;
    }
    let mut taken = TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if taken.contains(&fd) {
        return None;
    }
    taken.push(fd);
    // SAFETY: the descriptor is open (checked above), was open before this program began, and TAKEN gives it to one owner.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: F_SETFD sets the descriptor's flags and touches no memory.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Some(owned)
}

/// What a child sets up between fork and its program.
#[derive(Clone, Copy, Default)]
pub(crate) struct ChildSetup<'fd> {
    /// Becomes descriptor 3.
    pub(crate) status: Option<BorrowedFd<'fd>>,
    /// Becomes descriptor 4.
    pub(crate) listener: Option<BorrowedFd<'fd>>,
    /// The limit of open files.
    pub(crate) maxfds: Option<u32>,
    /// Whether it leads a process group of its own.
    pub(crate) own_group: bool,
}

/// Starts `command` with `setup`; the descriptors must have numbers above 4.
pub(crate) fn spawn(command: &mut Command, setup: ChildSetup<'_>) -> io::Result<std::process::Child> {
    let status = setup.status.map(|fd| fd.as_raw_fd());
    let listener = setup.listener.map(|fd| fd.as_raw_fd());
    if status.into_iter().chain(listener).any(|fd| fd <= LISTENER) {
        return Err(io::Error::other(
            "a descriptor for a child has a number that the child itself uses",
        ));
    }
    let ChildSetup {
        maxfds, own_group, ..
    } = setup;
    let before_exec = move || {
        for (from, to) in [(status, STATUS), (listener, LISTENER)] {
            // SAFETY: dup2 works on two numbers; `to` is not in use by this program (its own descriptors are above 4).
            if from.is_some_and(|from| unsafe { libc::dup2(from, to) } == -1) {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: setpgid works on numbers; 0 is the child itself.
        if own_group && unsafe { libc::setpgid(0, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
        if let Some(maxfds) = maxfds {
            let limit = libc::rlimit {
                rlim_cur: maxfds.into(),
                rlim_max: maxfds.into(),
            };
            // A limit above the hard one is refused; the child then keeps what it has.
            // SAFETY: the pointer is to a live local variable that setrlimit only reads.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        }
        Ok(())
    };
    // SAFETY: the closure only makes async-signal-safe system calls on numbers it holds by value; it does not allocate or
    // lock. `setup` borrows the descriptors until this function returns, and by then the child has been forked.
    unsafe { command.pre_exec(before_exec) };
    command.spawn()
}

/// The descriptor on which a child reports to master.
pub(crate) const STATUS: RawFd = 3;
/// The descriptor of a child's listening socket.
pub(crate) const LISTENER: RawFd = 4;

/// The minute of local time at `time`.
pub(crate) fn local_minute(time: SystemTime) -> Option<Moment> {
    let time = broken_down(time)?;
    let field = |number: c_int| u8::try_from(number).ok();
    Some(Moment {
        minute: field(time.tm_min)?,
        hour: field(time.tm_hour)?,
        day: field(time.tm_mday)?,
        month: field(time.tm_mon + 1)?,
        weekday: field(time.tm_wday)?,
    })
}

/// Local time in the form of ctime(3), without the newline: `Tue Nov 24 18:07:55 2026`.
pub(crate) fn ctime(time: SystemTime) -> String {
    let Some(time) = broken_down(time) else {
        return String::new();
    };
    let name = |names: &[&'static str], at: c_int| {
        usize::try_from(at)
            .ok()
            .and_then(|at| names.get(at).copied())
            .unwrap_or("???")
    };
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        name(&["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], time.tm_wday),
        name(
            &[
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
            ],
            time.tm_mon
        ),
        time.tm_mday,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
        time.tm_year + 1900,
    )
}

fn broken_down(time: SystemTime) -> Option<libc::tm> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let seconds = libc::time_t::try_from(seconds).ok()?;
    // SAFETY: `tm` is a plain C struct of numbers and a pointer, for which all zeroes is a valid value.
    let mut fields: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live local variables; localtime_r writes only to the second.
    let done = unsafe { libc::localtime_r(&seconds, &mut fields) };
    (!done.is_null()).then_some(fields)
}
