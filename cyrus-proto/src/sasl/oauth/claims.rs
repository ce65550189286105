//! What a token says of itself, and whether that is good enough here (RFC 7519, section 4.1; RFC 7662, section 2.2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::TokenError;

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules {
    /// The claim that names the user.
    pub user: String,
    /// Who may have issued it; anybody if empty.
    pub issuers: Vec<String>,
    /// For whom it may have been issued, any of these; for anybody if empty.
    pub audiences: Vec<String>,
    /// The scopes that it must give, all of these.
    pub scopes: Vec<String>,
    /// How much the clocks may differ.
    pub leeway: Duration,
}

impl Default for ClaimRules {
    fn default() -> Self {
        Self {
            user: "sub".to_owned(),
            issuers: Vec::new(),
            audiences: Vec::new(),
            scopes: Vec::new(),
            leeway: Duration::from_secs(60),
        }
    }
}

/// Whether a token must say until when it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It must.
    Told,
    /// Whoever was asked has looked at it.
    Known,
}

impl ClaimRules {
    /// The user that `claims` name, if they are good at `now`.
    ///
    /// # Errors
    /// What they lack.
    pub(super) fn user(
        &self,
        claims: &Map<String, Value>,
        expiry: Expiry,
        now: SystemTime,
    ) -> Result<String, TokenError> {
        let refused = |why: String| Err(TokenError::Invalid(why));
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        match seconds(claims, "exp")? {
            Some(end) if now >= end + leeway => return refused("it has expired".to_owned()),
            Some(_) => {}
            None if expiry == Expiry::Known => {}
            None => return refused("it has no exp, and would be good for ever".to_owned()),
        }
        if seconds(claims, "nbf")?.is_some_and(|begin| now + leeway < begin) {
            return refused("it is not good yet (nbf)".to_owned());
        }
        if seconds(claims, "iat")?.is_some_and(|issued| now + leeway < issued) {
            return refused("it was issued in the future (iat)".to_owned());
        }
        if !self.issuers.is_empty() {
            let issuer = claims.get("iss").and_then(Value::as_str);
            if !issuer.is_some_and(|issuer| self.issuers.iter().any(|known| known == issuer)) {
                return refused(format!("its issuer (iss) is {}", shown(claims.get("iss"))));
            }
        }
        if !self.audiences.is_empty() {
            let audience = words(claims.get("aud"), false);
            if !self
                .audiences
                .iter()
                .any(|ours| audience.contains(&ours.as_str()))
            {
                return refused(format!(
                    "it was issued for others (aud is {})",
                    shown(claims.get("aud"))
                ));
            }
        }
        let mut scopes = words(claims.get("scope"), true);
        scopes.extend(words(claims.get("scp"), true));
        if let Some(missing) = self.scopes.iter().find(|scope| !scopes.contains(&scope.as_str())) {
            return Err(TokenError::Scope(missing.clone()));
        }
        match claims.get(&self.user).and_then(Value::as_str) {
            Some(user) if !user.is_empty() && !user.contains(char::is_control) => Ok(user.to_owned()),
            _ => refused(format!(
                "its claim {} names no user but {}",
                self.user,
                shown(claims.get(&self.user))
            )),
        }
    }
}

/// A `NumericDate` (RFC 7519, section 2).
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(TokenError::Invalid(format!(
                "its {name} is no time: {}",
                shown(Some(value))
            ))),
        },
    }
}

/// The words of a claim that is one text or several; `split` at spaces if one text may have several.
fn words(claim: Option<&Value>, split: bool) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) if split => text.split(' ').filter(|word| !word.is_empty()).collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A claim for the log.
fn shown(claim: Option<&Value>) -> String {
    match claim {
        None => "not there".to_owned(),
        Some(value) => value.to_string().chars().take(100).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rules: &ClaimRules, claims: &str, expiry: Expiry) -> Result<String, TokenError> {
        let Value::Object(claims) = serde_json::from_str(claims).unwrap() else {
            panic!("no object");
        };
        rules.user(&claims, expiry, UNIX_EPOCH + Duration::from_secs(1_000_000))
    }

    #[test]
    fn times_count_with_some_leeway() {
        let rules = ClaimRules::default();
        for (claims, good) in [
            ("{\"sub\":\"fred\",\"exp\":1000100}", true),
            ("{\"sub\":\"fred\",\"exp\":999950.5}", true),
            ("{\"sub\":\"fred\",\"exp\":999940}", false),
            ("{\"sub\":\"fred\"}", false),
            ("{\"sub\":\"fred\",\"exp\":\"never\"}", false),
            ("{\"sub\":\"fred\",\"exp\":1000100,\"nbf\":1000050}", true),
            ("{\"sub\":\"fred\",\"exp\":1000100,\"nbf\":1000070}", false),
            ("{\"sub\":\"fred\",\"exp\":1000100,\"iat\":1000070}", false),
            ("{\"sub\":\"\",\"exp\":1000100}", false),
            ("{\"sub\":7,\"exp\":1000100}", false),
            ("{\"exp\":1000100}", false),
        ] {
            assert_eq!(judged(&rules, claims, Expiry::Told).is_ok(), good, "{claims}");
        }
        assert!(judged(&rules, "{\"sub\":\"fred\"}", Expiry::Known).is_ok());
        assert!(judged(&rules, "{\"sub\":\"fred\",\"exp\":1}", Expiry::Known).is_err());
    }

    #[test]
    fn issuer_audience_and_scopes_must_be_ours_where_that_is_asked() {
        let rules = ClaimRules {
            user: "email".to_owned(),
            issuers: vec!["https://id.example.org".to_owned()],
            audiences: vec!["mail".to_owned(), "imap".to_owned()],
            scopes: vec!["imap".to_owned()],
            ..ClaimRules::default()
        };
        let judged = |claims: &str| judged(&rules, claims, Expiry::Known);
        let good = "\"email\":\"fred@x\",\"iss\":\"https://id.example.org\"";
        assert_eq!(
            judged(&format!(
                "{{{good},\"aud\":[\"web\",\"mail\"],\"scope\":\"openid imap\"}}"
            )),
            Ok("fred@x".to_owned())
        );
        assert!(judged(&format!("{{{good},\"aud\":\"imap\",\"scp\":[\"imap\"]}}")).is_ok());
        assert_eq!(
            judged(&format!("{{{good},\"aud\":\"imap\",\"scope\":\"openid\"}}")),
            Err(TokenError::Scope("imap".to_owned()))
        );
        for bad in [
            format!("{{{good},\"aud\":\"mail imap\",\"scope\":\"imap\"}}"),
            format!("{{{good},\"scope\":\"imap\"}}"),
            "{\"email\":\"fred@x\",\"iss\":\"https://evil\",\"aud\":\"imap\",\"scope\":\"imap\"}".to_owned(),
            "{\"email\":\"fred@x\",\"aud\":\"imap\",\"scope\":\"imap\"}".to_owned(),
        ] {
            assert!(matches!(judged(&bad), Err(TokenError::Invalid(_))), "{bad}");
        }
    }
}
