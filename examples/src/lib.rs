//! Programs that embed the mail store; see the files in `src/bin`.
