//! Logins: what blocks in LOGIN and AUTHENTICATE.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_acl::AuthState;
use cyrus_store::{Level, MailboxId, Occasion};

use super::{Outcome, referral};
use crate::imap::session::{ImapService, User};
use crate::job::{Job, Peer};
use crate::output::Output;
use crate::sasl::{ConnectionFacts, Exchange, Login, SaslError, Turn};
use crate::surroundings::log_name;

/// How a turn of a login ended.
pub(in crate::imap) enum LoginTurn {
    /// The client is asked for more.
    Challenge {
        data: Vec<u8>,
        exchange: Box<dyn Exchange>,
    },
    /// Refused.
    Failed { error: SaslError },
    /// The credentials are right, but name nobody.
    NoIdentity { reason: String },
    /// The credentials are right, and there is no room.
    Full { login: Login, reason: String },
    /// Logged in.
    Done {
        login: Login,
        user: User,
        /// `msg/motd`
        notice: Option<String>,
    },
}

/// A turn of a login, and how the log names the client.
pub(in crate::imap) struct Turned {
    pub(in crate::imap) turn: LoginTurn,
    pub(in crate::imap) peer: String,
}

/// LOGIN.
pub(in crate::imap) fn login(
    service: Arc<ImapService>,
    facts: ConnectionFacts,
    peer: Peer,
    user: Vec<u8>,
    password: Vec<u8>,
    anonymous: bool,
) -> Job {
    Job::once(move |_: &mut Output| {
        let checked = match anonymous {
            true => Ok(Login {
                user: "anonymous".to_owned(),
                authenticated_as: "anonymous".to_owned(),
                mechanism: "plaintext".to_owned(),
                layer_strength: 0,
                layer: None,
                success_data: None,
            }),
            false => service.authenticator.check_password(&facts, &user, &password),
        };
        outcome(&service, &peer, checked.map(Turn::Done))
    })
}

/// AUTHENTICATE, its first turn.
pub(in crate::imap) fn authenticate(
    service: Arc<ImapService>,
    facts: ConnectionFacts,
    peer: Peer,
    mechanism: String,
    initial: Option<Vec<u8>>,
) -> Job {
    Job::once(move |_: &mut Output| {
        let turn = service
            .authenticator
            .start(&facts, &mechanism, initial.as_deref());
        outcome(&service, &peer, turn)
    })
}

/// AUTHENTICATE, a further turn.
pub(in crate::imap) fn authenticate_step(
    service: Arc<ImapService>,
    peer: Peer,
    exchange: Box<dyn Exchange>,
    response: Vec<u8>,
) -> Job {
    Job::once(move |_: &mut Output| {
        let turn = exchange.step(&response);
        outcome(&service, &peer, turn)
    })
}

fn outcome(service: &ImapService, peer: &Peer, turn: Result<Turn, SaslError>) -> Outcome {
    let surroundings = &service.options.surroundings;
    let turn = match turn {
        Ok(Turn::Challenge { data, exchange }) => LoginTurn::Challenge { data, exchange },
        Err(error) => LoginTurn::Failed { error },
        Ok(Turn::Done(login)) => match identity(service, &login) {
            Ok(mut user) => match surroundings.admit(&user.name, peer) {
                Ok(seat) => {
                    user.seat = seat.map(Mutex::new);
                    user.inbox = welcome(service, &user);
                    let notice = surroundings.message_of_the_day();
                    LoginTurn::Done { login, user, notice }
                }
                Err(reason) => LoginTurn::Full { login, reason },
            },
            Err(reason) => LoginTurn::NoIdentity { reason },
        },
    };
    let peer = log_name(&**surroundings, peer);
    Outcome::Login(Box::new(Turned { turn, peer }))
}

/// The user with his groups and powers.
fn identity(service: &ImapService, login: &Login) -> Result<User, String> {
    let name = login.user.clone();
    let auth = match name.as_str() {
        "anonymous" => AuthState::anonymous(),
        name => service.store.auth(name).map_err(|error| error.to_string())?,
    };
    let admin = auth.is_one_of(&service.options.admins);
    Ok(User {
        referral: referral::home(&service.store, &name),
        auth: auth.with_admin(admin),
        name,
        inbox: None,
        seat: None,
        warned: Mutex::new(None),
        session_id: session_id(&service.options.servername),
    })
}

/// Makes the INBOX of a user who has none, if the site wants that; else notes that he has none, gets no mail, and cannot say
/// why. Returns the INBOX.
fn welcome(service: &ImapService, user: &User) -> Option<MailboxId> {
    if user.is_admin() || user.auth.is_anonymous() {
        return None;
    }
    let namespace = &service.options.namespace;
    let name = &user.name;
    if let Err(error) = service.store.autocreate(name, Occasion::Login, namespace) {
        let what = format_args!("no INBOX could be made for {name}: {error}");
        service.log.record(Level::Error, what);
        return None;
    }
    let inbox = namespace.inbox(name).ok()?;
    let found = service.store.lookup(&inbox).ok()?;
    if found.is_none() {
        // As an administrator writes it.
        let shown = namespace.to_client(&inbox, None, true);
        let what =
            format_args!("{name} has logged in and has no INBOX; `createmailbox {shown}` in cyradm makes it");
        service.log.record(Level::Notice, what);
    }
    found?.id.clone()
}

/// `server-time-process-number-random`, as log readers know it.
fn session_id(servername: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().build_hasher().finish();
    format!("{servername}-{time}-{}-{number}-{random}", std::process::id())
}
