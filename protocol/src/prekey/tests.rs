//! Prekeys and bundles, as they should be and as an attacker would like them.
