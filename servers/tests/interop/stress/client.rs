//! One random client, which checks everything that it is told.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::view::{Allows, Flags, Known, View};
use super::{MAILBOXES, Stress, numbers};
use crate::rig::imap::{Imap, Reply};

/// What a client switches on at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Nothing,
    Condstore,
    Qresync,
}

pub(super) struct Client<'a> {
    stress: &'a Stress,
    number: u64,
    random: u64,
    port: u16,
    imap: Imap,
    extension: Extension,
    view: Option<View>,
    /// The last commands, for whoever has to find out.
    history: Vec<String>,
}

impl<'a> Client<'a> {
    pub(super) fn new(stress: &'a Stress, number: u64) -> io::Result<Self> {
        let ports = &stress.ports;
        let port = ports[usize::try_from(number).expect("few clients") % ports.len()];
        let mut client = Self {
            stress,
            number,
            random: (stress.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
            port,
            imap: Imap::login(port, "alice")?,
            extension: Extension::Nothing,
            view: None,
            history: Vec::new(),
        };
        client.extension = client.pick(&[Extension::Nothing, Extension::Condstore, Extension::Qresync]);
        match client.extension {
            Extension::Nothing => {}
            Extension::Condstore => drop(client.say("ENABLE CONDSTORE")?),
            Extension::Qresync => drop(client.say("ENABLE QRESYNC")?),
        }
        Ok(client)
    }

    /// Goes on until the time is up or something is wrong.
    pub(super) fn work(&mut self) -> Result<(), String> {
        while !self.stress.stop.load(Ordering::Relaxed) {
            let done = match self.below(25) {
                0 => self.meet(),
                _ => {
                    let _calm = self.stress.calm.read().unwrap_or_else(|lock| lock.into_inner());
                    self.anything()
                }
            };
            done.map_err(|wrong| {
                let last = self.history.len().saturating_sub(12);
                format!(
                    "client {} ({:?}, port {}): {wrong}\n  after {}",
                    self.number,
                    self.extension,
                    self.port,
                    self.history.get(last..).unwrap_or_default().join("\n        ")
                )
            })?;
            self.stress.commands.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn next(&mut self) -> u64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit.max(1))).expect("below a u32")
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(u32::try_from(from.len()).expect("a few")) as usize;
        from[at]
    }

    /// Sends a command that must not be BAD, and takes in what comes.
    fn tell(&mut self, command: &str, allows: Allows) -> Result<Reply, String> {
        let reply = self.say(command).map_err(|error| format!("{command}: {error}"))?;
        self.take(&reply, allows)
            .map_err(|wrong| format!("{command}: {wrong}"))?;
        Ok(reply)
    }

    fn say(&mut self, command: &str) -> io::Result<Reply> {
        self.history.push(command.to_owned());
        let reply = self.imap.command(command);
        let told = match &reply {
            Ok(reply) => format!("{:?} {}", reply.untagged, reply.status),
            Err(error) => error.to_string(),
        };
        self.history.push(told);
        if self.history.len() > 100 {
            self.history.drain(..50);
        }
        let reply = reply?;
        match reply.status.starts_with("BAD") {
            true => Err(io::Error::other(reply.status)),
            false => Ok(reply),
        }
    }

    fn take(&mut self, reply: &Reply, allows: Allows) -> Result<(), String> {
        let Some(view) = &mut self.view else { return Ok(()) };
        for response in &reply.untagged {
            view.hear(response, allows, &self.stress.facts)
                .map_err(|wrong| format!("{response:?}: {wrong}"))?;
        }
        Ok(())
    }

    fn anything(&mut self) -> Result<(), String> {
        let Some(view) = &self.view else {
            return self.select();
        };
        let (count, mailbox) = (view.len(), view.mailbox.clone());
        if count == 0 {
            return match self.below(3) {
                0 => self.append(&mailbox),
                1 => self.select(),
                _ => self.tell("NOOP", Allows::Anything).map(drop),
            };
        }
        // Few messages, so that clients meet at the same ones.
        match self.below(if count > 60 { 34 } else { 28 }) {
            0 => self.select(),
            1 => self.tell("CHECK", Allows::Anything).map(drop),
            2 | 3 => self.tell("NOOP", Allows::Anything).map(drop),
            4 | 5 => self.append(&mailbox),
            6 => self.append(MAILBOXES[0]),
            7 | 8 => self.fetch_all(),
            9 => self.fetch_some(),
            10 => self.fetch_body(),
            11 | 12 => self.store(false),
            13 | 14 => self.store(true),
            15 => self.store_unchanged(),
            16 => self.search(),
            17 => self.sort(),
            18 => self.copy("COPY"),
            19 => self.copy("UID COPY"),
            20 => self.copy("MOVE"),
            21 => self.copy("UID MOVE"),
            22 => self.tell("EXPUNGE", Allows::Anything).map(drop),
            23 => self.uid_expunge(),
            24 => self.close(),
            25 => self.idle(),
            26 => self.status(),
            27 => self.resync(),
            _ => self.delete_some(),
        }
    }

