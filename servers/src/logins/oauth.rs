//! Tokens of OAuth 2.0, as the `oauth_…` options have them. They are this server's own: Cyrus has nothing of the kind.

use std::sync::Arc;

use cyrus_proto::sasl::oauth::{
    Advice, ClaimRules, Introspection, IntrospectionOptions, Jwt, OAuth, TokenError, TokenVerifier,
};
use cyrus_proto::sasl::{Authenticator, Policy};

use crate::config::{Config, Opt};
use crate::settings::{self, SettingError};

/// Adds OAUTHBEARER and XOAUTH2 where the configuration says how tokens are verified, and `sasl_mech_list` has nothing
/// against it.
///
/// # Errors
/// A setting that cannot be carried out.
pub(super) fn beside(
    others: impl Authenticator + 'static,
    config: &Config,
    policy: Arc<dyn Policy>,
) -> Result<Arc<dyn Authenticator>, SettingError> {
    let Some(verifier) = verifier(config)? else {
        return Ok(Arc::new(others));
    };
    let listed = config
        .sasl_options()
        .find_map(|(name, list)| (name == "mech_list").then(|| list.to_owned()));
    let offered = |mechanism: &str| {
        listed.as_ref().is_none_or(|list| {
            list.split_whitespace()
                .any(|name| name.eq_ignore_ascii_case(mechanism))
        })
    };
    let advice = Advice {
        scope: config.text(Opt::OauthScope).map(Into::into),
        openid_configuration: config.text(Opt::OauthOpenidConfiguration).map(Into::into),
    };
    Ok(Arc::new(OAuth::new(others, verifier, policy, advice, offered)))
}

/// Whether tokens are taken at all.
pub(super) fn is_wanted(config: &Config) -> bool {
    config.is_set(Opt::OauthJwtKeys) || config.is_set(Opt::OauthIntrospectionUrl)
}

fn verifier(config: &Config) -> Result<Option<Tokens>, SettingError> {
    let rules = ClaimRules {
        user: config.string(Opt::OauthUsernameClaim),
        issuers: config.words(Opt::OauthIssuer),
        audiences: config.words(Opt::OauthAudience),
        scopes: config.words(Opt::OauthScope),
        ..ClaimRules::default()
    };
    let jwt = match config.file(Opt::OauthJwtKeys) {
        None => None,
        Some(keys) => {
            let jwt = Jwt::new(&keys, rules.clone());
            Some(jwt.map_err(|error| settings::bad(config, Opt::OauthJwtKeys, error))?)
        }
    };
    let introspection = match config.text(Opt::OauthIntrospectionUrl) {
        None => None,
        Some(url) => {
            let introspection = Introspection::new(IntrospectionOptions {
                url: url.into_owned(),
                client: config.text(Opt::OauthClientId).map(|id| {
                    let secret = config.text(Opt::OauthClientSecret).unwrap_or_default();
                    (id.into_owned(), secret.into_owned())
                }),
                tls: settings::outgoing_tls(config),
                timeout: config.duration(Opt::OauthTimeout).unwrap_or_default(),
                rules,
            });
            Some(introspection.map_err(|error| settings::bad(config, Opt::OauthIntrospectionUrl, error))?)
        }
    };
    Ok(match (jwt, introspection) {
        (None, None) => None,
        (jwt, introspection) => Some(Tokens { jwt, introspection }),
    })
}

/// JWTs are verified here if there are keys; everything else is asked about.
struct Tokens {
    jwt: Option<Jwt>,
    introspection: Option<Introspection>,
}

impl TokenVerifier for Tokens {
    fn owner(&self, token: &str) -> Result<String, TokenError> {
        match (&self.jwt, &self.introspection) {
            (Some(jwt), Some(_)) if Jwt::is_jwt(token) => jwt.owner(token),
            (_, Some(introspection)) => introspection.owner(token),
            (Some(jwt), None) => jwt.owner(token),
            (None, None) => Err(TokenError::Unavailable("nobody can verify tokens".to_owned())),
        }
    }
}
