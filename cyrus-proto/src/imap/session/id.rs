//! ID (RFC 2971), with the fields of Cyrus.

use cyrus_store::Level;

use super::ImapSession;
use crate::imap::command::{Tag, lex};
use crate::imap::response::{Reply, put_id};

impl ImapSession {
    /// Says who we are and notes who the client is.
    pub(super) fn id(&mut self, tag: &Tag, fields: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let answer = match self.options().id_response {
            true => self.own_id(),
            false => Vec::new(),
        };
        self.write(|out| put_id(out, &answer));
        if !fields.is_empty() {
            let mut text = String::new();
            for (name, value) in fields {
                let value = value.as_deref().unwrap_or(b"NIL");
                let (name, value) = (lex::printable(name), lex::printable(value));
                text.push_str(&format!(" {name}=<{value}>"));
            }
            let peer = self.log_name();
            self.service
                .log
                .record(Level::Info, format_args!("client id: {peer}{text}"));
        }
        self.reply(tag, &Reply::ok("Completed"));
    }

    fn own_id(&self) -> Vec<(String, String)> {
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let locks = match cfg!(target_os = "linux") {
            true => "lock = fcntl; idle = inotify",
            false => "lock = fcntl; idle = poll",
        };
        [
            ("name", "Cyrus IMAPD".to_owned()),
            ("version", self.options().version.clone()),
            ("vendor", "cyrus-imap in Rust".to_owned()),
            ("os", text(system.sysname())),
            ("os-version", text(system.release())),
            ("environment", format!("mmap = shared; {locks}")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}
