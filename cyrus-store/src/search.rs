//! Looking for a string in a message, as SEARCH (RFC 3501, section 6.4.4) asks for it.
//!
//! String and text are compared in *search form*: case, diacritics and compatibility forms are folded, any run of
//! white space is one space. The form of each character is Cyrus's (`form.txt`), so what Cyrus finds is found here too.
//! Where Cyrus's matcher misses text for no reason in the RFC, this one finds it: the last line of quoted-printable
//! content without line break, the last few thousand octets of content in a set that ICU converts for it (ISO-8859-1
//! among them), a space after a character that has no other form, message/delivery-status and its kin.
//!
//! A search takes time in proportion to the text, whatever the string.

#[cfg(feature = "search-index")]
pub mod index;
#[cfg(not(feature = "search-index"))]
#[path = "search/without_index.rs"]
pub mod index;

use std::cell::RefCell;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::message::{Charset, Encoding, Section, Sections, ascii_runs, decode_content, decode_header};

/// How texts are compared (RFC 4790): as octets, but for what a collation makes alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collation {
    /// `i;unicode-casemap`, as Cyrus has it: by search form.
    #[default]
    UnicodeCasemap,
    /// `i;ascii-casemap`: ASCII letters without regard to case.
    AsciiCasemap,
    /// `i;octet`: octet by octet, of the text decoded to UTF-8.
    Octet,
}

impl Collation {
    /// All collations that look for strings and order texts; `i;ascii-numeric` does not do the former.
    pub const ALL: [Self; 3] = [Self::UnicodeCasemap, Self::AsciiCasemap, Self::Octet];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnicodeCasemap => "i;unicode-casemap",
            Self::AsciiCasemap => "i;ascii-casemap",
            Self::Octet => "i;octet",
        }
    }
}

/// How texts are compared: the collation, and what an administrator wants of search form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The collation.
    pub collation: Collation,
    /// `search_whitespace`: what white space counts for in search form.
    pub whitespace: Whitespace,
    /// `search_skipdiacrit` switched off: letters differ from those with marks.
    pub keep_diacritics: bool,
}

/// What white space counts for in search form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whitespace {
    /// Nothing.
    Skip,
    /// A run of it for one space.
    #[default]
    Merge,
    /// Each character of it for a space.
    Keep,
}

impl Comparison {
    /// What of `text` is compared, octet by octet.
    pub fn form(self, text: &str) -> String {
        let mut form = Vec::with_capacity(text.len());
        Folder::new(self).fold(text, &mut form);
        String::from_utf8(form).unwrap_or_default()
    }
}

impl From<Collation> for Comparison {
    fn from(collation: Collation) -> Self {
        Self {
            collation,
            ..Self::default()
        }
    }
}

/// A string to look for.
#[derive(Clone, Debug)]
pub struct Pattern {
    comparison: Comparison,
    form: Vec<u8>,
    finder: Finder<'static>,
    /// A piece of the form that plain text must hold, if there is a useful one.
    probe: Option<Probe>,
}

/// Which parts of a message are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// TEXT: all headers, and all content that is text.
    Text,
    /// BODY: the same without the header of the message itself.
    Body,
}

impl Pattern {
    /// The pattern for `text`, which the client sent, compared by search form.
    pub fn new(text: &str) -> Self {
        Self::with(text, Comparison::default())
    }

    /// The pattern for `text`, compared in this way.
    pub fn with(text: &str, comparison: impl Into<Comparison>) -> Self {
        let comparison = comparison.into();
        let form = comparison.form(text).into_bytes();
        let finder = Finder::new(&form).into_owned();
        // Where white space counts for nothing, words may stand apart.
        let apart = comparison.whitespace == Whitespace::Skip;
        let probe = Probe::new(&form).filter(|_| !apart);
        Self {
            comparison,
            form,
            finder,
            probe,
        }
    }

    /// True if every text matches, for the string is empty.
    pub fn is_empty(&self) -> bool {
        self.form.is_empty()
    }

    /// Whether `text` holds the string: UTF-8, as the decoded items of a cache record are.
    pub fn in_utf8(&self, text: &[u8]) -> bool {
        let mut stream = Stream::new(self);
        match std::str::from_utf8(text) {
            Ok(text) => stream.feed(text),
            Err(_) => stream.feed(&String::from_utf8_lossy(text)),
        }
        stream.finish()
    }

