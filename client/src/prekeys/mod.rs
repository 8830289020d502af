//! Calendar prekeys: made ahead, published, and erased on schedule (security.md, "Calendar prekeys").

pub mod slots;
