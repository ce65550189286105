//! What a check or a recovery of a database found.

use std::borrow::Cow;

use super::Engine;

/// The result of [`Db::check`](super::Db::check).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The engine of the file.
    pub engine: Engine,
    /// Keys in the database.
    pub records: u64,
    /// Octets of the file.
    pub size: u64,
    /// The last transaction was ended properly; if not, the next writer undoes it, which is no damage.
    pub clean: bool,
    /// All that is wrong, in the order it was met.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_consistent(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing wrong with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file.
    pub at: u64,
    /// What.
    pub what: Cow<'static, str>,
}

/// The result of [`Db::recover`](super::Db::recover).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was wrong.
    Clean {
        /// Keys in the database.
        records: u64,
    },
    /// The lists were mended and what an unfinished transaction left was cut off.
    Mended {
        /// Keys in the database.
        records: u64,
    },
    /// The lists could not be mended; the database was built anew from the transactions recorded in the file.
    Rebuilt {
        /// Keys in the database.
        records: u64,
    },
}