    /// Some messages by number, and the numbers that the set names.
    fn set(&mut self) -> (String, u32, u32) {
        let count = self.view.as_ref().map_or(1, View::len).max(1);
        let (a, b) = (1 + self.below(count), 1 + self.below(count));
        match self.below(3) {
            0 => (a.to_string(), a, a),
            1 => (format!("{a}:{b}"), a.min(b), a.max(b)),
            _ => (format!("{a}:{}", (a + 3).min(count)), a, (a + 3).min(count)),
        }
    }

    /// Some UIDs that the client knows.
    fn some_uids(&mut self) -> Vec<u32> {
        let uids = self.view.as_ref().map(View::uids).unwrap_or_default();
        let skip = self.below(u32::try_from(uids.len()).expect("few messages")) as usize;
        let take = 1 + self.below(4) as usize;
        uids.into_iter().skip(skip).take(take).collect()
    }

    fn select(&mut self) -> Result<(), String> {
        let mailbox = self.pick(&MAILBOXES);
        let examine = self.below(8) == 0;
        let verb = if examine { "EXAMINE" } else { "SELECT" };
        let gone_before = self.view.as_ref().map(|view| view.uidvalidity);
        // UIDVALIDITY is one for all mailboxes of one name here: nobody deletes them.
        let gone = gone_before.map(|uidvalidity| self.stress.facts.all_gone(mailbox, uidvalidity));
        let with = match (self.extension, self.below(2)) {
            (Extension::Condstore, 0) => " (CONDSTORE)",
            _ => "",
        };
        self.view = Some(View::new(mailbox, self.extension != Extension::Nothing));
        self.tell(&format!("{verb} \"{mailbox}\"{with}"), Allows::Anything)?;
        self.fetch_all()?;
        let (Some(view), Some(gone)) = (&self.view, gone) else {
            return Ok(());
        };
        match view
            .uids()
            .iter()
            .find(|uid| gone_before == Some(view.uidvalidity) && gone.contains(uid))
        {
            Some(uid) => Err(format!("{verb} {mailbox} shows UID {uid}, which is gone")),
            None => Ok(()),
        }
    }

    /// Leaves a mailbox and comes back by QRESYNC: what changed meanwhile is told.
    fn resync(&mut self) -> Result<(), String> {
        if self.extension != Extension::Qresync {
            return self.select();
        }
        // All must be known, or VANISHED cannot be applied.
        self.fetch_all()?;
        self.tell("NOOP", Allows::Anything)?;
        let Some(old) = self.view.take() else {
            return Ok(());
        };
        let modseq = old
            .messages
            .iter()
            .filter_map(|known| known.modseq)
            .max()
            .unwrap_or(1);
        let complete = old
            .messages
            .iter()
            .all(|known| known.uid.is_some() && known.modseq.is_some());
        if !complete || old.highestmodseq == 0 {
            return self.select();
        }
        let modseq = modseq.min(old.highestmodseq.max(1));
        let command = format!(
            "SELECT \"{}\" (QRESYNC ({} {modseq}))",
            old.mailbox, old.uidvalidity
        );
        let reply = self
            .say(&command)
            .map_err(|error| format!("{command}: {error}"))?;
        // Numbers are those of the new session: first what vanished, then what there is.
        let mut vanished = Vec::new();
        for data in reply.data("VANISHED") {
            if let [_earlier, uids] = data {
                vanished.extend(numbers(&uids.text()));
            }
        }
        let kept: Vec<Known> = old
            .messages
            .iter()
            .filter(|known| known.uid.is_some_and(|uid| !vanished.contains(&uid)))
            .cloned()
            .collect();
        let mut view = View::new(&old.mailbox, true);
        view.messages = kept;
        self.view = Some(view);
        self.take(&reply, Allows::Anything)
            .map_err(|wrong| format!("{command}: {wrong}"))
    }

