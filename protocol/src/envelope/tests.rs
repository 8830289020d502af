//! Frames and headers, well formed and not.
