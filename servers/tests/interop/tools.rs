//! The administrator's programs beside Cyrus's: the same switches on the same spool give the same output and exit code, and
//! leave the same spool.

mod deny;
mod lists;
mod locks;
mod small;

use std::process::Output;

use crate::rig::programs::Programs;
use crate::rig::site::Site;

/// The same spool twice: one for the programs of each implementation.
struct Pair {
    real: Site,
    ours: Site,
    real_programs: Programs,
    our_programs: Programs,
}

/// What a program printed and how it ended, without what tells one site from another.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: Option<i32>,
    out: Vec<String>,
    err: Vec<String>,
}

impl Pair {
    /// Two copies of a spool that real Cyrus wrote; `None` where Cyrus is not installed.
    fn of_fixture(name: &str) -> Option<Self> {
        Some(Self {
            real_programs: Programs::real()?,
            our_programs: Programs::ours()?,
            real: Site::fixture(name, &[]),
            ours: Site::fixture(name, &[]),
        })
    }

    /// Runs a program of both, each on its own copy.
    fn run(&self, program: &str, arguments: &[&str]) -> (Answer, Answer) {
        (
            answer(
                &self.real,
                self.real.tool(&self.real_programs, program, arguments),
            ),
            answer(&self.ours, self.ours.tool(&self.our_programs, program, arguments)),
        )
    }

    /// The same answer from both, but for the words in which a usage is told. Returns what was printed.
    fn same(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        let (real, ours) = self.run(program, arguments);
        assert_eq!(ours, real, "{program} {arguments:?}");
        ours.out
    }

    /// The same exit code and the same lines, in any order, on the standard output.
    fn same_lines(&self, program: &str, arguments: &[&str], is_wanted: fn(&str) -> bool) -> Vec<String> {
        let (mut real, mut ours) = self.run(program, arguments);
        for answer in [&mut real, &mut ours] {
            answer.out.retain(|line| is_wanted(line));
            answer.out.sort();
        }
        assert_eq!(
            (ours.code, &ours.out),
            (real.code, &real.out),
            "{program} {arguments:?}"
        );
        ours.out
    }

    /// The same exit code; the texts are each one's own.
    fn same_code(&self, program: &str, arguments: &[&str]) {
        let (real, ours) = self.run(program, arguments);
        assert_eq!(ours.code, real.code, "{program} {arguments:?}: {ours:?}");
    }

    /// What a program of real Cyrus says of either copy is equal, but for lines that are masked.
    fn equal_for_cyrus(&self, program: &str, arguments: &[&str], mask: fn(&str) -> String) {
        let seen = |site: &Site| -> Vec<String> {
            let seen = answer(site, site.tool(&self.real_programs, program, arguments));
            seen.out.iter().map(|line| mask(line)).collect()
        };
        assert_eq!(seen(&self.ours), seen(&self.real), "{program} {arguments:?}");
    }
}

fn answer(site: &Site, output: Output) -> Answer {
    let root = site.root().display().to_string();
    let lines = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes)
            .replace(&root, "ROOT")
            .replace("/usr/lib/cyrus/bin/", "")
            .lines()
            // What the library of real Cyrus logs on the terminal is no part of the answer.
            .filter(|line| !line.starts_with("cyrus/"))
            .map(str::to_owned)
            .collect()
    };
    Answer {
        code: output.status.code(),
        out: lines(&output.stdout),
        err: lines(&output.stderr),
    }
}