    fn close(&mut self) -> Result<(), String> {
        let command = self.pick(&["CLOSE", "UNSELECT"]);
        let reply = self.say(command).map_err(|error| format!("{command}: {error}"))?;
        self.view = None;
        match reply.is_ok() {
            true => self.select(),
            false => Err(format!("{command}: {}", reply.status)),
        }
    }

    fn append(&mut self, mailbox: &str) -> Result<(), String> {
        let token = self.stress.tokens.fetch_add(1, Ordering::Relaxed);
        let subject = format!("Subject: token {token}");
        let message = format!(
            "{subject}\r\nFrom: client{}@example.com\r\n\r\nbody\r\n",
            self.number
        );
        let flags = self.pick(&["", "(\\Seen) ", "(\\Flagged) ", "(kw1 kw2) "]);
        self.history.push(format!("APPEND {mailbox} {flags}"));
        let reply = self.imap.append(mailbox, flags, message.as_bytes());
        let reply = reply.map_err(|error| format!("APPEND: {error}"))?;
        self.history
            .push(format!("{:?} {}", reply.untagged, reply.status));
        self.take(&reply, Allows::Anything)
            .map_err(|wrong| format!("APPEND: {wrong}"))?;
        let code = reply
            .code("APPENDUID")
            .ok_or_else(|| format!("APPEND: {}", reply.status))?;
        let (uidvalidity, uid) = code.split_once(' ').ok_or("APPENDUID")?;
        let uidvalidity = uidvalidity.parse().map_err(|_| "APPENDUID")?;
        let uid = uid.parse().map_err(|_| "APPENDUID")?;
        self.stress.facts.holds(mailbox, uidvalidity, uid, &subject)
    }

    /// Everything of every message: each is answered.
    fn fetch_all(&mut self) -> Result<(), String> {
        let count = self.view.as_ref().map_or(0, View::len);
        if count == 0 {
            return Ok(());
        }
        let items = match self.extension {
            Extension::Nothing => "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
            _ => "(UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
        };
        let reply = match self.below(2) {
            0 => self.tell(&format!("FETCH 1:* {items}"), Allows::NoExpunge)?,
            _ => self.tell(&format!("UID FETCH 1:* {items}"), Allows::Anything)?,
        };
        let answered = reply.fetched().count();
        let expunged = reply.numbered("EXPUNGE").count();
        // One that somebody expunged may be left out until the client is told.
        match answered == 0 && expunged == 0 && reply.is_ok() {
            true => Err(format!("FETCH 1:* of {count} messages answers none")),
            false => Ok(()),
        }
    }

    fn fetch_some(&mut self) -> Result<(), String> {
        let items = self.pick(&[
            "(FLAGS)",
            "(UID FLAGS)",
            "FAST",
            "(UID ENVELOPE)",
            "(UID BODYSTRUCTURE)",
        ]);
        let mut condstore = items.to_owned();
        if self.extension != Extension::Nothing && items.contains("FLAGS") {
            condstore = items.replace("FLAGS", "FLAGS MODSEQ");
        }
        if items == "FAST" && self.extension != Extension::Nothing {
            condstore = "(UID FLAGS MODSEQ)".to_owned();
        }
        let (set, first, last) = self.set();
        let reply = self.tell(&format!("FETCH {set} {condstore}"), Allows::NoExpunge)?;
        let answered: Vec<u64> = reply.numbered("FETCH").map(|(number, _)| number).collect();
        // RFC 2180, section 4.1: one that another session expunged may be left out, and then nothing of it is told.
        let more = answered
            .iter()
            .find(|number| !(first..=last).any(|asked| u64::from(asked) == **number));
        match more {
            Some(number) if !reply.is_ok() => Err(format!("FETCH {set} is refused, and tells of {number}")),
            _ => Ok(()),
        }
    }

    /// Reading a body sets `\Seen`.
    fn fetch_body(&mut self) -> Result<(), String> {
        let (set, ..) = self.set();
        match self.below(2) {
            0 => self.tell(
                &format!("FETCH {set} (UID BODY[HEADER.FIELDS (SUBJECT)])"),
                Allows::NoExpunge,
            ),
            _ => self.tell(&format!("FETCH {set} (UID BODY[TEXT])"), Allows::NoExpunge),
        }
        .map(drop)
    }

