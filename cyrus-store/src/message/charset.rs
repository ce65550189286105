//! Character sets: which names Cyrus knows, and their text in Unicode.
//!
//! `charset/names.txt` lists them. A name is first compared as a whole with Cyrus's own list, then, as ICU does, by its
//! letters and digits alone. Known to be read otherwise than by Cyrus: damaged text in ISO-2022, GB 18030, UTF-7, UTF-16
//! or UTF-32 may give another number of replacement characters, some rare rows of EUC-JP's third set are missing, and
//! sets of method `unsupported` give one replacement character for the whole text.

mod double_byte;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use encoding_rs::Encoding;

/// A character set that can be decoded, or at least is known by name.
#[derive(Clone, Copy)]
pub struct Charset(&'static Entry);

impl std::fmt::Debug for Charset {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Charset({}, {})", self.0.index, self.0.method)
    }
}

impl PartialEq for Charset {
    fn eq(&self, other: &Self) -> bool {
        self.0.index == other.0.index
    }
}

impl Eq for Charset {}

impl Charset {
    /// The set called `name`; `None` if Cyrus does not know it.
    pub fn by_name(name: &[u8]) -> Option<Self> {
        let mut lower = [0; MAX_NAME];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let table = &*TABLE;
        let index = table.whole.get(&*lower).or_else(|| {
            // ICU converter options follow a comma.
            let plain = lower.split(|&byte| byte == b',').next().unwrap_or_default();
            let letters = |name: &[u8]| table.letters.get(letters_and_digits(name).as_slice());
            let short = plain.len() < MAX_ICU_NAME;
            // A name not found is looked up once more without `x-`; a capital X does not count.
            short.then(|| {
                letters(plain).or_else(|| letters(plain.get(2..).filter(|_| name.starts_with(b"x-"))?))
            })?
        })?;
        table.entries.get(*index).map(Self)
    }

    /// US-ASCII, the set of all that names none.
    pub fn us_ascii() -> Self {
        static ASCII: LazyLock<Charset> =
            LazyLock::new(|| Charset::by_name(b"us-ascii").expect("charset/names.txt lists us-ascii"));
        *ASCII
    }

    /// Whether text of ASCII octets alone is ASCII in this set, too.
    pub fn extends_ascii(self) -> bool {
        matches!(self.0.method, "us-ascii" | "utf-8" | "icu-utf-8" | "upper")
    }

    /// Decodes a whole text to UTF-8.
    pub fn decode(self, text: &[u8]) -> Cow<'_, str> {
        if self.extends_ascii()
            && let Some(ascii) = text.is_ascii().then(|| std::str::from_utf8(text).ok()).flatten()
        {
            return Cow::Borrowed(ascii);
        }
        let mut decoder = Decoder::new(self);
        let mut out = Vec::with_capacity(text.len() + text.len() / 2);
        decoder.feed(text, &mut out);
        Cow::Owned(String::from_utf8(out).unwrap_or_default())
    }
}

/// ICU refuses names of this many bytes or more, options not counted.
const MAX_ICU_NAME: usize = 60;
/// Longest name with options that is looked at.
const MAX_NAME: usize = 128;

/// A decoder that carries a character begun in one piece over to the next, where Cyrus does so.
pub(super) struct Decoder {
    charset: Charset,
    utf8: Utf8,
}

impl Decoder {
    pub(super) fn new(charset: Charset) -> Self {
        Self {
            charset,
            utf8: Utf8::default(),
        }
    }

    pub(super) fn charset(&self) -> Charset {
        self.charset
    }

    /// Appends `text` to `out` as UTF-8.
    pub(super) fn feed(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let entry = self.charset.0;
        match entry.method {
            "us-ascii" => decode_ascii(text, out),
            "utf-8" => self.utf8.feed(text, out),
            "upper" | "full" => {
                let chars = entry.chars();
                let plain = entry.method == "upper";
                for (ascii, run) in ascii_runs(text) {
                    if ascii && plain {
                        out.extend_from_slice(run);
                        continue;
                    }
                    for &byte in run {
                        match chars.get(usize::from(byte)) {
                            Some('\0') if byte != 0 => {}
                            Some(&char) => push(char, out),
                            None => {}
                        }
                    }
                }
            }
            "utf-16" => {
                // Without a byte order mark it is big-endian.
                let (encoding, rest) = Encoding::for_bom(text)
                    .filter(|(encoding, _)| *encoding != encoding_rs::UTF_8)
                    .map_or((encoding_rs::UTF_16BE, text), |(encoding, bom)| {
                        (encoding, text.get(bom..).unwrap_or_default())
                    });
                out.extend_from_slice(encoding.decode_without_bom_handling(rest).0.as_bytes());
            }
            "utf-32" | "utf-32be" | "utf-32le" => utf32(entry.method, text, out),
            "utf-7" => utf7(text, out),
            "gbk" => double_byte::decode(&double_byte::GBK_936, text, out),
            "big5" => double_byte::decode(&double_byte::BIG5_950, text, out),
            "euc-kr" => double_byte::decode(&double_byte::EUC_KR_970, text, out),
            "euc-jp" => double_byte::decode(&double_byte::EUC_JP_33722, text, out),
            "shift_jis" => double_byte::decode(&double_byte::SHIFT_JIS_943, text, out),
            "windows-949" => double_byte::decode(&double_byte::KOREAN_949, text, out),
            method => match entry
                .encoding
                .get_or_init(|| Encoding::for_label(method.trim_start_matches("icu-").as_bytes()))
            {
                Some(encoding) => {
                    out.extend_from_slice(encoding.decode_without_bom_handling(text).0.as_bytes())
                }
                None if text.is_empty() => {}
                None => push(char::REPLACEMENT_CHARACTER, out),
            },
        }
    }
}

