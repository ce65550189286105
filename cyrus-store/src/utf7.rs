//! Modified UTF-7, in which mailbox names carry more than ASCII (RFC 3501, section 5.1.3).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// A name is not well-formed modified UTF-7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed modified UTF-7 at byte {at}")]
pub struct Utf7Error {
    /// The position of the byte, or of the `&` of the run, that is wrong.
    pub at: usize,
}

/// Checks that every `&` of a name begins a run that only one spelling exists for.
///
/// A run must encode at least one character, none of it printable or other ASCII, with its unused bits zero, and may
/// not follow another at once. Like Cyrus, this accepts a surrogate without its other half.
///
/// # Errors
/// Some run is not so.
pub fn validate(name: &str) -> Result<(), Utf7Error> {
    runs(name, |run| match run {
        Run::Plain(_) => Ok(()),
        Run::Encoded { units, at } => {
            if units.iter().any(|&unit| unit < 0x80) {
                Err(Utf7Error { at })
            } else {
                Ok(())
            }
        }
    })
}

/// The characters of a name in modified UTF-7.
///
/// # Errors
/// As [`validate`]; also a byte outside ASCII, or a surrogate without its other half.
pub fn decode(name: &str) -> Result<String, Utf7Error> {
    if let Some(at) = name.bytes().position(|byte| !byte.is_ascii()) {
        return Err(Utf7Error { at });
    }
    validate(name)?;
    let mut text = String::with_capacity(name.len());
    runs(name, |run| {
        match run {
            Run::Plain(plain) => text.push_str(plain),
            Run::Encoded { units, at } => {
                text.push_str(&String::from_utf16(&units).map_err(|_| Utf7Error { at })?);
            }
        }
        Ok(())
    })?;
    Ok(text)
}

/// The modified UTF-7 of a text. ASCII control characters stay as they are, so that the name's check refuses them.
pub fn encode(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut units: Vec<u8> = Vec::new();
    let flush = |name: &mut String, units: &mut Vec<u8>| {
        if !units.is_empty() {
            name.push('&');
            ENGINE.encode_string(&units, name);
            name.push('-');
            units.clear();
        }
    };
    for c in text.chars() {
        if c.is_ascii() {
            flush(&mut name, &mut units);
            name.push(c);
            if c == '&' {
                name.push('-');
            }
        } else {
            units.extend(
                c.encode_utf16(&mut [0; 2])
                    .iter()
                    .flat_map(|unit| unit.to_be_bytes()),
            );
        }
    }
    flush(&mut name, &mut units);
    name
}

/// Whether a text is fit for the name of a mailbox that clients know in UTF-8: Net-Unicode (RFC 5198, section 2), which is
/// composed, without control characters and separators of lines and paragraphs (RFC 6855, section 3).
pub fn is_net_unicode(text: &str) -> bool {
    let is_control = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.is_ascii() || !text.chars().any(is_control) && unicode_normalization::is_nfc(text)
}

/// A part of a name.
enum Run<'a> {
    /// Text that stands for itself; `&` for `&-`.
    Plain(&'a str),
    /// The UTF-16 of a base64 run, and where its `&` is.
    Encoded { units: Vec<u16>, at: usize },
}

/// Cuts a name into runs, in order.
fn runs<'a>(name: &'a str, mut each: impl FnMut(Run<'a>) -> Result<(), Utf7Error>) -> Result<(), Utf7Error> {
    let mut rest = name;
    let mut follows_run = false;
    while !rest.is_empty() {
        let at = name.len() - rest.len();
        let plain = rest.split('&').next().unwrap_or_default();
        if !plain.is_empty() {
            follows_run = false;
            each(Run::Plain(plain))?;
            rest = rest.strip_prefix(plain).unwrap_or_default();
            continue;
        }
        let (encoded, after) = rest
            .strip_prefix('&')
            .and_then(|run| run.split_once('-'))
            .ok_or(Utf7Error { at })?;
        if encoded.is_empty() {
            follows_run = false;
            each(Run::Plain("&"))?;
        } else {
            if follows_run {
                return Err(Utf7Error { at });
            }
            follows_run = true;
            // The engine refuses unused bits that are not zero, and lengths that leave a byte of base64 over.
            let bytes = ENGINE.decode(encoded).map_err(|_| Utf7Error { at })?;
            let (pairs, odd) = bytes.as_chunks::<2>();
            if !odd.is_empty() {
                return Err(Utf7Error { at });
            }
            each(Run::Encoded {
                units: pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect(),
                at,
            })?;
        }
        rest = after;
    }
    Ok(())
}

/// Base64 with `,` in place of `/` and without padding.
const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, NO_PAD);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Names that Cyrus 3.6.1 created, and names that it refused.
    #[test]
    fn s015_runs_are_accepted_and_refused_as_by_cyrus() {
        for good in [
            "&-",
            "&AOk-",
            "a&AOk-b",
            "&AOkA6Q-",
            "&AOk-x&AOk-",
            "&2D0-",
            "&2D3cAA-",
            "&3AA-",
            "&A,8-",
            "&AOk-&-",
            "&-&-",
            "&AIA-",
            "&IKwgrA-",
            "&----",
            "&-b",
            "&,,8-",
            "&AKA-",
            "&2D3cANg93AA-",
            "Sent &AOk- x",
            "&U,BTFw-",
            "",
        ] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in [
            "&AOk",
            "&",
            "a&b",
            "&AGE-",
            "&AOk-&AOk-",
            "&AOl-",
            "&AOkA-",
            "&A/8-",
            "&&-",
            "&AO-",
            "&AAo-",
            "&AH8-",
            "&AAAA6Q-",
            "&AC8-",
            "&AC4-",
            "&AOk=-",
            "&AOkAYQ-",
            "&AGEA6Q-",
            "&//8-",
            "&2D3cAA-&AOk-",
        ] {
            assert!(validate(bad).is_err(), "{bad}");
        }
        assert_eq!(validate("x&AOk-y&"), Err(Utf7Error { at: 7 }));
    }

    /// The example of RFC 3501, section 5.1.3.
    #[test]
    fn the_example_of_the_rfc() {
        let text = "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}";
        assert_eq!(encode(text), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(), Ok(text));
    }

    #[test]
    fn net_unicode_is_composed_and_has_no_control_characters() {
        assert!(
            is_net_unicode("INBOX") && is_net_unicode("Entw\u{fc}rfe") && is_net_unicode("\u{65e5}\u{672c}")
        );
        for bad in ["Entwu\u{308}rfe", "a\u{85}\u{e9}", "\u{e9}\u{2028}", "\u{212b}"] {
            assert!(!is_net_unicode(bad), "{bad:?}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_a_name_but_no_text() {
        assert_eq!(decode("x&2D0-"), Err(Utf7Error { at: 1 }));
        assert_eq!(decode("&2D3cAA-").as_deref(), Ok("\u{1f400}"));
        assert!(decode("caf\u{e9}").is_err());
    }

    proptest! {
        #[test]
        fn every_text_survives(text in "\\PC{0,30}") {
            let name = encode(&text);
            prop_assert!(name.is_ascii());
            prop_assert_eq!(validate(&name), Ok(()));
            prop_assert_eq!(decode(&name), Ok(text));
        }

        #[test]
        fn a_name_has_one_spelling(name in "[a-zA-Z&,+/-]{0,20}") {
            if let Ok(text) = decode(&name) {
                prop_assert_eq!(encode(&text), name);
            }
        }
    }
}
