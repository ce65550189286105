//! Everything that can be done with a database file of any content, for fuzzing and tests of damage.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{Create, Db, DbContext, DbError, Engine};
use crate::lock::LockTable;
use crate::sys::{Disk, Open, SimDisk};

/// Opens a file of this content and reads, changes and mends it. Whatever the content, this ends soon and does
/// not panic, and a file that was mended or that could be written afterwards is consistent.
pub fn exercise(engine: Engine, content: &[u8]) {
    let sim = SimDisk::new();
    let path = Path::new("/damaged.db");
    let written = sim
        .open(path, Open::create())
        .and_then(|file| file.write_at(content, 0));
    written.expect("a simulated disk takes a file in its root");
    let context = DbContext::new(LockTable::new(Arc::new(sim)));
    // What these answer depends on the damage; that they answer is all that matters.
    let _ = super::check(&context, path, engine);
    let _ = super::open(&context, path, engine, Create::No).and_then(|mut db| use_all(db.as_mut()));
    if super::recover(&context, path, engine).is_ok() {
        let report = super::check(&context, path, engine).expect("a file that was just mended can be read");
        assert!(report.clean && report.is_consistent(), "mended, but {report:?}");
        let used = super::open(&context, path, engine, Create::No).and_then(|mut db| use_all(db.as_mut()));
        used.expect("a file that was just mended can be used");
    }
}

fn use_all(db: &mut dyn Db) -> Result<(), DbError> {
    let mut keys = Vec::new();
    db.scan(b"", &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    for key in keys.iter().take(50) {
        db.get(key)?;
    }
    let mut txn = db.begin()?;
    txn.put(b"user.new", b"value")?;
    for key in keys.iter().take(5) {
        txn.remove(key)?;
    }
    txn.commit()?;
    db.checkpoint()
}
