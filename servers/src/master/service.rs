//! One listening socket of a service and the processes that serve it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::read;
use rustix::pipe::{PipeFlags, pipe_with};

use super::process::Program;
use crate::cyrus_conf::Service;
use crate::listen::Listener;
use crate::service::{MESSAGE_SIZE, Message, Status};

/// A listener with its accounts.
///
/// `ready` counts the processes that wait for a connection. While there is one, master leaves the socket alone;
/// otherwise it waits for the socket to become readable and starts another process.
pub(super) struct Slot {
    pub(super) entry: Service,
    pub(super) program: Program,
    /// Tells this slot from every other that there ever was.
    pub(super) number: u64,
    /// `imap/ipv4`, for messages.
    pub(super) label: String,
    /// The place of this address among those of the service.
    pub(super) index: usize,
    /// Gone once the service has been removed from cyrus.conf; the slot then waits for its processes to end.
    pub(super) socket: Option<OwnedFd>,
    status_read: OwnedFd,
    status_write: OwnedFd,
    partial: Vec<u8>,
    pub(super) ready: u32,
    pub(super) active: u32,
    pub(super) disabled: bool,
    forks: VecDeque<Instant>,
    failures: VecDeque<Instant>,
    retry_at: Option<Instant>,
    /// How many processes in a row ended as soon as they had begun.
    short_lives: u32,
}

impl Slot {
    pub(super) fn new(
        entry: Service,
        listener: Listener,
        index: usize,
        number: u64,
    ) -> std::io::Result<Self> {
        let (status_read, status_write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Children write whole messages and may wait for master to read them.
        rustix::io::ioctl_fionbio(&status_write, false)?;
        Ok(Self {
            number,
            program: Program::of(&entry.command),
            label: format!("{}/{}", entry.command.name, listener.family),
            entry,
            index,
            socket: Some(listener.socket),
            status_read,
            status_write,
            partial: Vec::new(),
            ready: 0,
            active: 0,
            disabled: false,
            forks: VecDeque::new(),
            failures: VecDeque::new(),
            retry_at: None,
            short_lives: 0,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.entry.command.name
    }

    pub(super) fn status_descriptor(&self) -> BorrowedFd<'_> {
        self.status_read.as_fd()
    }

    pub(super) fn status_for_child(&self) -> BorrowedFd<'_> {
        self.status_write.as_fd()
    }

    /// The messages that have come from processes of this service.
    pub(super) fn messages(&mut self) -> Vec<Message> {
        let mut buffer = [0; 64 * MESSAGE_SIZE];
        let mut messages = Vec::new();
        // A process that never stops talking must not keep master from everything else.
        for _ in 0..MOST_READS {
            let Ok(count @ 1..) = read(&self.status_read, &mut buffer) else {
                break;
            };
            self.partial
                .extend_from_slice(buffer.get(..count).unwrap_or_default());
            while let Some((message, rest)) = self.partial.split_first_chunk::<MESSAGE_SIZE>() {
                messages.extend(Message::decode(message));
                self.partial = rest.to_vec();
            }
        }
        messages
    }

    /// Whether one more process may be started now.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.socket.is_some()
            && !self.disabled
            && self.entry.maxchild.is_none_or(|most| self.active < most)
            && self.retry_at.is_none_or(|at| at <= now)
            && self.forks_left(now) > 0
    }

    /// Whether an idle process is missing that `prefork` asks for.
    pub(super) fn wants_idle(&self) -> bool {
        self.ready < self.entry.prefork
    }

    /// Whether master itself should wait for the socket to become readable.
    pub(super) fn wants_connections(&self, now: Instant) -> bool {
        self.ready == 0 && self.may_start(now)
    }

    /// When something may change without a signal or message, so that the loop should look again.
    pub(super) fn look_again_at(&self, now: Instant) -> Option<Instant> {
        if self.socket.is_none() || self.disabled {
            return None;
        }
        let rate = (self.forks_left(now) == 0)
            .then(|| self.forks.front().map(|first| *first + SECOND))
            .flatten();
        [self.retry_at.filter(|at| *at > now), rate]
            .into_iter()
            .flatten()
            .max()
    }

    fn forks_left(&self, now: Instant) -> usize {
        let Some(rate) = self.entry.maxforkrate else {
            return usize::MAX;
        };
        let recent = self
            .forks
            .iter()
            .filter(|at| now.duration_since(**at) < SECOND)
            .count();
        (rate as usize).saturating_sub(recent)
    }

    pub(super) fn started(&mut self, now: Instant) {
        self.ready += 1;
        self.active += 1;
        if self.entry.maxforkrate.is_some() {
            self.forks.push_back(now);
            while self
                .forks
                .front()
                .is_some_and(|at| now.duration_since(*at) >= SECOND)
            {
                self.forks.pop_front();
            }
        }
    }

