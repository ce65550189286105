//! `-u`: restores the list from a JSON dump.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::time::{SystemTime, UNIX_EPOCH};

use cyrus_store::format::mboxentry::{FormerName, MailboxRow, MailboxType};
use cyrus_store::{MailboxError, MailboxId, MailboxName, Partition, Store};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::tools::DATA_ERROR;

/// Restores what `input` holds.
///
/// Nothing is changed if it is no JSON. An entry that makes no sense is reported with its line and left out.
pub(super) fn run(store: &Store, input: &mut dyn Read) -> Result<u8, MailboxError> {
    let text = match read_text(input) {
        Ok(text) => text,
        Err(code) => return Ok(code),
    };
    let entries: Object<'_> = match serde_json::from_str(&text) {
        Ok(entries) => entries,
        Err(error) => {
            eprintln!("parse error at line {}: {error}", error.line().max(1));
            return Ok(DATA_ERROR);
        }
    };
    let mut code = 0;
    let mut rows = Vec::new();
    let mut lines = Lines::new(&text);
    for (key, value) in &entries.0 {
        let number = lines.number_at(value.get());
        match parse(key, value.get(), &mut |what| warn(number, what)) {
            Ok(row) => rows.push(row),
            Err(what) => code = refuse(number, &format!("{key}: {what}; left out")),
        }
    }
    store.restore_rows(&rows)?;
    Ok(code)
}

fn parse(key: &str, value: &str, warn: &mut dyn FnMut(&str)) -> Result<(MailboxName, MailboxRow), String> {
    let fields: Object<'_> = serde_json::from_str(value).map_err(|_| "not an object".to_owned())?;
    let name = MailboxName::parse(key).map_err(|error| error.to_string())?;
    if let Some(inner) = fields.text("name")?
        && inner != key
    {
        return Err(format!("the entry calls itself '{inner}'"));
    }
    let number = |field: &str, warn: &mut dyn FnMut(&str)| -> Result<u64, String> {
        let found = fields.number(field)?;
        if found.is_none() {
            warn(&format!("missing {field} for {key}"));
        }
        Ok(found.unwrap_or_default())
    };
    let uidvalidity = number("uidvalidity", warn)?;
    let createdmodseq = number("createdmodseq", warn)?;
    let foldermodseq = number("foldermodseq", warn)?;
    let mbtype = match fields.mbtype()? {
        Some(mbtype) => mbtype,
        None => {
            warn(&format!("missing mbtype for {key}"));
            MailboxType::default()
        }
    };
    let row = MailboxRow {
        mbtype,
        id: fields.text("uniqueid")?,
        name: None,
        partition: fields.partition()?,
        server: fields.text("server")?,
        uidvalidity: u32::try_from(uidvalidity)
            .map_err(|_| format!("uidvalidity {uidvalidity} is too large"))?,
        createdmodseq,
        foldermodseq,
        mtime: now(),
        acl: fields.acl()?,
        history: fields.history()?,
    };
    if row.id.as_deref().is_some_and(|id| MailboxId::new(id).is_none()) {
        return Err("uniqueid is none".to_owned());
    }
    if row.mbtype.is_usable() && row.partition.is_none() {
        return Err("missing partition".to_owned());
    }
    if row.mbtype.is_usable() && row.id.is_none() {
        return Err("missing uniqueid".to_owned());
    }
    Ok((name, row))
}

/// The fields of a JSON object, in order, each as it is written.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    fn get(&self, field: &str) -> Option<&'a str> {
        let mut found = self.0.iter().filter(|(key, _)| key == field);
        found.next_back().map(|(_, value)| value.get())
    }

    fn text(&self, field: &str) -> Result<Option<String>, String> {
        self.get(field)
            .map(|value| serde_json::from_str(value).map_err(|_| format!("{field} is no text")))
            .transpose()
    }

    fn number(&self, field: &str) -> Result<Option<u64>, String> {
        let text = self.text(field)?;
        text.map(|text| text.parse().map_err(|_| format!("{field} '{text}' is no number")))
            .transpose()
    }

    fn mbtype(&self) -> Result<Option<MailboxType>, String> {
        let letters = self.text("mbtype")?;
        letters
            .map(|letters| MailboxType::parse(&letters).ok_or(format!("mbtype '{letters}' is none")))
            .transpose()
    }

    fn partition(&self) -> Result<Option<String>, String> {
        match self.text("partition")? {
            Some(text) if Partition::new(&text).is_none() => Err(format!("partition '{text}' is none")),
            partition => Ok(partition),
        }
    }

    fn acl(&self) -> Result<Vec<(String, String)>, String> {
        let Some(value) = self.get("acl") else {
            return Ok(Vec::new());
        };
        let object: Object<'_> = serde_json::from_str(value).map_err(|_| "acl is no object".to_owned())?;
        object
            .0
            .iter()
            .map(|(identifier, _)| {
                let rights = object.text(identifier)?.unwrap_or_default();
                if identifier.is_empty() || !rights.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(format!("acl: '{identifier}' with '{rights}' is none"));
                }
                Ok((identifier.clone(), rights))
            })
            .collect()
    }

    fn history(&self) -> Result<Vec<FormerName>, String> {
        let Some(value) = self.get("name_history") else {
            return Ok(Vec::new());
        };
        let entries: Vec<Object<'_>> =
            serde_json::from_str(value).map_err(|_| "name_history is no list of objects".to_owned())?;
        entries.iter().map(Object::former).collect()
    }

    fn former(&self) -> Result<FormerName, String> {
        let name = self.text("name")?.ok_or("name_history: missing name")?;
        let name = MailboxName::parse(&name).map_err(|error| format!("name_history: {error}"))?;
        let mtime = self.number("mtime")?.unwrap_or_default();
        Ok(FormerName {
            name: name.to_dbname(),
            mtime: i64::try_from(mtime).unwrap_or_default(),
            uidvalidity: u32::try_from(self.number("uidvalidity")?.unwrap_or_default()).unwrap_or_default(),
            createdmodseq: self.number("createdmodseq")?.unwrap_or_default(),
            foldermodseq: self.number("foldermodseq")?.unwrap_or_default(),
            mbtype: self.mbtype()?.unwrap_or_default(),
            partition: self.partition()?,
        })
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<'a>(PhantomData<&'a ()>);

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Object(fields))
    }
}

