//! Limits of the process: open files, creation mask.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

use crate::config::{Config, Opt};

/// Raises the limit of open files to the most that the system allows, and returns it; `None` is no limit.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Refused only by exotic sandboxes; the old limit then stays.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
    getrlimit(Resource::Nofile).current
}

/// Sets the creation mask of imapd.conf's `umask`, 077 by default.
pub fn set_umask(config: &Config) {
    umask(Mode::from_raw_mode(mask_of(&config.string(Opt::Umask))));
}

/// The mask written as an octal number; nonsense is the safe default, which hides new files from others.
fn mask_of(text: &str) -> u32 {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mask| *mask <= 0o777)
        .unwrap_or(0o077)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_octal_and_nonsense_is_private() {
        assert_eq!(mask_of("022"), 0o022);
        assert_eq!(mask_of("77"), 0o077);
        assert_eq!(mask_of("99"), 0o077);
        assert_eq!(mask_of("7777"), 0o077);
        assert_eq!(mask_of(""), 0o077);
    }

    #[test]
    fn the_limit_of_open_files_ends_at_the_hard_one() {
        assert_eq!(raise_open_files(), getrlimit(Resource::Nofile).maximum);
    }
}