    /// Whether `header` holds the string: one or more header fields, or the value of one, as they stand in a message.
    pub fn in_header(&self, header: &[u8]) -> bool {
        // Without encoded words decoding only unfolds, and no word spans lines.
        if self.is_ruled_out(header) && memmem::find(header, b"=?").is_none() {
            return false;
        }
        self.in_utf8(&decode_header(header))
    }

    /// Whether plain text cannot hold the string: all of it is ASCII, and a word of the string is missing.
    fn is_ruled_out(&self, text: &[u8]) -> bool {
        self.probe.as_ref().is_some_and(|probe| !probe.is_in(text)) && text.is_ascii()
    }

    /// The same for text in a character set.
    fn is_ruled_out_of(&self, text: &[u8], charset: Charset) -> bool {
        charset.extends_ascii() && self.is_ruled_out(text)
    }

    /// Whether the content of a part holds the string, decoded from `encoding` and `charset`.
    ///
    /// Content of an unknown encoding holds nothing but the empty string.
    pub fn in_content(&self, content: &[u8], encoding: Encoding, charset: Charset) -> bool {
        if encoding == Encoding::Unknown {
            return self.is_empty();
        }
        let look = |text: &[u8]| {
            if self.is_ruled_out_of(text, charset) {
                return false;
            }
            let mut stream = Stream::new(self);
            stream.feed_in(charset, text);
            stream.finish()
        };
        if encoding == Encoding::Identity {
            return look(content);
        }
        DECODED.with_borrow_mut(|decoded| {
            decoded.clear();
            decode_content(encoding, content, &mut |piece| decoded.extend_from_slice(piece));
            let found = look(decoded);
            decoded.shrink_to(KEPT);
            found
        })
    }

    /// Whether the whole message holds the string in `scope`; `sections` is that of its cache record.
    pub fn in_message(&self, message: &[u8], sections: &Sections<'_>, scope: Scope) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut top = true;
        sections.any(&mut |section: &Section<'_>| {
            let skip_header = std::mem::take(&mut top) && scope == Scope::Body;
            let header = section.header.filter(|_| !skip_header);
            if header.is_some_and(|header| self.in_header(header.of(message))) {
                return true;
            }
            let charset = section.charset.and_then(Charset::by_name);
            match (charset, section.content) {
                (Some(charset), Some(content)) => {
                    self.in_content(content.of(message), section.encoding, charset)
                }
                _ => false,
            }
        })
    }
}

/// `text` in search form.
pub fn search_form(text: &str) -> String {
    Comparison::default().form(text)
}

/// A word of a pattern's form, looked for in plain text without regard to case, which takes a fraction of the time that
/// bringing the text into search form does.
#[derive(Clone, Debug)]
struct Probe {
    /// In upper case.
    word: Vec<u8>,
    /// The place in the word of its rarest octet.
    rarest: usize,
}

impl Probe {
    /// Words shorter than this are in nearly every text.
    const MIN: usize = 2;

    /// The longest word of ASCII in the form; other characters may come from ASCII and others alike.
    fn new(form: &[u8]) -> Option<Self> {
        let words = form.split(|&byte| !byte.is_ascii_graphic());
        let word = words.max_by_key(|word| word.len())?.to_ascii_uppercase();
        let rarest = (0..word.len()).max_by_key(|&at| word.get(at).map(|&byte| rarity(byte)))?;
        (word.len() >= Self::MIN).then_some(Self { word, rarest })
    }

    fn is_in(&self, text: &[u8]) -> bool {
        let Some(&upper) = self.word.get(self.rarest) else {
            return true;
        };
        let tail = self.word.len() - self.rarest;
        // Where the rarest octet can be.
        let Some(places) = text.get(self.rarest..(text.len() + 1).saturating_sub(tail)) else {
            return false;
        };
        let matches = |at: usize| {
            let found = text.get(at..at + self.word.len());
            found.is_some_and(|found| found.eq_ignore_ascii_case(&self.word))
        };
        match upper.is_ascii_alphabetic() {
            true => memchr::memchr2_iter(upper, upper.to_ascii_lowercase(), places).any(matches),
            false => memchr::memchr_iter(upper, places).any(matches),
        }
    }
}

