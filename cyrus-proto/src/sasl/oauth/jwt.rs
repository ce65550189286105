//! JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515), verified against the issuer's keys.
//!
//! The kind of the key decides which algorithms it may be used with, never the token: a public key is no HMAC secret.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};
use serde_json::{Map, Value};

use super::claims::{ClaimRules, Expiry};
use super::jwk::{Key, KeyFile, Material};
use super::{TokenError, TokenVerifier};

/// Verifies tokens that are JWTs, without asking anybody.
pub struct Jwt {
    keys: KeyFile,
    rules: ClaimRules,
}

impl Jwt {
    /// Reads the issuer's keys, a JWK set or PEM; the file is read again when it has changed.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(keys: &Path, rules: ClaimRules) -> Result<Self, String> {
        let keys = KeyFile::open(keys)?;
        Ok(Self { keys, rules })
    }

    /// Whether a token has the form of a JWT.
    pub fn is_jwt(token: &str) -> bool {
        token.split('.').count() == 3
    }

    fn owner_at(&self, token: &str, now: SystemTime) -> Result<String, TokenError> {
        let keys = self.keys.keys().map_err(TokenError::Unavailable)?;
        let claims = claims(token, &keys).map_err(TokenError::Invalid)?;
        self.rules.user(&claims, Expiry::Told, now)
    }
}

impl TokenVerifier for Jwt {
    fn owner(&self, token: &str) -> Result<String, TokenError> {
        self.owner_at(token, SystemTime::now())
    }
}

/// A signature algorithm (RFC 7518, section 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rsa(Digest),
    RsaPss(Digest),
    Ec(Digest),
    EdDsa,
    Hmac(Digest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn openssl(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        if matches!(name, "EdDSA" | "Ed25519") {
            return Some(Self::EdDsa);
        }
        let (kind, bits) = name.split_at_checked(2)?;
        let digest = match bits {
            "256" => Digest::Sha256,
            "384" => Digest::Sha384,
            "512" => Digest::Sha512,
            _ => return None,
        };
        match kind {
            "RS" => Some(Self::Rsa(digest)),
            "PS" => Some(Self::RsaPss(digest)),
            "ES" => Some(Self::Ec(digest)),
            "HS" => Some(Self::Hmac(digest)),
            _ => None,
        }
    }

    /// Whether `signature` of `text` is one of `key`; an error of the library is a no.
    fn verifies(self, key: &Material, text: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        match (self, key) {
            (Self::Rsa(digest), Material::Rsa(key)) => {
                Verifier::new(digest.openssl(), key)?.verify_oneshot(signature, text)
            }
            (Self::RsaPss(digest), Material::Rsa(key)) => {
                let mut verifier = Verifier::new(digest.openssl(), key)?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_mgf1_md(digest.openssl())?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier.verify_oneshot(signature, text)
            }
            (Self::Ec(digest), Material::Ec(key, octets)) => ec(digest, key, *octets, text, signature),
            (Self::EdDsa, Material::Ed25519(key)) => {
                Verifier::new_without_digest(key)?.verify_oneshot(signature, text)
            }
            (Self::Hmac(digest), Material::Secret(secret)) => {
                let key = PKey::hmac(secret)?;
                let expected = Signer::new(digest.openssl(), &key)?.sign_oneshot_to_vec(text)?;
                Ok(expected.len() == signature.len() && openssl::memcmp::eq(&expected, signature))
            }
            (Self::Rsa(_) | Self::RsaPss(_) | Self::Ec(_) | Self::EdDsa | Self::Hmac(_), _) => Ok(false),
        }
    }
}

/// RFC 7518, section 3.4: the two numbers of the signature one behind the other, and one digest for each curve.
fn ec(
    digest: Digest,
    key: &PKeyRef<Public>,
    octets: usize,
    text: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let curve = match digest {
        Digest::Sha256 => 32,
        Digest::Sha384 => 48,
        Digest::Sha512 => 66,
    };
    if octets != curve || signature.len() != octets * 2 {
        return Ok(false);
    }
    let (r, s) = signature.split_at(octets);
    let signature = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    Verifier::new(digest.openssl(), key)?.verify_oneshot(&signature.to_der()?, text)
}

