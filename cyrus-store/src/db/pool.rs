//! Databases kept open between uses.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Create, Db, DbContext, DbError, Engine};

/// Open databases for frequent use: descriptors and mappings stay, while every call still locks the file
/// and notices if it was replaced.
///
/// Clones share the databases. A database that is in use when another thread asks for it is opened a second
/// time (on the same descriptor), so that readers do not wait for each other.
#[derive(Clone)]
pub struct DbPool(Arc<Inner>);

struct Inner {
    context: DbContext,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    by_path: HashMap<PathBuf, Handles>,
    count: usize,
}

/// Handles of one file. Those that make it if it is missing are kept apart from those that do not.
#[derive(Default)]
struct Handles {
    making: Vec<Box<dyn Db>>,
    plain: Vec<Box<dyn Db>>,
}

impl Handles {
    fn of(&mut self, create: Create) -> &mut Vec<Box<dyn Db>> {
        match create {
            Create::No => &mut self.plain,
            Create::Yes | Create::New => &mut self.making,
        }
    }
}

impl DbPool {
    /// A pool of databases of one store; nothing is opened yet.
    pub fn new(context: DbContext) -> Self {
        Self(Arc::new(Inner {
            context,
            idle: Mutex::default(),
        }))
    }

    /// What the databases have in common.
    pub fn context(&self) -> &DbContext {
        &self.0.context
    }

    /// A database that was opened before, or opens it as [`open`](super::open) does.
    ///
    /// One whose file was removed since it was opened is missing, unless it is to be made.
    pub fn open(&self, path: &Path, configured: Engine, create: Create) -> Result<Pooled, DbError> {
        let idle = {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let found = idle
                .by_path
                .get_mut(path)
                .and_then(|handles| handles.of(create).pop());
            idle.count -= usize::from(found.is_some());
            found
        };
        let is_gone = || {
            self.0
                .context
                .locks
                .disk()
                .try_stat(path)
                .is_ok_and(|stat| stat.is_none())
        };
        let idle = idle.filter(|_| !matches!(create, Create::No) || !is_gone());
        let db = match idle {
            Some(db) => db,
            None => super::open(&self.0.context, path, configured, create)?,
        };
        Ok(Pooled {
            pool: self.clone(),
            db: Some(db),
            create,
        })
    }

    /// Closes the idle databases; those in use are closed when they are given back.
    pub fn close_idle(&self) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        *idle = Idle::default();
    }

    fn give_back(&self, db: Box<dyn Db>, create: Create) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count >= IDLE_DATABASES {
            // Whichever comes first: the pool is full of files that are hardly used.
            *idle = Idle::default();
        }
        let same = idle.by_path.entry(db.path().to_owned()).or_default().of(create);
        if same.len() < IDLE_EACH {
            same.push(db);
            idle.count += 1;
        }
    }
}

impl std::fmt::Debug for DbPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("DbPool").field("idle", &idle.count).finish()
    }
}

/// A database on loan from a [`DbPool`]; dropping it gives it back.
pub struct Pooled {
    pool: DbPool,
    db: Option<Box<dyn Db>>,
    create: Create,
}

impl Pooled {
    /// Closes the database rather than giving it back.
    pub fn close(mut self) {
        self.db = None;
    }
}

impl Deref for Pooled {
    type Target = dyn Db;

    fn deref(&self) -> &Self::Target {
        self.db
            .as_deref()
            .expect("the database leaves only in close() and drop(), which end the loan")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.db
            .as_deref_mut()
            .expect("the database leaves only in close() and drop(), which end the loan")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            self.pool.give_back(db, self.create);
        }
    }
}

/// Idle databases kept, in all and of one file. Each has one descriptor a file and a mapping.
const IDLE_DATABASES: usize = 256;
const IDLE_EACH: usize = 8;
