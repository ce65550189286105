//! The keys that an issuer signs with: a JWK set (RFC 7517), or PEM.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use serde_json::{Map, Value};

/// One key.
pub(super) struct Key {
    /// `kid`
    pub(super) name: Option<String>,
    /// `alg`: the only algorithm that it is for.
    pub(super) algorithm: Option<String>,
    pub(super) material: Material,
}

/// A key by what can be done with it.
pub(super) enum Material {
    Rsa(PKey<Public>),
    /// With the octets of one number of a signature.
    Ec(PKey<Public>, usize),
    Ed25519(PKey<Public>),
    Secret(Vec<u8>),
}

/// A file of keys, read again when it has changed.
pub(super) struct KeyFile {
    path: PathBuf,
    read: Mutex<Option<Read>>,
}

struct Read {
    stamp: Stamp,
    keys: Arc<[Key]>,
}

type Stamp = (Option<SystemTime>, u64);

impl KeyFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = Self {
            path: path.to_owned(),
            read: Mutex::new(None),
        };
        file.keys()?;
        Ok(file)
    }

    /// The keys as they are in the file now. A file that has become unreadable is an error, not what it was before: whoever
    /// took its keys away meant it.
    pub(super) fn keys(&self) -> Result<Arc<[Key]>, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", self.path.display());
        let metadata = std::fs::metadata(&self.path).map_err(|error| told(&error))?;
        let stamp = (metadata.modified().ok(), metadata.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref()
            && read.stamp == stamp
        {
            return Ok(Arc::clone(&read.keys));
        }
        if metadata.len() > LARGEST {
            return Err(told(&format_args!("larger than {LARGEST} octets")));
        }
        let text = std::fs::read(&self.path).map_err(|error| told(&error))?;
        let keys: Arc<[Key]> = parse(&text).map_err(|error| told(&error))?.into();
        *read = Some(Read {
            stamp,
            keys: Arc::clone(&keys),
        });
        Ok(keys)
    }
}

/// Octets of a file of keys.
const LARGEST: u64 = 1024 * 1024;

/// Keys in a set, above which nobody has them.
const MOST: usize = 100;

/// The keys of a file.
///
/// # Errors
/// There is none that can be used; why.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Key>, String> {
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return pem(text);
    }
    let set: Value =
        serde_json::from_slice(text).map_err(|error| format!("neither PEM nor JSON: {error}"))?;
    let keys = match set.get("keys") {
        Some(Value::Array(keys)) => keys.iter().collect(),
        Some(_) => return Err("its member keys is no list".to_owned()),
        None => vec![&set],
    };
    if keys.len() > MOST {
        return Err(format!("more than {MOST} keys"));
    }
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        // A set may hold keys for other purposes, and of kinds that are unknown here (RFC 7517, section 5).
        match key.as_object().ok_or("no object".to_owned()).and_then(jwk) {
            Ok(Some(key)) => good.push(key),
            Ok(None) => {}
            Err(why) => bad.push(format!("key {}: {why}", number + 1)),
        }
    }
    match good.is_empty() {
        false => Ok(good),
        true if bad.is_empty() => Err("it holds no key for signatures".to_owned()),
        true => Err(bad.join("; ")),
    }
}

/// One JWK; `None` if it is not for signatures.
fn jwk(jwk: &Map<String, Value>) -> Result<Option<Key>, String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let octets = |name: &str| {
        let value = text(name).ok_or(format!("it has no {name}"))?;
        URL_SAFE_NO_PAD
            .decode(value)
            .map_err(|_| format!("its {name} is no base64url"))
    };
    let number = |name: &str| BigNum::from_slice(&octets(name)?).map_err(told);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return Ok(None);
    }
    let material = match text("kty") {
        Some("RSA") => {
            let key = Rsa::from_public_components(number("n")?, number("e")?).map_err(told)?;
            asymmetric(PKey::from_rsa(key).map_err(told)?)?
        }
        Some("EC") => {
            let curve = match text("crv") {
                Some("P-256") => Nid::X9_62_PRIME256V1,
                Some("P-384") => Nid::SECP384R1,
                Some("P-521") => Nid::SECP521R1,
                other => return Err(format!("its curve is {other:?}")),
            };
            let group = EcGroup::from_curve_name(curve).map_err(told)?;
            // Fails for a point that is not on the curve.
            let (x, y) = (number("x")?, number("y")?);
            let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y);
            asymmetric(PKey::from_ec_key(key.map_err(told)?).map_err(told)?)?
        }
        Some("OKP") if text("crv") == Some("Ed25519") => {
            let key = PKey::public_key_from_raw_bytes(&octets("x")?, Id::ED25519);
            Material::Ed25519(key.map_err(told)?)
        }
        Some("oct") => {
            let secret = octets("k")?;
            // RFC 7518, section 3.2
            if secret.len() < 32 {
                return Err("a secret of less than 32 octets can be guessed".to_owned());
            }
            Material::Secret(secret)
        }
        other => return Err(format!("its kty is {other:?}")),
    };
    Ok(Some(Key {
        name: text("kid").map(str::to_owned),
        algorithm: text("alg").map(str::to_owned),
        material,
    }))
}

/// Public keys and certificates, one after another.
fn pem(text: &[u8]) -> Result<Vec<Key>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "neither PEM nor JSON".to_owned())?;
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, _) = block.split_once("-----").ok_or("a BEGIN line has no end")?;
        let end = format!("-----END {label}-----");
        let (body, after) = block.split_once(&end).ok_or(format!("{label} has no END line"))?;
        let whole = format!("-----BEGIN {body}{end}\n");
        rest = after;
        if keys.len() >= MOST {
            return Err(format!("more than {MOST} keys"));
        }
        let key = match label {
            "PUBLIC KEY" => PKey::public_key_from_pem(whole.as_bytes()),
            "CERTIFICATE" => {
                X509::from_pem(whole.as_bytes()).and_then(|certificate| certificate.public_key())
            }
            other => {
                return Err(format!(
                    "it holds a {other}; public keys or certificates are wanted"
                ));
            }
        };
        keys.push(Key {
            name: None,
            algorithm: None,
            material: asymmetric(key.map_err(told)?)?,
        });
    }
    match keys.is_empty() {
        true => Err("neither PEM nor JSON".to_owned()),
        false => Ok(keys),
    }
}

fn asymmetric(key: PKey<Public>) -> Result<Material, String> {
    match key.id() {
        Id::RSA if key.bits() < 2048 => Err("an RSA key of less than 2048 bits can be broken".to_owned()),
        Id::RSA => Ok(Material::Rsa(key)),
        Id::ED25519 => Ok(Material::Ed25519(key)),
        Id::EC => {
            let ec = key.ec_key().map_err(told)?;
            let mut context = BigNumContext::new().map_err(told)?;
            let mut order = BigNum::new().map_err(told)?;
            ec.group().order(&mut order, &mut context).map_err(told)?;
            let octets = usize::try_from(order.num_bytes()).unwrap_or_default();
            Ok(Material::Ec(key, octets))
        }
        _ => Err("a key of this kind is unknown here; RSA, EC and Ed25519 are known".to_owned()),
    }
}

fn told(error: ErrorStack) -> String {
    let first = error.errors().first().and_then(openssl::error::Error::reason);
    first.map_or_else(|| "it cannot be used".to_owned(), str::to_owned)
}