/// How rare an ASCII octet is in mail: the higher, the rarer.
fn rarity(byte: u8) -> usize {
    const COMMON: &[u8] = b"ETAOINSRHLDCUMFPGWYB.-,:/0123456789VK=<>@;()_XJQZ";
    COMMON
        .iter()
        .position(|&common| common == byte)
        .unwrap_or(COMMON.len())
}

thread_local! {
    /// Room for decoded content, and for text in search form: used again from one text to the next.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static WINDOWS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How much room is kept for the next text.
const KEPT: usize = 256 << 10;

/// Text in search form as it comes, searched whenever some has gathered.
struct Stream<'p> {
    pattern: &'p Pattern,
    folder: Folder,
    window: Vec<u8>,
    found: bool,
}

impl<'p> Stream<'p> {
    fn new(pattern: &'p Pattern) -> Self {
        Self {
            pattern,
            folder: Folder::new(pattern.comparison),
            window: WINDOWS.take(),
            found: pattern.is_empty(),
        }
    }

    fn feed_in(&mut self, charset: Charset, text: &[u8]) {
        if !self.found {
            self.feed(&charset.decode(text));
        }
    }

    fn feed(&mut self, text: &str) {
        let mut rest = text;
        while !self.found && !rest.is_empty() {
            let piece = rest.get(..rest.floor_char_boundary(WINDOW)).unwrap_or(rest);
            self.folder.fold(piece, &mut self.window);
            rest = rest.get(piece.len()..).unwrap_or_default();
            self.look();
        }
    }

    fn look(&mut self) {
        self.found = self.pattern.finder.find(&self.window).is_some();
        let keep = self.pattern.form.len().saturating_sub(1).min(self.window.len());
        self.window.drain(..self.window.len() - keep);
    }

    fn finish(mut self) -> bool {
        self.window.clear();
        WINDOWS.set(std::mem::take(&mut self.window));
        self.found
    }
}

/// Text is folded and searched in pieces of this many bytes.
const WINDOW: usize = 16 << 10;

/// Brings text into the form that a collation compares; search form has one space for any run of white space.
struct Folder {
    comparison: Comparison,
    after_space: bool,
}

impl Folder {
    fn new(comparison: Comparison) -> Self {
        Self {
            comparison,
            after_space: false,
        }
    }

    fn fold(&mut self, text: &str, out: &mut Vec<u8>) {
        match self.comparison.collation {
            Collation::UnicodeCasemap => {}
            Collation::AsciiCasemap => return out.extend(text.bytes().map(|byte| byte.to_ascii_uppercase())),
            Collation::Octet => return out.extend_from_slice(text.as_bytes()),
        }
        for (ascii, run) in ascii_runs(text.as_bytes()) {
            if ascii {
                self.fold_ascii(run, out);
            } else {
                for char in std::str::from_utf8(run).unwrap_or_default().chars() {
                    self.fold_char(char, out);
                }
            }
        }
    }

    fn fold_ascii(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let folded = text.iter().map(|&byte| ASCII[usize::from(byte)]);
        match self.comparison.whitespace {
            Whitespace::Merge => {}
            Whitespace::Keep => return out.extend(folded),
            Whitespace::Skip => return out.extend(folded.filter(|&byte| byte != b' ')),
        }
        let start = out.len();
        out.resize(start + text.len(), 0);
        let mut len = 0;
        let folded = out.get_mut(start..).unwrap_or_default();
        for &byte in text {
            // Without branches: a space after a space is written, and then written over.
            let byte = ASCII[usize::from(byte)];
            let space = byte == b' ';
            folded[len] = byte;
            len += usize::from(!(space & self.after_space));
            self.after_space = space;
        }
        out.truncate(start + len);
    }

    fn fold_char(&mut self, char: char, out: &mut Vec<u8>) {
        if !self.comparison.keep_diacritics {
            return self.fold_plain(char, out);
        }
        for char in std::iter::once(char).nfkd() {
            if is_combining_mark(char) {
                self.after_space = false;
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                self.fold_plain(char, out);
            }
        }
    }

