//! Key files, whole and planted.