/// Numbers of lines, asked for in the order of the text.
struct Lines<'a> {
    text: &'a str,
    counted: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            counted: 0,
            number: 1,
        }
    }

    /// The line that `part`, a piece of the text, begins on.
    fn number_at(&mut self, part: &str) -> usize {
        let at = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let between = self.text.as_bytes().get(self.counted..at).unwrap_or_default();
        self.number += between.iter().filter(|&&byte| byte == b'\n').count();
        self.counted = at.max(self.counted);
        self.number
    }
}

/// All of a dump.
pub(super) fn read_text(input: &mut dyn Read) -> Result<String, u8> {
    let mut bytes = Vec::new();
    let read = input.take(LONGEST_DUMP + 1).read_to_end(&mut bytes);
    if let Err(error) = read {
        eprintln!("ctl_mboxlist: the dump cannot be read: {error}");
        return Err(DATA_ERROR);
    }
    if bytes.len() as u64 > LONGEST_DUMP {
        eprintln!("ctl_mboxlist: the dump is longer than {LONGEST_DUMP} octets; restore it in parts");
        return Err(DATA_ERROR);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        refuse(line, "not UTF-8")
    })
}

fn warn(line: usize, what: &str) {
    eprintln!("line {line}: {what}");
}

/// Reports a line that cannot be used; the exit code for it.
pub(super) fn refuse(line: usize, what: &str) -> u8 {
    warn(line, what);
    DATA_ERROR
}

/// The time, for rows that are written now.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

const LONGEST_DUMP: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"name": "user.a", "mtime": "5", "uidvalidity": "7", "createdmodseq": "1",
        "foldermodseq": "3", "mbtype": "e", "partition": "default", "acl": {"z": "lrs", "a": "p"},
        "uniqueid": "abcd", "name_history": [{"name": "user.b", "mtime": "4", "uidvalidity": "7"}]}"#;

    fn parsed(key: &str, value: &str) -> (Result<MailboxRow, String>, Vec<String>) {
        let mut warnings = Vec::new();
        let row = parse(key, value, &mut |what| warnings.push(what.to_owned()));
        (row.map(|(_, row)| row), warnings)
    }

    #[test]
    fn an_entry_keeps_the_order_of_its_acl() {
        let (row, warnings) = parsed("user.a", WHOLE);
        let row = row.unwrap();
        assert_eq!(
            row.acl,
            [
                ("z".to_owned(), "lrs".to_owned()),
                ("a".to_owned(), "p".to_owned())
            ]
        );
        assert_eq!(row.history[0].name, "user\u{1f}b");
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_is_missing_is_said() {
        let (row, warnings) = parsed("user.a", r#"{"partition": "default", "uniqueid": "abcd"}"#);
        assert!(row.is_ok());
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        for (field, without) in [("partition", "uniqueid"), ("uniqueid", "partition")] {
            let (row, _) = parsed("user.a", &format!(r#"{{"mbtype": "e", "{without}": "abcd"}}"#));
            assert_eq!(row.unwrap_err(), format!("missing {field}"));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (from, to) in [
            (r#""mbtype": "e""#, r#""mbtype": "q""#),
            (r#""mbtype": "e""#, r#""mbtype": 5"#),
            (r#""uidvalidity": "7""#, r#""uidvalidity": "4294967296""#),
            (r#""uidvalidity": "7""#, r#""uidvalidity": "x""#),
            (r#""partition": "default""#, r#""partition": "../x""#),
            (r#""uniqueid": "abcd""#, r#""uniqueid": "../.."#),
            (r#""z": "lrs""#, r#""z": "lr s""#),
            (r#""z": "lrs""#, r#""z": 1"#),
            (r#""name": "user.a""#, r#""name": "user.b""#),
            (r#"[{"name": "user.b","#, r#"[{"name": "user..b","#),
        ] {
            assert!(parsed("user.a", &WHOLE.replacen(from, to, 1)).0.is_err(), "{to}");
        }
        assert!(parsed("user..a", WHOLE).0.is_err());
        assert!(parsed("user.a", "3").0.is_err());
    }

    #[test]
    fn lines_are_counted_from_one() {
        let text = "{\"a\": {},\n\n\"b\": {}, \"c\": {}}";
        let object: Object<'_> = serde_json::from_str(text).unwrap();
        let mut lines = Lines::new(text);
        let numbers: Vec<usize> = object
            .0
            .iter()
            .map(|(_, value)| lines.number_at(value.get()))
            .collect();
        assert_eq!(numbers, [1, 3, 3]);
    }
}
