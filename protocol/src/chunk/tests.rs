//! Chunks in order, and out of it.
