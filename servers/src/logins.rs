//! Logins as imapd.conf has them: libsasl2 with its options, tokens of OAuth 2.0 beside it, the spelling of userids, who may
//! act for whom, and patience with those who guess.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cyrus_acl::{AuthState, Identifier, Mechanism, Rights};
use cyrus_proto::sasl::{
    Authenticator, Backoff, BackoffLimits, ConnectionFacts, CyrusSasl, CyrusSaslOptions, LogLevel, Policy,
    SaslError, SaslLog,
};

use cyrus_store::{MailboxName, Store};

use crate::config::{Config, Opt};
use crate::environment::HostNames;
use crate::settings;
use crate::syslog::{Level, log};

use self::denied::Barred;
use self::doubts::Setup;
use self::limit::Limited;
use crate::denied::Denied;

mod denied;
mod doubts;
pub(crate) mod keytab;
mod limit;
mod oauth;

/// The authenticator of a service that Kerberos knows as `protocol` (`imap`, `lmtp`).
///
/// # Errors
/// libsasl2 cannot be set up, or the settings for tokens cannot be carried out.
pub fn authenticator(
    config: &Config,
    store: &Store,
    protocol: &str,
) -> Result<impl Authenticator + use<>, SaslError> {
    let mut options = CyrusSaslOptions::new(&settings::servername(config));
    options.options = config
        .sasl_options()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect::<HashMap<_, _>>();
    let layer = |option| u32::try_from(config.int(option)).unwrap_or_default();
    options.minimum_layer = layer(Opt::SaslMinimumLayer);
    options.maximum_layer = layer(Opt::SaslMaximumLayer);
    let policy: Arc<dyn Policy> = Arc::new(SitePolicy::new(config, store));
    options.policy = Arc::clone(&policy);
    options.log = Arc::new(LibraryLog);
    let setup = Setup::new(config, protocol, options.options.clone());
    options.hidden = setup.hidden();
    let authenticator = oauth::beside(CyrusSasl::new(options)?, config, policy)
        .map_err(|error| SaslError::Setup(error.to_string()))?;
    let offered = authenticator.mechanisms(&everything(protocol));
    log(Level::Notice, &setup.summary(&offered));
    for doubt in setup.doubts(&offered) {
        log(Level::Warning, &format!("{}: {doubt}", config.path().display()));
    }
    let number = |option| u32::try_from(config.int(option)).unwrap_or_default();
    let limits = BackoffLimits {
        per_host: number(Opt::FailedloginLimitPerHost),
        per_user: number(Opt::FailedloginLimitPerUser),
        longest: config.duration(Opt::FailedloginLongestWait).unwrap_or_default(),
        ..BackoffLimits::default()
    };
    let barred = Barred::new(
        authenticator,
        Denied::new(store.clone(), config.service()),
        settings::admins(config),
        config.service(),
    );
    Ok(Limited::new(Backoff::new(barred, limits), AT_ONCE))
}

/// Logins that are verified at a time: more than the workers that always run, fewer than there can be in need.
const AT_ONCE: usize = 40;

/// A connection on which every mechanism may be used.
fn everything(protocol: &str) -> ConnectionFacts {
    ConnectionFacts {
        service: protocol.to_owned(),
        external_strength: 256,
        allow_plaintext: true,
        allow_anonymous: true,
        ..ConnectionFacts::default()
    }
}

/// The site's rules about user names.
struct SitePolicy {
    mechanism: Arc<dyn Mechanism>,
    /// `loginuseacl`: whoever administers a user's INBOX may act as that user.
    by_acl: Option<Store>,
    admins: Vec<String>,
    proxies: Vec<String>,
    default_domain: Option<String>,
    virtual_domains: bool,
    realms: Vec<String>,
    server_name: String,
    /// `virtdomains: on`: whoever names no domain is of that of the address that he came to.
    names: Option<HostNames>,
}

impl Policy for SitePolicy {
    fn canonical_user(&self, user: &str, realm: Option<&str>) -> Option<String> {
        let mut user = user.to_owned();
        if !user.contains('@')
            && let Some(realm) = realm.filter(|realm| !realm.is_empty())
            && let Some(local) = self.mechanism.local_identity(&format!("{user}@{realm}"))
        {
            return Some(local);
        }
        if let Some(local) = self.mechanism.local_identity(&user) {
            return Some(local);
        }
        if let Some(realm) = realm.filter(|realm| !realm.is_empty() && !self.is_own_realm(realm))
            && !user.contains('@')
        {
            user = format!("{user}@{realm}");
        }
        if let Some((local, domain)) = user.split_once('@') {
            if self.is_local(domain) {
                user = local.to_owned();
            } else if (!self.virtual_domains || !self.realms.is_empty())
                && !self.realms.iter().any(|realm| realm.eq_ignore_ascii_case(domain))
            {
                log(Level::Debug, &format!("cross-realm login {user} denied"));
                return None;
            }
        }
        self.mechanism.canonical(&user).ok()
    }

