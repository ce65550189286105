//! What is wrong with the login settings, said at the start and not when the first user is turned away.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Why logins will fail, one line for each reason.
///
/// `options` are the library's, by their names without `sasl_`; `offered` are the mechanisms that it offers to a client
/// that may use any.
pub(super) fn doubts(options: &HashMap<String, String>, offered: &[String]) -> Vec<String> {
    let mut doubts = Vec::new();
    mechanisms(options, offered, &mut doubts);
    let methods = words(options, "pwcheck_method", "auxprop");
    for method in &methods {
        match *method {
            "saslauthd" => doubts.extend(saslauthd(options)),
            "auxprop" => doubts.extend(sasldb(options)),
            "authdaemond" | "alwaystrue" | "auxprop-hashed" => {}
            other => doubts.push(format!(
                "sasl_pwcheck_method: libsasl2 knows no '{other}'; auxprop and saslauthd are usual"
            )),
        }
    }
    doubts
}

fn words<'o>(options: &'o HashMap<String, String>, name: &str, default: &'o str) -> Vec<&'o str> {
    let text = options.get(name).map_or(default, String::as_str);
    text.split_whitespace().collect()
}

fn mechanisms(options: &HashMap<String, String>, offered: &[String], doubts: &mut Vec<String>) {
    let offers = |wanted: &str| offered.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    for wanted in words(options, "mech_list", "") {
        // Offered only to those who show a certificate.
        if !offers(wanted) && !wanted.eq_ignore_ascii_case("EXTERNAL") {
            doubts.push(format!(
                "sasl_mech_list: {wanted} cannot be used: its plugin for libsasl2 is not installed or is not set up \
                 (usable: {})",
                match offered {
                    [] => "none".to_owned(),
                    offered => offered.join(" "),
                }
            ));
        }
    }
}

fn saslauthd(options: &HashMap<String, String>) -> Option<String> {
    let socket = options.get("saslauthd_path").map_or(SASLAUTHD, String::as_str);
    if Path::new(socket).is_dir() {
        return Some(format!(
            "sasl_saslauthd_path: {socket} is a directory; the name of the socket belongs to it: {socket}/mux"
        ));
    }
    let error = UnixStream::connect(socket).err()?;
    Some(format!(
        "sasl_pwcheck_method: saslauthd does not answer at {socket}: {error}; start it, or set sasl_saslauthd_path"
    ))
}

fn sasldb(options: &HashMap<String, String>) -> Option<String> {
    // Unset, the library asks every plugin it has, and there may be better ones.
    let plugins = words(options, "auxprop_plugin", "");
    if !plugins.contains(&"sasldb") {
        return None;
    }
    let path = options.get("sasldb_path").map_or(SASLDB, String::as_str);
    let error = File::open(path).err()?;
    Some(format!(
        "sasl_sasldb_path: {path}: {error}; saslpasswd2 -c -f {path} USER makes it, and the Cyrus user must be able to \
         read it"
    ))
}

const SASLAUTHD: &str = "/var/run/saslauthd/mux";
const SASLDB: &str = "/etc/sasldb2";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn options(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn each_mechanism_that_cannot_be_used_is_named_with_those_that_can() {
        let set = options(&[
            ("mech_list", "PLAIN gssapi EXTERNAL"),
            ("pwcheck_method", "alwaystrue"),
        ]);
        let doubts = doubts(&set, &["PLAIN".to_owned()]);
        assert_eq!(doubts.len(), 1, "{doubts:?}");
        assert!(doubts[0].contains("gssapi cannot be used"), "{doubts:?}");
        assert!(doubts[0].contains("(usable: PLAIN)"), "{doubts:?}");
    }

    #[test]
    fn a_saslauthd_that_does_not_answer_is_told_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &Path| {
            options(&[
                ("pwcheck_method", "saslauthd"),
                ("saslauthd_path", path.to_str().unwrap()),
            ])
        };
        assert!(doubts(&at(dir.path()), &[])[0].contains("is a directory"));
        let set = at(&dir.path().join("mux"));
        let told = doubts(&set, &[]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("/mux: No such file"), "{told:?}");
        let _listener = UnixListener::bind(dir.path().join("mux")).unwrap();
        assert_eq!(doubts(&set, &[]), [""; 0]);
    }

    #[test]
    fn a_missing_sasldb_is_told_with_the_command_that_makes_it() {
        let set = options(&[
            ("auxprop_plugin", "sasldb"),
            ("sasldb_path", "/nonexistent/sasldb2"),
        ]);
        let told = doubts(&set, &[]);
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("saslpasswd2 -c -f /nonexistent/sasldb2"),
            "{told:?}"
        );
    }

    #[test]
    fn an_unknown_method_is_told() {
        let told = doubts(&options(&[("pwcheck_method", "sasldb")]), &[]);
        assert!(told[0].contains("knows no 'sasldb'"), "{told:?}");
    }
}
