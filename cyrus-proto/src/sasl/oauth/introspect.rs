//! Asking the issuer about a token (RFC 7662).

use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use native_tls::TlsConnector;
use serde_json::Value;

use super::claims::{ClaimRules, Expiry};
use super::http::{Endpoint, form_text};
use super::{TokenError, TokenVerifier};
use crate::net::tls::{ConnectTlsOptions, connector};

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct IntrospectionOptions {
    /// The introspection endpoint.
    pub url: String,
    /// Who we are to the issuer: client id and secret, for HTTP's Basic authentication.
    pub client: Option<(String, String)>,
    /// Whose certificates are good, and our own.
    pub tls: ConnectTlsOptions,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What a token must say.
    pub rules: ClaimRules,
}

/// Asks the issuer about each token, so that one that was revoked is no longer good.
pub struct Introspection {
    endpoint: Endpoint,
    authorization: Option<String>,
    tls: TlsConnector,
    timeout: Duration,
    rules: ClaimRules,
}

impl Introspection {
    /// Checks the settings; asks nobody yet.
    ///
    /// # Errors
    /// Which setting is wrong, and why.
    pub fn new(options: IntrospectionOptions) -> Result<Self, String> {
        let endpoint = Endpoint::parse(&options.url)?;
        let is_here = matches!(endpoint.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if !endpoint.secure && !is_here {
            return Err(format!(
                "{:?} would send tokens in clear over the network; https is needed",
                options.url
            ));
        }
        let tls = connector(&options.tls).map_err(|error| error.to_string())?;
        Ok(Self {
            endpoint,
            // RFC 6749, section 2.3.1: both are encoded as in a form first.
            authorization: options.client.map(|(id, secret)| {
                let both = format!("{}:{}", form_text(&id), form_text(&secret));
                format!("Basic {}", STANDARD.encode(both))
            }),
            tls,
            timeout: options.timeout,
            rules: options.rules,
        })
    }
}

impl TokenVerifier for Introspection {
    fn owner(&self, token: &str) -> Result<String, TokenError> {
        let form = format!("token={}&token_type_hint=access_token", form_text(token));
        let deadline = Instant::now() + self.timeout;
        let answer = self
            .endpoint
            .post(&form, self.authorization.as_deref(), &self.tls, deadline)
            .map_err(|error| TokenError::Unavailable(format!("{}: {error}", self.endpoint.host)))?;
        let Ok(Value::Object(answer)) = serde_json::from_slice(&answer) else {
            return Err(TokenError::Unavailable(format!(
                "{}: the answer is no JSON object",
                self.endpoint.host
            )));
        };
        match answer.get("active") {
            Some(Value::Bool(true)) => self.rules.user(&answer, Expiry::Known, SystemTime::now()),
            Some(Value::Bool(false)) => Err(TokenError::Invalid(
                "the issuer says that it is not active".to_owned(),
            )),
            _ => Err(TokenError::Unavailable(format!(
                "{}: the answer does not say whether the token is active",
                self.endpoint.host
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Asks a server that answers once with `body`; the request and the outcome.
    fn asked(status: &str, body: &str) -> (String, Result<String, TokenError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !String::from_utf8_lossy(&request).contains("access_token") {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let introspection = Introspection::new(IntrospectionOptions {
            url,
            client: Some(("mail".to_owned(), "s:cret".to_owned())),
            tls: ConnectTlsOptions::default(),
            timeout: Duration::from_secs(10),
            rules: ClaimRules {
                user: "username".to_owned(),
                ..ClaimRules::default()
            },
        });
        let owner = introspection.unwrap().owner("a/b+c==");
        (server.join().unwrap(), owner)
    }

    #[test]
    fn the_issuers_word_decides() {
        let (request, owner) = asked("200 OK", "{\"active\":true,\"username\":\"fred\"}");
        assert_eq!(owner, Ok("fred".to_owned()));
        assert!(request.starts_with("POST /introspect HTTP/1.1\r\n"), "{request}");
        // mail:s%3Acret
        assert!(
            request.contains("\r\nAuthorization: Basic bWFpbDpzJTNBY3JldA==\r\n"),
            "{request}"
        );
        assert!(
            request.ends_with("token=a%2Fb%2Bc%3D%3D&token_type_hint=access_token"),
            "{request}"
        );
        let refused = |body: &str| asked("200 OK", body).1.unwrap_err();
        assert!(matches!(refused("{\"active\":false}"), TokenError::Invalid(_)));
        assert!(matches!(
            refused("{\"active\":true,\"username\":\"fred\",\"exp\":1}"),
            TokenError::Invalid(_)
        ));
        assert!(matches!(refused("{\"active\":true}"), TokenError::Invalid(_)));
        for unusable in ["{}", "[]", "", "{\"active\":\"true\"}"] {
            assert!(
                matches!(refused(unusable), TokenError::Unavailable(_)),
                "{unusable}"
            );
        }
        let (_, owner) = asked("401 Unauthorized", "");
        assert!(matches!(owner, Err(TokenError::Unavailable(why)) if why.contains("HTTP 401")));
    }

    #[test]
    fn tokens_do_not_travel_in_clear() {
        let made = |url: &str| {
            Introspection::new(IntrospectionOptions {
                url: url.to_owned(),
                client: None,
                tls: ConnectTlsOptions::default(),
                timeout: Duration::from_secs(1),
                rules: ClaimRules::default(),
            })
            .map(drop)
        };
        assert!(
            made("http://id.example.org/")
                .unwrap_err()
                .contains("https is needed")
        );
        assert!(made("http://localhost:8080/").is_ok());
        assert!(made("https://id.example.org/").is_ok());
    }
}