/// Decodes US-ASCII; every other byte gives a replacement character.
pub(super) fn decode_ascii(text: &[u8], out: &mut Vec<u8>) {
    for (ascii, run) in ascii_runs(text) {
        if ascii {
            out.extend_from_slice(run);
        } else {
            run.iter().for_each(|_| push(char::REPLACEMENT_CHARACTER, out));
        }
    }
}

/// The runs of ASCII and of other bytes in `text`, in turn; the first may be empty.
pub(crate) fn ascii_runs(text: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = text;
    let mut ascii = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        ascii = !ascii;
        let len = match ascii {
            true => encoding_rs::Encoding::ascii_valid_up_to(rest),
            false => rest.iter().position(u8::is_ascii).unwrap_or(rest.len()),
        };
        let (run, after) = rest.split_at(len);
        rest = after;
        Some((ascii, run))
    })
}

/// Appends `char` as UTF-8.
pub(super) fn push(char: char, out: &mut Vec<u8>) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Cyrus's own UTF-8 decoder: overlong three- and four-byte forms pass, an unfinished character at the end of the
/// text is dropped, and one cut short gives one replacement character.
#[derive(Default)]
struct Utf8 {
    code: u32,
    missing: u8,
}

impl Utf8 {
    fn feed(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for &byte in text {
            let (missing, code) = match byte {
                0x80..=0xBF => {
                    if self.missing == 0 {
                        push(char::REPLACEMENT_CHARACTER, out);
                        continue;
                    }
                    self.code = self.code << 6 | u32::from(byte & 0x3F);
                    self.missing -= 1;
                    if self.missing == 0 {
                        push(
                            char::from_u32(self.code).unwrap_or(char::REPLACEMENT_CHARACTER),
                            out,
                        );
                    }
                    continue;
                }
                0xF8.. => {
                    *self = Self::default();
                    push(char::REPLACEMENT_CHARACTER, out);
                    continue;
                }
                0xF0..=0xF7 => (3, byte & 0x07),
                0xE0..=0xEF => (2, byte & 0x0F),
                0xC0..=0xDF => (1, byte & 0x1F),
                0..=0x7F => (0, 0),
            };
            if self.missing > 0 {
                push(char::REPLACEMENT_CHARACTER, out);
            }
            (self.missing, self.code) = (missing, u32::from(code));
            match byte {
                0xC0 | 0xC1 | 0xF5..=0xF7 => {
                    *self = Self::default();
                    push(char::REPLACEMENT_CHARACTER, out);
                }
                0..=0x7F => out.push(byte),
                _ => {}
            }
        }
    }
}

fn utf32(method: &str, text: &[u8], out: &mut Vec<u8>) {
    let (little, text) = match (method, text) {
        ("utf-32", [0xFF, 0xFE, 0, 0, rest @ ..]) => (true, rest),
        ("utf-32", [0, 0, 0xFE, 0xFF, rest @ ..]) => (false, rest),
        _ => (method == "utf-32le", text),
    };
    let (quads, rest) = text.as_chunks::<4>();
    for &quad in quads {
        let code = if little {
            u32::from_le_bytes(quad)
        } else {
            u32::from_be_bytes(quad)
        };
        push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), out);
    }
    if !rest.is_empty() {
        push(char::REPLACEMENT_CHARACTER, out);
    }
}

/// UTF-7 (RFC 2152): `+` begins base64 of UTF-16, any other byte ends it, a hyphen there is swallowed.
fn utf7(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'+' {
            match byte {
                0..=0x7F => out.push(byte),
                _ => push(char::REPLACEMENT_CHARACTER, out),
            }
            continue;
        }
        let len = rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
            .count();
        let (encoded, after) = rest.split_at(len);
        rest = after.strip_prefix(b"-").unwrap_or(after);
        if encoded.is_empty() {
            out.push(b'+');
            continue;
        }
        let mut octets = Vec::with_capacity(len);
        super::decode::Base64::standard().feed(encoded, &mut |piece| octets.extend_from_slice(piece));
        let units = octets
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&pair| u16::from_be_bytes(pair));
        for unit in char::decode_utf16(units) {
            push(unit.unwrap_or(char::REPLACEMENT_CHARACTER), out);
        }
    }
}