    fn fold_plain(&mut self, char: char, out: &mut Vec<u8>) {
        match FORMS.get(char) {
            None => {
                self.after_space = false;
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(" ") => self.fold_ascii(b" ", out),
            Some("") => {}
            Some(form) => {
                self.after_space = false;
                out.extend_from_slice(form.as_bytes());
            }
        }
    }
}

/// The search form of each ASCII character.
static ASCII: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let this = byte as u8;
        table[byte] = if matches!(this, b'\t'..=b'\r') {
            b' '
        } else {
            this.to_ascii_uppercase()
        };
        byte += 1;
    }
    table
};

/// The characters whose search form is not themselves, by pages of 256 code points.
struct Forms {
    pages: Vec<Option<Box<[Form; 256]>>>,
    text: String,
}

/// Where the form of a character is in [`Forms::text`]; `None` if it is the character itself.
type Form = Option<(u32, u32)>;

impl Forms {
    fn get(&self, char: char) -> Option<&str> {
        let code = char as usize;
        let (start, end) = self.pages.get(code >> 8)?.as_ref()?[code & 0xFF]?;
        self.text.get(start as usize..end as usize)
    }

    fn insert(&mut self, code: u32, form: &str) {
        let start = self.text.len() as u32;
        self.text.push_str(form);
        let (page, index) = (code as usize >> 8, code as usize & 0xFF);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([None; 256]))[index] =
            Some((start, self.text.len() as u32));
    }
}

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let mut forms = Forms {
        pages: Vec::new(),
        text: String::new(),
    };
    for line in include_str!("search/form.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let (codes, form) = line.split_once(' ').unwrap_or((line, ""));
        let form = unescaped(form);
        let code = |digits: &str| u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
        let (first, last) = match codes.split_once('-') {
            Some((first, last)) => (code(first), code(last)),
            None => (code(codes), code(codes)),
        };
        let mut stepping = form.chars();
        match (stepping.next(), stepping.next()) {
            (Some(char), None) if last > first => {
                for (step, code) in (first..=last).enumerate() {
                    let char = char::from_u32(char as u32 + step as u32).unwrap_or(char);
                    forms.insert(code, char.encode_utf8(&mut [0; 4]));
                }
            }
            _ => (first..=last).for_each(|code| forms.insert(code, &form)),
        }
    }
    forms
});

