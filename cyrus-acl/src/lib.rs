//! Access control lists of the Cyrus mail store: rights, identifiers, groups and effective rights.
