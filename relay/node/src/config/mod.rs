//! Reading a TOML file into checked values, for relay.toml and liaisond.toml alike.
//!
//! A [`Reader`] walks one table; every getter records what is wrong, with file, line and key, and goes on, so that
//! one run names every mistake of a file. serde would stop at the first, which is why it is not used here.
//!
//! ```
//! use std::path::Path;
//! use liaison_node::config::{self, Size};
//!
//! let text = "id = 'eu-1'\n[limits]\nper_agency_byte = '20GiB'\n";
//! let read = |root: &mut config::Reader<'_>| {
//!     let id = root.required::<String>("id");
//!     let bytes = root.table("limits", |limits| limits.text::<Size>("per_agency_bytes"));
//!     Some((id?, bytes))
//! };
//! let error = config::parse(Path::new("relay.toml"), text, read).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "relay.toml:3: [limits] per_agency_byte: unknown key, did you mean 'per_agency_bytes'?",
//! );
//! ```

mod address;
mod near;
mod reader;
mod secret;
mod unit;

use std::fmt;
use std::path::{Path, PathBuf};

pub use address::Address;
pub use near::did_you_mean;
pub use reader::Reader;
pub use secret::{
    CREDENTIALS_ENV, ParseSecretRefError, SecretError, SecretRef, check_secret, read_public, read_secret,
};
pub use unit::{ParseUnitError, Rate, Share, Size, Span};

/// A configuration file, at most; longer ones are refused before they are read.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// From 1; none where the mistake is something missing.
    pub line: Option<usize>,
    /// `[table] key`, `key` at the top, or empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Why a configuration is not used. `Display` gives one line for each problem, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// Reads and parses `file` ([`parse`]). Relative paths in it are relative to its folder.
///
/// # Errors
/// As [`parse`], and when the file cannot be read.
pub fn load<T>(file: &Path, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, ConfigError> {
    let whole = |text: String| ConfigError {
        problems: vec![Problem { file: file.into(), line: None, key: String::new(), text }],
    };
    let bytes = read_public(file, FILE_BYTES_MAX).map_err(|error| whole(error.reason()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count();
        ConfigError {
            problems: vec![Problem {
                file: file.into(),
                line: Some(line),
                key: String::new(),
                text: "not UTF-8 text".into(),
            }],
        }
    })?;
    parse(file, &text, read)
}

/// Parses `text` as the TOML of `file`, and hands its top table to `read`.
///
/// `read` returns `None` only after a getter has recorded a problem; whatever it returns, one recorded problem makes
/// the whole an error.
///
/// # Errors
/// Every problem found, in the order of the file.
pub fn parse<T>(file: &Path, text: &str, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, ConfigError> {
    let (value, mut problems) = reader::read_document(file, text, read);
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(ConfigError { problems }),
    }
}

#[cfg(test)]
mod tests;
