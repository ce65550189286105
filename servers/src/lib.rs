//! What the daemons and tools share.