/// The claims of a token that one of `keys` has signed.
///
/// # Errors
/// Why it is not to be believed.
pub(super) fn claims(token: &str, keys: &[Key]) -> Result<Map<String, Value>, String> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it is no JWT".to_owned());
    };
    let signed = format!("{header}.{payload}");
    let header = object("header", header)?;
    if header.contains_key("crit") {
        return Err("its header has demands (crit) that are unknown here".to_owned());
    }
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = Algorithm::named(name)
        .ok_or_else(|| format!("its algorithm is {:?}", name.chars().take(20).collect::<String>()))?;
    let wanted = header.get("kid").and_then(Value::as_str);
    let signature = decoded("signature", signature)?;
    let mut candidates = keys.iter().filter(|key| {
        let named = match (wanted, &key.name) {
            (Some(wanted), Some(name)) => wanted == name,
            _ => true,
        };
        named && key.algorithm.as_deref().is_none_or(|only| only == name)
    });
    let is_good = candidates.any(|key| {
        algorithm
            .verifies(&key.material, signed.as_bytes(), &signature)
            .unwrap_or(false)
    });
    match is_good {
        true => object("payload", payload),
        false => Err("none of the issuer's keys has signed it".to_owned()),
    }
}

fn decoded(what: &str, part: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| format!("its {what} is no base64url"))
}

