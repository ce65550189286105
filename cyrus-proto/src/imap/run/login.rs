//! Logins: what blocks in LOGIN and AUTHENTICATE.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_acl::AuthState;

use super::{Outcome, referral};
use crate::imap::session::{ImapService, User};
use crate::job::Job;
use crate::output::Output;
use crate::sasl::{ConnectionFacts, Exchange, Login, SaslError, Turn};

/// How a turn of a login ended.
pub(in crate::imap) enum LoginTurn {
    /// The client is asked for more.
    Challenge {
        data: Vec<u8>,
        exchange: Box<dyn Exchange>,
    },
    /// Refused; `user` is the name tried, or the mechanism.
    Failed { user: String, error: SaslError },
    /// The credentials are right, but name nobody.
    NoIdentity { user: String, reason: String },
    /// Logged in.
    Done { login: Login, user: User },
}

/// LOGIN.
pub(in crate::imap) fn login(
    service: Arc<ImapService>,
    facts: ConnectionFacts,
    user: Vec<u8>,
    password: Vec<u8>,
    anonymous: bool,
) -> Job {
    Job::once(move |_: &mut Output| {
        let name = crate::imap::command::lex::printable(&user);
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
        outcome(&service, name, checked.map(Turn::Done))
    })
}

/// AUTHENTICATE, its first turn.
pub(in crate::imap) fn authenticate(
    service: Arc<ImapService>,
    facts: ConnectionFacts,
    mechanism: String,
    initial: Option<Vec<u8>>,
) -> Job {
    Job::once(move |_: &mut Output| {
        let turn = service
            .authenticator
            .start(&facts, &mechanism, initial.as_deref());
        outcome(&service, mechanism, turn)
    })
}

/// AUTHENTICATE, a further turn.
pub(in crate::imap) fn authenticate_step(
    service: Arc<ImapService>,
    exchange: Box<dyn Exchange>,
    response: Vec<u8>,
) -> Job {
    Job::once(move |_: &mut Output| {
        let turn = exchange.step(&response);
        outcome(&service, "SASL".to_owned(), turn)
    })
}

fn outcome(service: &ImapService, user: String, turn: Result<Turn, SaslError>) -> Outcome {
    Outcome::Login(Box::new(match turn {
        Ok(Turn::Challenge { data, exchange }) => LoginTurn::Challenge { data, exchange },
        Err(error) => LoginTurn::Failed { user, error },
        Ok(Turn::Done(login)) => match identity(service, &login) {
            Ok(user) => LoginTurn::Done { login, user },
            Err(reason) => LoginTurn::NoIdentity {
                user: login.user,
                reason,
            },
        },
    }))
}

/// The user with his groups and powers.
fn identity(service: &ImapService, login: &Login) -> Result<User, String> {
    let name = login.user.clone();
    let auth = match name.as_str() {
        "anonymous" => AuthState::anonymous(),
        name => service.store.auth(name).map_err(|error| error.to_string())?,
    };
    let admin = service.options.admins.contains(&name);
    Ok(User {
        referral: referral::home(&service.store, &name),
        auth: auth.with_admin(admin),
        name,
        session_id: session_id(&service.options.servername),
    })
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
