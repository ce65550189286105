//! On-disk formats: bytes to checked views and back. Nothing here opens a file or takes a lock.

pub(crate) mod flat;
pub(crate) mod skiplist;
pub(crate) mod twoskip;