    fn store(&mut self, silent: bool) -> Result<(), String> {
        let flags: Flags = match self.below(6) {
            0 => ["\\Seen"].as_slice(),
            1 => &["\\Flagged"],
            2 => &["\\Answered", "\\Draft"],
            3 => &["\\Deleted"],
            4 => &["kw1"],
            _ => &["kw2", "\\Seen"],
        }
        .iter()
        .map(|flag| (*flag).to_owned())
        .collect();
        let how = self.pick(&["+FLAGS", "-FLAGS", "FLAGS"]);
        let list: Vec<&str> = flags.iter().map(String::as_str).collect();
        let what = format!(
            "{how}{} ({})",
            if silent { ".SILENT" } else { "" },
            list.join(" ")
        );
        let (targets, command) = if self.below(2) == 0 {
            let (set, first, last) = self.set();
            let targets: Vec<usize> = (first..=last).map(|number| number as usize - 1).collect();
            (targets, format!("STORE {set} {what}"))
        } else {
            let uids = self.some_uids();
            if uids.is_empty() {
                return Ok(());
            }
            let view = self.view.as_ref().ok_or("nothing is selected")?;
            let messages = view.messages.iter().enumerate();
            let named = messages.filter(|(_, known)| known.uid.is_some_and(|uid| uids.contains(&uid)));
            let targets = named.map(|(at, _)| at).collect();
            (targets, format!("UID STORE {} {what}", super::list(&uids)))
        };
        let allows = match command.starts_with("UID") {
            true => Allows::Anything,
            false => Allows::NoExpunge,
        };
        // What the client asked for it knows, unless it is told otherwise.
        let before = self.view.clone();
        let reply = self
            .say(&command)
            .map_err(|error| format!("{command}: {error}"))?;
        if silent && reply.is_ok() {
            let view = self.view.as_mut().ok_or("nothing is selected")?;
            for at in targets {
                let Some(known) = view.messages.get_mut(at) else {
                    continue;
                };
                let Some(old) = &mut known.flags else { continue };
                match how {
                    "+FLAGS" => old.extend(flags.iter().cloned()),
                    "-FLAGS" => old.retain(|flag| !flags.contains(flag)),
                    _ => *old = flags.clone(),
                }
            }
        }
        let taken = self.take(&reply, allows);
        taken.map_err(|wrong| format!("{command}: {wrong}, with {before:?}"))
    }

    fn store_unchanged(&mut self) -> Result<(), String> {
        if self.extension == Extension::Nothing {
            return self.store(true);
        }
        let (set, first, _) = self.set();
        let view = self.view.as_ref().ok_or("nothing is selected")?;
        let modseq = view
            .messages
            .get(first as usize - 1)
            .and_then(|known| known.modseq);
        let how = self.pick(&["+FLAGS", "-FLAGS"]);
        let command = format!(
            "STORE {set} (UNCHANGEDSINCE {}) {how} (\\Flagged kw2)",
            modseq.unwrap_or(1)
        );
        self.tell(&command, Allows::NoExpunge).map(drop)
    }

    fn search(&mut self) -> Result<(), String> {
        let key = self.pick(&[
            "ALL",
            "FLAGGED",
            "UNSEEN",
            "KEYWORD kw1",
            "SUBJECT token",
            "NOT DELETED",
            "1:*",
        ]);
        let count = self.view.as_ref().map_or(0, View::len);
        let (uid, ret) = (self.pick(&["", "UID "]), self.pick(&["", "RETURN (ALL COUNT) "]));
        let command = format!("{uid}SEARCH {ret}{key}");
        let allows = match uid {
            "" => Allows::NoExpunge,
            _ => Allows::Anything,
        };
        let reply = self.tell(&command, allows)?;
        let found = reply
            .data("SEARCH")
            .flatten()
            .filter_map(|number| number.number());
        let most = found.max().unwrap_or(0);
        match uid.is_empty() && most > u64::from(self.view.as_ref().map_or(count, View::len)) {
            true => Err(format!("{command} finds {most} of {count}")),
            false => Ok(()),
        }
    }

    fn sort(&mut self) -> Result<(), String> {
        let command = self.pick(&[
            "SORT (ARRIVAL) UTF-8 ALL",
            "SORT (REVERSE SUBJECT) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL",
            "THREAD ORDEREDSUBJECT UTF-8 ALL",
        ]);
        self.tell(command, Allows::NoExpunge).map(drop)
    }