fn object(what: &str, part: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(&decoded(what, part)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(format!("its {what} is no JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::jwk;
    use super::*;
    use openssl::bn::BigNumContext;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::Private;
    use openssl::rsa::Rsa;
    use serde_json::json;
    use std::io::Write;
    use std::time::{Duration, UNIX_EPOCH};

    fn b64(octets: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(octets)
    }

    fn unsigned(header: &Value, payload: &Value) -> String {
        format!(
            "{}.{}",
            b64(header.to_string().as_bytes()),
            b64(payload.to_string().as_bytes())
        )
    }

    fn signed(text: &str, signature: &[u8]) -> String {
        format!("{text}.{}", b64(signature))
    }

    fn good() -> Value {
        json!({"sub": "fred", "exp": 2000})
    }

    fn rsa() -> (PKey<Private>, Value) {
        let key = Rsa::generate(2048).unwrap();
        let jwk = json!({"kty": "RSA", "kid": "r", "n": b64(&key.n().to_vec()), "e": b64(&key.e().to_vec())});
        (PKey::from_rsa(key).unwrap(), jwk)
    }

    fn p256() -> (EcKey<Private>, Value) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        let mut context = BigNumContext::new().unwrap();
        key.public_key()
            .affine_coordinates(&group, &mut x, &mut y, &mut context)
            .unwrap();
        let octets = |number: &BigNum| b64(&number.to_vec_padded(32).unwrap());
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": octets(&x), "y": octets(&y)});
        (key, jwk)
    }

    fn sign_p256(key: &EcKey<Private>, text: &str) -> Vec<u8> {
        let digest = openssl::hash::hash(MessageDigest::sha256(), text.as_bytes()).unwrap();
        let signature = EcdsaSig::sign(&digest, key).unwrap();
        let mut octets = signature.r().to_vec_padded(32).unwrap();
        octets.extend(signature.s().to_vec_padded(32).unwrap());
        octets
    }

    fn verified(token: &str, set: &Value) -> Result<Map<String, Value>, String> {
        claims(token, &jwk::parse(set.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn tokens_of_every_algorithm_are_believed_if_a_key_of_the_set_signed_them() {
        let (rsa_key, rsa_jwk) = rsa();
        let (ec_key, ec_jwk) = p256();
        let ed_key = PKey::generate_ed25519().unwrap();
        let ed_jwk =
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": b64(&ed_key.raw_public_key().unwrap())});
        let secret = [7; 32];
        let set = json!({"keys": [rsa_jwk, ec_jwk, ed_jwk, {"kty": "oct", "kid": "s", "k": b64(&secret)},
            {"kty": "RSA", "use": "enc"}, {"kty": "new"}]});
        let mut tokens = Vec::new();
        for (name, digest) in [
            ("RS256", MessageDigest::sha256()),
            ("RS512", MessageDigest::sha512()),
        ] {
            let text = unsigned(&json!({"alg": name, "kid": "r", "typ": "at+jwt"}), &good());
            let signature = Signer::new(digest, &rsa_key)
                .unwrap()
                .sign_oneshot_to_vec(text.as_bytes())
                .unwrap();
            tokens.push(signed(&text, &signature));
        }
        let text = unsigned(&json!({"alg": "PS256"}), &good());
        let mut signer = Signer::new(MessageDigest::sha256(), &rsa_key).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
        tokens.push(signed(
            &text,
            &signer.sign_oneshot_to_vec(text.as_bytes()).unwrap(),
        ));
        let text = unsigned(&json!({"alg": "ES256", "kid": "e"}), &good());
        tokens.push(signed(&text, &sign_p256(&ec_key, &text)));
        let text = unsigned(&json!({"alg": "EdDSA", "kid": "d"}), &good());
        let signature = Signer::new_without_digest(&ed_key)
            .unwrap()
            .sign_oneshot_to_vec(text.as_bytes())
            .unwrap();
        tokens.push(signed(&text, &signature));
        let text = unsigned(&json!({"alg": "HS256", "kid": "s"}), &good());
        let key = PKey::hmac(&secret).unwrap();
        let signature = Signer::new(MessageDigest::sha256(), &key)
            .unwrap()
            .sign_oneshot_to_vec(text.as_bytes())
            .unwrap();
        tokens.push(signed(&text, &signature));
        for token in &tokens {
            assert_eq!(verified(token, &set).unwrap()["sub"], "fred", "{token}");
            // Another payload under the same signature.
            let (header, rest) = token.split_once('.').unwrap();
            let (_, signature) = rest.split_once('.').unwrap();
            let forged = json!({"sub": "cyrus", "exp": 2000}).to_string();
            let forged = format!("{header}.{}.{signature}", b64(forged.as_bytes()));
            assert!(verified(&forged, &set).is_err(), "{forged}");
        }
    }

    #[test]
    fn tricks_with_the_algorithm_do_not_help() {
        let (rsa_key, rsa_jwk) = rsa();
        let set = json!({"keys": [rsa_jwk]});
        let text = unsigned(&json!({"alg": "none"}), &good());
        assert!(verified(&format!("{text}."), &set).is_err());
        // The public key is no secret of HMAC's.
        let pem = rsa_key.public_key_to_pem().unwrap();
        let text = unsigned(&json!({"alg": "HS256", "kid": "r"}), &good());
        let key = PKey::hmac(&pem).unwrap();
        let signature = Signer::new(MessageDigest::sha256(), &key)
            .unwrap()
            .sign_oneshot_to_vec(text.as_bytes())
            .unwrap();
        assert!(verified(&signed(&text, &signature), &set).is_err());
        let sign = |header: &Value| {
            let text = unsigned(header, &good());
            let signature = Signer::new(MessageDigest::sha256(), &rsa_key)
                .unwrap()
                .sign_oneshot_to_vec(text.as_bytes())
                .unwrap();
            signed(&text, &signature)
        };
        assert!(verified(&sign(&json!({"alg": "RS256"})), &set).is_ok());
        for header in [
            json!({"alg": "RS256", "crit": ["b64"], "b64": false}),
            json!({"alg": "RS256", "kid": "another"}),
            json!({"alg": "RS384"}),
            json!({}),
        ] {
            assert!(verified(&sign(&header), &set).is_err(), "{header}");
        }
        for token in ["", "a.b", "a.b.c", "....", "e30.e30.", "e30.e30.!"] {
            assert!(verified(token, &set).is_err(), "{token}");
        }
    }

    #[test]
    fn a_key_file_is_read_again_when_it_has_changed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (p256(), p256());
        let pem = |key: &EcKey<Private>| key.public_key_to_pem().unwrap();
        file.write_all(&pem(&first.0)).unwrap();
        let jwt = Jwt::new(file.path(), ClaimRules::default()).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let token = |key: &EcKey<Private>| {
            let text = unsigned(&json!({"alg": "ES256"}), &good());
            signed(&text, &sign_p256(key, &text))
        };
        assert_eq!(jwt.owner_at(&token(&first.0), now), Ok("fred".to_owned()));
        let late = jwt.owner_at(&token(&first.0), now + Duration::from_secs(5000));
        assert!(matches!(late, Err(TokenError::Invalid(why)) if why.contains("expired")));
        assert!(jwt.owner_at(&token(&second.0), now).is_err());
        let both = [pem(&second.0), pem(&first.0)].concat();
        std::fs::write(file.path(), both).unwrap();
        assert!(jwt.owner_at(&token(&second.0), now).is_ok());
        assert!(jwt.owner_at(&token(&first.0), now).is_ok());
        std::fs::write(file.path(), "nonsense").unwrap();
        let broken = jwt.owner_at(&token(&first.0), now);
        assert!(matches!(broken, Err(TokenError::Unavailable(why)) if why.contains("neither PEM nor JSON")));
    }

    #[test]
    fn weak_and_foreign_keys_are_refused_with_the_reason() {
        let short = Rsa::generate(1024).unwrap();
        let weak = PKey::from_rsa(short).unwrap().public_key_to_pem().unwrap();
        let private = PKey::generate_ed25519()
            .unwrap()
            .private_key_to_pem_pkcs8()
            .unwrap();
        for (text, reason) in [
            (weak, "less than 2048 bits"),
            (private, "public keys or certificates are wanted"),
            (b"{\"keys\":[]}".to_vec(), "no key for signatures"),
            (b"{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}".to_vec(), "can be guessed"),
            (
                b"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}".to_vec(),
                "key 1",
            ),
            (b"{".to_vec(), "neither PEM nor JSON"),
            (b"".to_vec(), "neither PEM nor JSON"),
        ] {
            let error = jwk::parse(&text).map(|keys| keys.len()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
