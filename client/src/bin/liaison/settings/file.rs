//! `config.toml` and `profiles/NAME.toml`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use liaison_client::api::model::{Precedence, Tlp};
use liaison_node::config::{self, Reader};
use liaison_node::exit::Exit;

use super::Places;
use crate::cli::ColorWhen;
use crate::failure::Failure;
use crate::text::parse_span;

/// Both files have the same keys; `profile` counts in `config.toml` only. No secrets belong here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileToml {
    /// Profile where neither `--profile` nor `LIAISON_PROFILE` names one.
    pub(crate) profile: Option<String>,
    /// The daemon's socket.
    pub(crate) socket: Option<PathBuf>,
    /// `auto`, `always` or `never`.
    pub(crate) color: Option<ColorWhen>,
    /// Mark of messages that name none.
    pub(crate) tlp: Option<Tlp>,
    /// Precedence of messages that name none.
    pub(crate) precedence: Option<Precedence>,
    /// Lifetime of messages that name none.
    pub(crate) expires: Option<Span>,
    /// Root keys for `verify`.
    pub(crate) roots: Option<PathBuf>,
}

/// A span as people type it: `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_span(text).map(Self)
    }
}

impl FileToml {
    /// All keys absent if there is no such file. Relative paths start from its folder.
    ///
    /// # Errors
    /// Every mistake, with file, line and key.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let mistakes = |error: config::ConfigError| Failure::new(Exit::Config, "bad_config", error);
        config::load(path, |keys| Some(Self::from_keys(keys))).map_err(mistakes)
    }

    fn from_keys(keys: &mut Reader<'_>) -> Self {
        Self {
            profile: keys.text("profile"),
            socket: keys.path("socket"),
            color: keys.text("color"),
            tlp: keys.text("tlp"),
            precedence: keys.text("precedence"),
            expires: keys.text("expires"),
            roots: keys.path("roots"),
        }
    }
}

/// Names of the profiles that have a file, sorted.
pub(super) fn profile_names(places: &Places) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(places.config.join("profiles")) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(name).filter(|name| super::is_profile_name(name)).collect();
    names.sort();
    names
}