    fn copy(&mut self, verb: &str) -> Result<(), String> {
        let from = self.view.as_ref().ok_or("nothing is selected")?.mailbox.clone();
        let to = self.pick(&MAILBOXES);
        if from == to {
            return Ok(());
        }
        let set = match verb.starts_with("UID") {
            true => super::list(&self.some_uids()),
            false => self.set().0,
        };
        if set.is_empty() {
            return Ok(());
        }
        let reply = self.tell(&format!("{verb} {set} \"{to}\""), Allows::Anything)?;
        let Some(code) = reply.code("COPYUID") else {
            return Ok(());
        };
        let words: Vec<&str> = code.split(' ').collect();
        let [_, sources, copies] = words.as_slice() else {
            return Err(format!("COPYUID {code}"));
        };
        match numbers(sources).len() == numbers(copies).len() {
            true => Ok(()),
            false => Err(format!("COPYUID {code}")),
        }
    }

    fn uid_expunge(&mut self) -> Result<(), String> {
        let uids = self.some_uids();
        match uids.is_empty() {
            true => Ok(()),
            false => self
                .tell(&format!("UID EXPUNGE {}", super::list(&uids)), Allows::Anything)
                .map(drop),
        }
    }

    fn delete_some(&mut self) -> Result<(), String> {
        let uids = super::list(&self.some_uids());
        if uids.is_empty() {
            return Ok(());
        }
        self.tell(&format!("UID STORE {uids} +FLAGS (\\Deleted)"), Allows::Anything)?;
        self.tell(&format!("UID EXPUNGE {uids}"), Allows::Anything)
            .map(drop)
    }

    fn idle(&mut self) -> Result<(), String> {
        self.history.push("IDLE".to_owned());
        self.imap.idle().map_err(|error| format!("IDLE: {error}"))?;
        std::thread::sleep(Duration::from_millis(u64::from(self.below(30))));
        let reply = self.imap.done().map_err(|error| format!("DONE: {error}"))?;
        self.history
            .push(format!("{:?} {}", reply.untagged, reply.status));
        self.take(&reply, Allows::Anything)
            .map_err(|wrong| format!("IDLE: {wrong}"))
    }

    fn status(&mut self) -> Result<(), String> {
        let mailbox = self.pick(&MAILBOXES);
        let command = format!("STATUS \"{mailbox}\" (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ)");
        self.tell(&command, Allows::Anything).map(drop)
    }

    /// While nobody else does anything: after NOOP the client knows what a new session is told.
    fn meet(&mut self) -> Result<(), String> {
        let _calm = self.stress.calm.write().unwrap_or_else(|lock| lock.into_inner());
        if self.view.is_none() {
            return Ok(());
        }
        self.tell("NOOP", Allows::Anything)?;
        let port = self.pick(&self.stress.ports);
        let view = self.view.as_ref().ok_or("it was there")?;
        let truth = look(port, &view.mailbox, &self.stress.facts)?;
        self.stress.meetings.fetch_add(1, Ordering::Relaxed);
        if let Some(difference) = view.difference(&truth) {
            return Err(format!("{} after NOOP: {difference}", view.mailbox));
        }
        let highest = truth.messages.iter().filter_map(|known| known.modseq).max();
        if highest.is_some_and(|highest| highest > truth.highestmodseq) {
            return Err(format!(
                "HIGHESTMODSEQ {} is below {highest:?}",
                truth.highestmodseq
            ));
        }
        Ok(())
    }
}

/// What a new session sees of a mailbox.
fn look(port: u16, mailbox: &str, facts: &super::facts::Facts) -> Result<View, String> {
    let mut imap = Imap::login(port, "alice").map_err(|error| format!("a new session: {error}"))?;
    let mut view = View::new(mailbox, true);
    for command in [
        format!("EXAMINE \"{mailbox}\" (CONDSTORE)"),
        "FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])".to_owned(),
    ] {
        let reply = imap
            .command(&command)
            .map_err(|error| format!("a new session: {error}"))?;
        for response in &reply.untagged {
            view.hear(response, Allows::NoExpunge, facts)
                .map_err(|wrong| format!("a new session: {response:?}: {wrong}"))?;
        }
    }
    Ok(view)
}