    fn canonical_user_at(&self, user: &str, realm: Option<&str>, local: IpAddr) -> Option<String> {
        if self.mechanism.local_identity(user).is_some() {
            return self.canonical_user(user, realm);
        }
        let own_realm = realm.is_none_or(|realm| realm.is_empty() || self.is_own_realm(realm));
        let domain = self.names.as_ref().filter(|_| own_realm && !user.contains('@'));
        match domain.and_then(|names| domain_of(&names.of(local)?)) {
            Some(domain) => self.canonical_user(&format!("{user}@{domain}"), None),
            None => self.canonical_user(user, realm),
        }
    }

    fn may_act_as(&self, authenticated_as: &str, user: &str) -> bool {
        let auth = match self.mechanism.auth_state(authenticated_as) {
            Ok(auth) => auth,
            Err(error) => {
                log(Level::Warning, &format!("groups of {authenticated_as}: {error}"));
                return false;
            }
        };
        is_listed(&self.admins, &auth) || is_listed(&self.proxies, &auth) || self.administers(&auth, user)
    }
}

/// Whether a list of userids and groups has this user.
fn is_listed(list: &[String], auth: &AuthState) -> bool {
    let has = |word: &String| {
        word == auth.userid() || Identifier::stored(word).is_ok_and(|identifier| auth.member_of(&identifier))
    };
    list.iter().any(has)
}

/// The domain of a host: `example.org` of `mail.example.org`.
fn domain_of(host: &str) -> Option<String> {
    let (_, domain) = host.trim_end_matches('.').split_once('.')?;
    Some(domain.to_ascii_lowercase()).filter(|domain| !domain.is_empty())
}

impl SitePolicy {
    fn new(config: &Config, store: &Store) -> Self {
        Self {
            mechanism: Arc::clone(&store.options().mechanism),
            by_acl: config.switch(Opt::Loginuseacl).then(|| store.clone()),
            admins: settings::admins(config),
            proxies: config.words(Opt::Proxyservers),
            default_domain: config.text(Opt::Defaultdomain).map(Into::into),
            virtual_domains: config.choice(Opt::Virtdomains) != "off",
            realms: config.words(Opt::Loginrealms),
            server_name: settings::servername(config),
            names: (config.choice(Opt::Virtdomains) == "on").then(HostNames::default),
        }
    }

    /// Whether the INBOX of `user` gives the right to administer it, where that counts.
    fn administers(&self, auth: &AuthState, user: &str) -> bool {
        let Some(store) = &self.by_acl else { return false };
        let rights = || -> Result<Rights, Box<dyn std::error::Error>> {
            let entry = store.lookup(&MailboxName::inbox_of(user)?)?;
            Ok(entry.map_or(Rights::NONE, |entry| store.rights(&entry, auth)))
        };
        match rights() {
            Ok(rights) => rights.contains(Rights::ADMIN),
            Err(error) => {
                log(
                    Level::Warning,
                    &format!("rights of {} on the INBOX of {user}: {error}", auth.userid()),
                );
                false
            }
        }
    }

    /// Whether users of this domain are written without it. With virtual domains only the default one is: users of a domain
    /// that is called like the server are others.
    fn is_local(&self, domain: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(domain);
        self.default_domain.as_deref().is_some_and(is) || !self.virtual_domains && is(&self.server_name)
    }

    /// Whether a mechanism tells this realm for users who gave none.
    fn is_own_realm(&self, realm: &str) -> bool {
        self.is_local(realm) || self.server_name.eq_ignore_ascii_case(realm)
    }
}

/// Passes the library's messages on. Only its own failures are errors for an administrator.
struct LibraryLog;

impl SaslLog for LibraryLog {
    fn message(&self, level: LogLevel, text: &str) {
        let level = match level {
            LogLevel::Error => Level::Error,
            LogLevel::Failure => Level::Notice,
            LogLevel::Warning => Level::Warning,
            LogLevel::Note => Level::Info,
            LogLevel::Debug => Level::Debug,
        };
        log(level, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyrus_store::StoreOptions;

    /// A site with virtual domains where addresses have the name of their last number.
    fn policy(named: bool) -> SitePolicy {
        SitePolicy {
            mechanism: Arc::clone(&StoreOptions::new("/nonexistent").mechanism),
            by_acl: None,
            admins: Vec::new(),
            proxies: Vec::new(),
            default_domain: Some("example.test".to_owned()),
            virtual_domains: true,
            realms: Vec::new(),
            server_name: "localhost".to_owned(),
            names: named.then(|| {
                HostNames::asking(|address| match address.to_string().as_str() {
                    "127.0.0.2" => Some("mail.Other.test".to_owned()),
                    "127.0.0.3" => Some("imap.example.test".to_owned()),
                    _ => Some("localhost".to_owned()),
                })
            }),
        }
    }

    #[test]
    fn where_domains_follow_addresses_they_are_those_of_the_names_of_the_addresses() {
        for (named, user, address, canonical) in [
            (true, "bovik", "127.0.0.2", "bovik@other.test"),
            (true, "bovik", "127.0.0.3", "bovik"),
            (true, "bovik", "127.0.0.1", "bovik"),
            (true, "bovik@example.test", "127.0.0.2", "bovik"),
            (true, "bovik@third.test", "127.0.0.2", "bovik@third.test"),
            (false, "bovik", "127.0.0.2", "bovik"),
        ] {
            let address = address.parse().unwrap();
            let found = policy(named).canonical_user_at(user, None, address);
            assert_eq!(found.as_deref(), Some(canonical), "{user} at {address}");
        }
    }
}
