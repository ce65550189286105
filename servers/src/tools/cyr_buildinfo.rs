//! `cyr_buildinfo`: what this build can do, for scripts and test rigs that choose by it.

use std::ffi::OsString;
use std::io::Write;

use super::USAGE;
use crate::config::Area;
use crate::getopt;

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_buildinfo: {bad}\n{TEXT}");
            return USAGE;
        }
    };
    let format: fn(&Sections) -> String = match line.arguments.as_slice() {
        [] => pretty,
        [format] if format == "pretty" => pretty,
        [format] if format == "dense" => dense,
        [format] if format == "flat" => flat,
        _ => {
            eprintln!("{TEXT}");
            return USAGE;
        }
    };
    let _ = out.write_all(format(&sections()).as_bytes());
    0
}

/// The names are those of Cyrus 3.6, the values are true of this build.
fn sections() -> Sections {
    let has = |area: Area| if area.is_built() { "true" } else { "false" };
    vec![
        (
            "component",
            vec![
                ("event_notification", has(Area::Events)),
                ("gssapi", "true"), // by libsasl2's module
                ("autocreate", has(Area::Autocreate)),
                ("idled", "true"),
                ("httpd", has(Area::Dav)),
                ("kerberos_v4", "false"),
                ("murder", has(Area::Murder)),
                ("nntpd", has(Area::News)),
                ("replication", has(Area::Replication)),
                ("sieve", has(Area::Sieve)),
                ("calalarmd", has(Area::Dav)),
                ("jmap", has(Area::Jmap)),
                ("objectstore", has(Area::ObjectStorage)),
                ("backup", has(Area::Backup)),
            ],
        ),
        (
            "dependency",
            vec![
                ("ldap", has(Area::Ldap)),
                ("openssl", "true"),
                ("zlib", "false"),
                ("jansson", "false"),
                ("pcre", "false"),
                ("clamav", has(Area::VirusScan)),
                ("openio", "false"),
                ("nghttp2", "false"),
                ("wslay", "false"),
                ("brotli", "false"),
                ("xml2", "false"),
                ("ical", "false"),
                ("icu4c", "false"),
                ("shapelib", "false"),
                ("chardet", "false"),
                ("cld2", "false"),
            ],
        ),
        (
            "database",
            vec![("mysql", "false"), ("pgsql", "false"), ("sqlite", "false")],
        ),
        (
            "search",
            vec![
                ("squat", has(Area::Search)),
                ("xapian", "false"),
                ("xapian_cjk_tokens", "\"none\""),
            ],
        ),
        ("hardware", vec![]),
    ]
}

/// Each section with its facts; a fact is a JSON value.
type Sections = Vec<(&'static str, Vec<(&'static str, &'static str)>)>;

fn pretty(sections: &Sections) -> String {
    let object = |(name, facts): &(&str, Vec<(&str, &str)>)| {
        let lines: Vec<String> = facts
            .iter()
            .map(|(fact, value)| format!("    \"{fact}\": {value}"))
            .collect();
        match lines.is_empty() {
            true => format!("  \"{name}\": {{}}"),
            false => format!("  \"{name}\": {{\n{}\n  }}", lines.join(",\n")),
        }
    };
    format!(
        "{{\n{}\n}}\n",
        sections.iter().map(object).collect::<Vec<_>>().join(",\n")
    )
}

fn dense(sections: &Sections) -> String {
    let object = |(name, facts): &(&str, Vec<(&str, &str)>)| {
        let facts: Vec<String> = facts
            .iter()
            .map(|(fact, value)| format!("\"{fact}\": {value}"))
            .collect();
        format!("\"{name}\": {{{}}}", facts.join(", "))
    };
    format!(
        "{{{}}}\n",
        sections.iter().map(object).collect::<Vec<_>>().join(", ")
    )
}

fn flat(sections: &Sections) -> String {
    let lines = sections.iter().flat_map(|(name, facts)| {
        facts
            .iter()
            .map(move |(fact, value)| format!("{name}.{fact}={}\n", value.trim_matches('"')))
    });
    lines.collect()
}

const TEXT: &str = "\
usage: cyr_buildinfo [-C imapd.conf] [pretty | dense | flat]

The format is pretty JSON by default; -C is accepted and does nothing.";

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(args: &[&str]) -> (u8, String) {
        let mut out = Vec::new();
        let code = run(args.iter().map(OsString::from), &mut out);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn both_json_forms_say_the_same() {
        let parse = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&printed(args).1).unwrap();
        let pretty = parse(&[]);
        assert_eq!(pretty, parse(&["-C", "/nonexistent", "dense"]));
        assert_eq!(pretty["component"]["kerberos_v4"], false);
        assert_eq!(pretty["component"]["sieve"], Area::Sieve.is_built());
        assert!(printed(&["flat"]).1.contains("dependency.openssl=true\n"));
        assert_eq!(printed(&["xml"]).0, 255);
        assert_eq!(printed(&["-Z"]).0, 255);
    }
}
