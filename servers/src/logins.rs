//! Logins through libsasl2, as imapd.conf has them: the library's options, the spelling of userids, and who may act for
//! whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cyrus_acl::{Mechanism, Rights};
use cyrus_proto::sasl::{
    Authenticator, ConnectionFacts, CyrusSasl, CyrusSaslOptions, LogLevel, Policy, SaslError, SaslLog,
};

use cyrus_store::{MailboxName, Store};

use crate::config::{Config, Opt};
use crate::environment::HostNames;
use crate::settings;
use crate::syslog::{Level, log};

use self::denied::Barred;
use self::limit::Limited;
use crate::denied::Denied;

mod denied;
mod doubts;
mod limit;

/// The authenticator of a service.
///
/// # Errors
/// libsasl2 cannot be set up.
pub fn authenticator(config: &Config, store: &Store) -> Result<impl Authenticator + use<>, SaslError> {
    let mut options = CyrusSaslOptions::new(&settings::servername(config));
    options.options = config
        .sasl_options()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect::<HashMap<_, _>>();
    let layer = |option| u32::try_from(config.int(option)).unwrap_or_default();
    options.minimum_layer = layer(Opt::SaslMinimumLayer);
    options.maximum_layer = layer(Opt::SaslMaximumLayer);
    options.policy = Arc::new(SitePolicy {
        mechanism: Arc::clone(&store.options().mechanism),
        by_acl: config.switch(Opt::Loginuseacl).then(|| store.clone()),
        admins: settings::admins(config),
        proxies: config.words(Opt::Proxyservers),
        default_domain: config.text(Opt::Defaultdomain).map(Into::into),
        virtual_domains: config.choice(Opt::Virtdomains) != "off",
        realms: config.words(Opt::Loginrealms),
        server_name: settings::servername(config),
        names: (config.choice(Opt::Virtdomains) == "on").then(HostNames::default),
    });
    options.log = Arc::new(LibraryLog);
    let settings = options.options.clone();
    let authenticator = CyrusSasl::new(options)?;
    let offered = authenticator.mechanisms(&everything());
    for doubt in doubts::doubts(&settings, &offered) {
        log(Level::Warning, &format!("{}: {doubt}", config.path().display()));
    }
    let barred = Barred::new(
        authenticator,
        Denied::new(store.clone(), config.service()),
        settings::admins(config),
        config.service(),
    );
    Ok(Limited::new(barred, AT_ONCE))
}

/// Logins that are verified at a time: more than the workers that always run, fewer than there can be in need.
const AT_ONCE: usize = 40;

/// A connection on which every mechanism may be used.
fn everything() -> ConnectionFacts {
    ConnectionFacts {
        service: "imap".to_owned(),
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
        if let Some(realm) = realm.filter(|realm| !realm.is_empty() && !self.is_local(realm))
            && !user.contains('@')
        {
            user = format!("{user}@{realm}");
        }
        if let Some((local, domain)) = user.split_once('@') {
            if self.is_local(domain) {
                user = local.to_owned();
            } else if !self.virtual_domains
                && !self.realms.iter().any(|realm| realm.eq_ignore_ascii_case(domain))
            {
                return None;
            }
        }
        self.mechanism.canonical(&user).ok()
    }

    fn canonical_user_at(&self, user: &str, realm: Option<&str>, local: IpAddr) -> Option<String> {
        let own_realm = realm.is_none_or(|realm| realm.is_empty() || self.is_local(realm));
        let domain = self.names.as_ref().filter(|_| own_realm && !user.contains('@'));
        match domain.and_then(|names| domain_of(&names.of(local)?)) {
            Some(domain) => self.canonical_user(&format!("{user}@{domain}"), None),
            None => self.canonical_user(user, realm),
        }
    }

    fn may_act_as(&self, authenticated_as: &str, user: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == authenticated_as);
        listed(&self.admins) || listed(&self.proxies) || self.administers(authenticated_as, user)
    }
}

/// The domain of a host: `example.org` of `mail.example.org`.
fn domain_of(host: &str) -> Option<String> {
    let (_, domain) = host.trim_end_matches('.').split_once('.')?;
    Some(domain.to_ascii_lowercase()).filter(|domain| !domain.is_empty())
}

impl SitePolicy {
    /// Whether the INBOX of `user` gives the right to administer it, where that counts.
    fn administers(&self, authenticated_as: &str, user: &str) -> bool {
        let Some(store) = &self.by_acl else { return false };
        let rights = || -> Result<Rights, Box<dyn std::error::Error>> {
            let entry = store.lookup(&MailboxName::inbox_of(user)?)?;
            let auth = store.auth(authenticated_as)?;
            Ok(entry.map_or(Rights::NONE, |entry| store.rights(&entry, &auth)))
        };
        match rights() {
            Ok(rights) => rights.contains(Rights::ADMIN),
            Err(error) => {
                log(
                    Level::Warning,
                    &format!("rights of {authenticated_as} on the INBOX of {user}: {error}"),
                );
                false
            }
        }
    }

    fn is_local(&self, domain: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(domain);
        self.default_domain.as_deref().is_some_and(is) || is(&self.server_name)
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