/// A line of `charset/names.txt`.
struct Entry {
    index: usize,
    method: &'static str,
    characters: &'static str,
    chars: OnceLock<Vec<char>>,
    encoding: OnceLock<Option<&'static Encoding>>,
}

impl Entry {
    /// The characters of a single-byte set, by byte.
    fn chars(&self) -> &[char] {
        self.chars.get_or_init(|| {
            let first = if self.method == "upper" { 0x80 } else { 1 };
            let mut chars: Vec<char> = (0..first).map(char::from).collect();
            let mut rest = self.characters.chars();
            while let Some(char) = rest.next() {
                chars.push(match char {
                    '\\' => {
                        let code = rest.by_ref().take(4).filter_map(|digit| digit.to_digit(16));
                        let code = code.fold(0, |code, digit| code << 4 | digit);
                        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    char => char,
                });
            }
            chars
        })
    }
}

struct Table {
    entries: Vec<Entry>,
    whole: HashMap<&'static [u8], usize>,
    letters: HashMap<&'static [u8], usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table {
        entries: Vec::new(),
        whole: HashMap::new(),
        letters: HashMap::new(),
    };
    for line in include_str!("charset/names.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut fields = line.splitn(4, '|');
        let mut field = || fields.next().unwrap_or_default();
        let (method, whole, letters, characters) = (field(), field(), field(), field());
        let index = table.entries.len();
        table.whole.extend(
            whole
                .split_ascii_whitespace()
                .map(|name| (name.as_bytes(), index)),
        );
        table.letters.extend(
            letters
                .split_ascii_whitespace()
                .map(|name| (name.as_bytes(), index)),
        );
        let (chars, encoding) = (OnceLock::new(), OnceLock::new());
        table.entries.push(Entry {
            index,
            method,
            characters,
            chars,
            encoding,
        });
    }
    table
});

/// `name` without anything but letters and digits, and without zeros that lead a number.
fn letters_and_digits(name: &[u8]) -> Vec<u8> {
    let mut after_digit = false;
    let mut kept = Vec::with_capacity(name.len());
    for (index, &byte) in name.iter().enumerate() {
        let next_is_digit = name.get(index + 1).is_some_and(u8::is_ascii_digit);
        match byte {
            b'0' if !after_digit && next_is_digit => continue,
            b'1'..=b'9' => after_digit = true,
            b'0' => {}
            b'a'..=b'z' => after_digit = false,
            _ => {
                after_digit = false;
                continue;
            }
        }
        kept.push(byte);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(name: &str, text: &[u8]) -> Option<String> {
        Some(Charset::by_name(name.as_bytes())?.decode(text).into_owned())
    }

    #[test]
    fn names_are_compared_whole_and_then_by_letters_and_digits() {
        assert_eq!(decoded("ISO-8859-1", b"\x80").as_deref(), Some("€"));
        assert_eq!(decoded("iso 08859 (1)", b"\xE4").as_deref(), Some("ä"));
        assert!(Charset::by_name(b"en_GB").is_some() && Charset::by_name(b"en-GB").is_none());
        assert!(Charset::by_name(b"").is_none() && Charset::by_name(b"bogus").is_none());
        assert!(Charset::by_name(&[b'a'; 1000]).is_none());
    }

    #[test]
    fn every_encoding_that_is_named_exists() {
        let own = [
            "upper",
            "full",
            "us-ascii",
            "utf-8",
            "icu-utf-8",
            "utf-16",
            "utf-7",
            "unsupported",
        ];
        for entry in &TABLE.entries {
            let known = own.contains(&entry.method) || entry.method.starts_with("utf-32");
            assert!(
                known || Encoding::for_label(entry.method.as_bytes()).is_some(),
                "{}",
                entry.method
            );
            if matches!(entry.method, "upper" | "full") {
                assert_eq!(entry.chars().len(), 256);
            }
        }
    }

    #[test]
    fn multi_byte_sets_are_decoded() {
        assert_eq!(
            decoded("iso-2022-jp", b"\x1B$B%F%9%H\x1B(B").as_deref(),
            Some("テスト")
        );
        assert_eq!(decoded("gb2312", b"\xD6\xD0").as_deref(), Some("中"));
        assert_eq!(decoded("utf-7", b"a+AOQ-b").as_deref(), Some("aäb"));
        assert_eq!(decoded("utf-16", b"\xFF\xFEa\0").as_deref(), Some("a"));
        assert_eq!(
            decoded("utf-8", b"\xC3\xA4\xFFa\xC3b\xE4").as_deref(),
            Some("ä\u{FFFD}a\u{FFFD}b")
        );
    }
}