/// `text` with `\` and six hexadecimal digits replaced by the character of that number.
fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => {
                let digits = chars.by_ref().take(6).filter_map(|digit| digit.to_digit(16));
                char::from_u32(digits.fold(0, |code, digit| code << 4 | digit)).unwrap_or_default()
            }
            char => char,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageParser;
    use proptest::prelude::*;

    #[test]
    fn case_diacritics_and_runs_of_white_space_do_not_matter() {
        assert_eq!(search_form("a \t\r\n b\u{A0}É½ ①ﬁ"), "A B E1/2 1fi");
        assert!(Pattern::new("Grün  und").in_utf8("GRU\u{308}N\r\nUND".as_bytes()));
        assert!(Pattern::new("ДОМ").in_utf8("дом".as_bytes()));
        assert!(!Pattern::new("abc").in_utf8(b"ab c"));
        assert!(Pattern::new("").in_utf8(b""));
    }

    #[test]
    fn headers_are_searched_decoded_and_unfolded() {
        let header = b"Subject: =?utf-8?q?subj_=C3=A4?= foo\r\n bar\r\nFrom: x\r\n";
        for text in ["SUBJ A FOO BAR", "bar from: x", "subject: subj"] {
            assert!(Pattern::new(text).in_header(header), "{text}");
        }
        assert!(!Pattern::new("utf-8").in_header(header));
    }

    #[test]
    fn content_is_searched_decoded() {
        let latin1 = Charset::by_name(b"iso-8859-1").unwrap();
        assert!(Pattern::new("decoded").in_content(b"ZGVjb2RlZA==", Encoding::Base64, latin1));
        assert!(Pattern::new("soft brücke").in_content(
            b"so=\r\nft br=FCcke",
            Encoding::QuotedPrintable,
            latin1
        ));
        assert!(!Pattern::new("x").in_content(b"x", Encoding::Unknown, latin1));
    }

    #[test]
    fn a_message_is_searched_part_by_part() {
        let message: &[u8] = b"Subject: top\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\
            X-Part: =?utf-8?q?parthead?=\r\n\r\nplain\r\n--b\r\nContent-Type: image/png\r\n\r\npixels\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n--b--\r\nepilogue\r\n";
        let parsed = MessageParser::parse(message).unwrap();
        let sections = parsed.record().sections().unwrap();
        let find = |text: &str, scope| Pattern::new(text).in_message(message, &sections, scope);
        for text in ["parthead", "plain", "subject: inner", "deep", "image/png", ""] {
            assert!(find(text, Scope::Text) && find(text, Scope::Body), "{text}");
        }
        assert!(find("subject: top", Scope::Text) && !find("subject: top", Scope::Body));
        for text in ["preamble", "epilogue", "pixels"] {
            assert!(!find(text, Scope::Text), "{text}");
        }
    }

    #[test]
    fn white_space_and_marks_count_as_an_administrator_wants() {
        // What real Cyrus found with these settings.
        let holds = |whitespace, keep_diacritics, wanted: &str, text: &str| {
            let comparison = Comparison {
                whitespace,
                keep_diacritics,
                ..Comparison::default()
            };
            Pattern::with(wanted, comparison).in_utf8(text.as_bytes())
        };
        for text in ["alpha beta", "alpha  beta", "alpha\r\nbeta", "alphabeta"] {
            assert!(holds(Whitespace::Skip, false, "alpha beta", text), "{text}");
        }
        assert!(holds(Whitespace::Keep, false, "alpha beta", "alpha\tbeta"));
        assert!(holds(Whitespace::Keep, false, "alpha  beta", "alpha\r\nbeta"));
        assert!(!holds(Whitespace::Keep, false, "alpha beta", "alpha  beta"));
        for (wanted, found) in [
            ("grün", true),
            ("GRÜN", true),
            ("grun", false),
            ("gru\u{308}n", true),
            ("1", true),
        ] {
            assert_eq!(
                holds(Whitespace::Merge, true, wanted, "GRÜN CAFÉ дом ﬁn ①"),
                found,
                "{wanted}"
            );
        }
    }

    #[test]
    fn collations_differ_in_what_they_make_alike() {
        let holds =
            |collation, text: &str| Pattern::with(text, collation).in_utf8("Grün  und Blau".as_bytes());
        assert!(holds(Collation::UnicodeCasemap, "GRUN UND"));
        assert!(holds(Collation::AsciiCasemap, "GRün  UND") && !holds(Collation::AsciiCasemap, "grün und"));
        assert!(holds(Collation::Octet, "ün  u") && !holds(Collation::Octet, "blau"));
    }

    proptest! {
        #[test]
        fn a_quick_look_at_plain_text_changes_no_answer(
            before in "[a-zA-Z é\r\n=]{0,60}", text in "[a-cA-C é]{1,6}", after in "[a-cA-C é]{0,30}", cut in 0_usize..3,
        ) {
            let utf8 = Charset::by_name(b"utf-8").unwrap();
            let shown: String = text.chars().skip(cut).collect();
            let whole = format!("{before}{shown}{after}");
            let ways = Collation::ALL.into_iter().map(Comparison::from).chain([
                Comparison { whitespace: Whitespace::Skip, ..Comparison::default() },
                Comparison { whitespace: Whitespace::Keep, keep_diacritics: true, ..Comparison::default() },
            ]);
            for comparison in ways {
                let pattern = Pattern::with(&text, comparison);
                let plain = comparison.form(&whole).contains(&comparison.form(&text));
                prop_assert_eq!(pattern.in_content(whole.as_bytes(), Encoding::Identity, utf8), plain);
                let header = decode_header(whole.as_bytes());
                prop_assert_eq!(pattern.in_header(whole.as_bytes()), pattern.in_utf8(&header));
            }
        }

        #[test]
        fn what_is_in_the_text_is_found_across_pieces(
            before in "[a-zä ]{0,9}", times in 0_usize..5000, text in "\\PC{1,40}", after in "[a-z ]{0,200}",
        ) {
            let whole = format!("{}{text}{after}", before.repeat(times));
            let pattern = Pattern::new(&text);
            let plain = search_form(&whole).contains(&search_form(&text));
            prop_assert_eq!(pattern.in_utf8(whole.as_bytes()), plain);
        }
    }
}
