//! `cyradm`: administers a server over IMAP, in a shell of commands, by scripts, or for other programs in JSON.
//!
//! The startup files are scripts of this program's commands; those of the original, in Perl, are left alone. It speaks to this server and to Cyrus alike: what it can do, IMAP and its extensions for administrators can (ACL, QUOTA,
//! METADATA, SPECIAL-USE).

mod client;
mod commands;
mod editor;
mod options;
mod shell;
mod wire;
mod words;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};

use options::{HELP, Options, Other};
use shell::Shell;

use crate::version;

/// Runs with the arguments `args` (without the program's name). The exit code is that of the last command.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut options = match Options::of(args) {
        Ok(options) => options,
        Err(Other::Help) => {
            print!("{HELP}");
            return 0;
        }
        Err(Other::Version) => {
            println!("version: Cyrus IMAP {}", version::cyrus_version());
            return 0;
        }
        Err(Other::Wrong(what)) => {
            eprintln!("{what}\n{HELP}");
            return BAD_USAGE;
        }
    };
    let variable = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let credentials = &mut options.login.credentials;
    if credentials.password.is_none() {
        credentials.password = variable("CYRADM_PASSWORD");
    }
    if credentials.authenticate_as.is_none() {
        credentials.authenticate_as = variable("USER").or_else(|| variable("LOGNAME"));
    }
    let mut shell = Shell::new(
        options.target.clone(),
        options.login.clone(),
        options.form,
        editor::ask_password,
    );
    if !shell.target.host.is_empty()
        && let Err(failure) = shell.connect(true)
    {
        eprintln!("cyradm: {failure}");
        return 1;
    }
    if options.rc {
        startup_files(&mut shell, &options);
    }
    let code = work(shell, &options);
    code.unwrap_or_else(|error| {
        eprintln!("cyradm: {error}");
        1
    })
}

/// The commands of the command line, of a script, of the standard input, or of a person.
fn work(mut shell: Shell, options: &Options) -> io::Result<u8> {
    if shell.ended.is_none() && !options.execute.is_empty() {
        for line in &options.execute {
            if !run_line(&mut shell, line, options.keep_going) {
                break;
            }
        }
    } else if let Some(path) = options.file.as_ref().filter(|_| shell.ended.is_none()) {
        let file =
            File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        run_script(&mut shell, &mut BufReader::new(file), options.keep_going)?;
    } else if shell.ended.is_none() {
        if io::stdin().is_terminal() {
            return Ok(editor::converse(shell));
        }
        run_script(&mut shell, &mut io::stdin().lock(), true)?;
    }
    shell.disconnect();
    Ok(shell.ended.unwrap_or(shell.last))
}

/// What the site and the user want done first.
fn startup_files(shell: &mut Shell, options: &Options) {
    let home = std::env::var("HOME").ok().map(|home| format!("{home}/.cyradmrc"));
    let system = options.system_rc.clone().unwrap_or_else(|| SYSTEM_RC.to_owned());
    for path in [Some(system), options.user_rc.clone().or(home)]
        .into_iter()
        .flatten()
    {
        if let Ok(file) = File::open(&path)
            && let Err(error) = run_script(shell, &mut BufReader::new(file), true)
        {
            eprintln!("cyradm: {path}: {error}");
        }
    }
    shell.last = 0;
}

fn run_script(shell: &mut Shell, script: &mut dyn BufRead, keep_going: bool) -> io::Result<()> {
    let mut line = Vec::new();
    while shell.ended.is_none() {
        line.clear();
        // A line of a script is no document.
        let read = io::Read::take(&mut *script, LONGEST_LINE).read_until(b'\n', &mut line)?;
        if read == 0 || !run_line(shell, &String::from_utf8_lossy(&line), keep_going) {
            break;
        }
    }
    Ok(())
}

/// Runs the commands of a line; says whether to go on.
fn run_line(shell: &mut Shell, line: &str, keep_going: bool) -> bool {
    let commands = match words::commands(line) {
        Ok(commands) => commands,
        Err(bad) => {
            eprintln!("cyradm: {bad}");
            shell.last = 1;
            return keep_going;
        }
    };
    for command in &commands {
        shell.run(command);
        if shell.ended.is_some() || shell.last != 0 && !keep_going {
            return false;
        }
    }
    true
}

const BAD_USAGE: u8 = 64;
const SYSTEM_RC: &str = "/etc/cyradmrc";
const LONGEST_LINE: u64 = 1 << 20;