    /// Accounts for the end of a process; returns a remark for the log.
    ///
    /// A process that fails before it has served anybody counts against the service: five within ten seconds disable it
    /// until the next SIGHUP, unless it is babysat. One that ends at once, well or not, delays the next.
    pub(super) fn ended(
        &mut self,
        status: Status,
        failed: bool,
        served: bool,
        age: Duration,
        now: Instant,
    ) -> Option<String> {
        self.active = self.active.saturating_sub(1);
        if status == Status::Ready {
            self.ready = self.ready.saturating_sub(1);
        }
        if served || age >= SECOND {
            self.short_lives = 0;
            self.retry_at = None;
        } else {
            self.short_lives = self.short_lives.saturating_add(1);
            self.retry_at = Some(now + delay(self.short_lives));
        }
        if !failed || status != Status::Ready {
            return None;
        }
        self.failures.push_back(now);
        while self
            .failures
            .front()
            .is_some_and(|at| now.duration_since(*at) > FAILURE_WINDOW)
        {
            self.failures.pop_front();
        }
        if self.failures.len() < MOST_FAILURES || self.entry.babysit {
            return None;
        }
        self.disabled = true;
        Some(format!(
            "too many failures for service {}, disabling until next SIGHUP",
            self.label
        ))
    }

    /// Gives the service a fresh chance.
    pub(super) fn forgive(&mut self) {
        self.disabled = false;
        self.failures.clear();
        self.retry_at = None;
        self.short_lives = 0;
    }
}

/// How long to wait before a program is started again that has ended at once `times` times in a row.
pub(super) fn delay(times: u32) -> Duration {
    FIRST_DELAY
        .saturating_mul(1 << times.saturating_sub(1).min(16))
        .min(LONGEST_DELAY)
}

const MOST_READS: usize = 64;
const SECOND: Duration = Duration::from_secs(1);
const FIRST_DELAY: Duration = Duration::from_millis(20);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
const FAILURE_WINDOW: Duration = Duration::from_secs(10);
const MOST_FAILURES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cyrus_conf::{Command, Listen, Proto};
    use crate::listen::bind_all;

    fn slot(change: impl FnOnce(&mut Service)) -> Slot {
        let mut entry = Service {
            command: Command {
                name: "imap".into(),
                argv: vec!["/bin/true".into()],
            },
            listen: Listen::Port {
                host: Some("127.0.0.1".into()),
                port: "0".into(),
            },
            proto: Proto::Tcp,
            prefork: 0,
            maxchild: None,
            maxfds: None,
            maxforkrate: None,
            babysit: false,
        };
        change(&mut entry);
        let (mut listeners, _) = bind_all(&entry.listen, entry.proto, 8);
        Slot::new(entry, listeners.remove(0), 0, 1).unwrap()
    }

    #[test]
    fn master_watches_the_socket_only_while_nobody_is_ready() {
        let (mut slot, now) = (slot(|_| ()), Instant::now());
        assert!(slot.wants_connections(now));
        slot.started(now);
        assert!(!slot.wants_connections(now));
        slot.ended(Status::Ready, false, true, SECOND, now);
        assert!(slot.wants_connections(now));
    }

    #[test]
    fn five_failures_in_a_row_disable_a_service_and_babysitting_prevents_that() {
        let now = Instant::now();
        for (babysit, disabled) in [(false, true), (true, false)] {
            let mut slot = slot(|entry| entry.babysit = babysit);
            for _ in 0..5 {
                slot.started(now);
                slot.ended(Status::Ready, true, false, Duration::ZERO, now);
            }
            assert_eq!(slot.disabled, disabled);
            slot.forgive();
            assert!(slot.may_start(now));
        }
    }

    #[test]
    fn a_program_that_ends_at_once_is_started_again_later_and_later() {
        let (mut slot, now) = (slot(|entry| entry.prefork = 1), Instant::now());
        slot.started(now);
        slot.ended(Status::Ready, false, false, Duration::ZERO, now);
        assert!(!slot.may_start(now));
        assert!(slot.may_start(now + FIRST_DELAY));
        assert_eq!(slot.look_again_at(now), Some(now + FIRST_DELAY));
        assert!(delay(2) > delay(1));
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }

    #[test]
    fn no_more_processes_start_than_maxchild_and_maxforkrate_allow() {
        let now = Instant::now();
        let mut few = slot(|entry| entry.maxchild = Some(1));
        few.started(now);
        assert!(!few.may_start(now));
        let mut slow = slot(|entry| entry.maxforkrate = Some(2));
        slow.started(now);
        slow.started(now);
        assert!(!slow.may_start(now));
        assert!(slow.may_start(now + SECOND));
    }

    #[test]
    fn messages_come_out_whole_even_when_they_arrive_in_parts() {
        let mut slot = slot(|_| ());
        let bytes = [
            Message {
                status: Status::Busy,
                served: false,
                pid: 7,
            }
            .encode(),
            [9; 8],
        ]
        .concat();
        rustix::io::write(&slot.status_write, &bytes[..5]).unwrap();
        assert_eq!(slot.messages(), []);
        rustix::io::write(&slot.status_write, &bytes[5..]).unwrap();
        assert_eq!(
            slot.messages().len(),
            1,
            "a message with an unknown number is dropped"
        );
    }
}
