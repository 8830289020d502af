//! Configuration: flag, then environment, then profile, then `config.toml`, then default. Each value knows which won.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use liaison_client::api::model::{Precedence, Tlp};

use crate::cli::{ColorWhen, Global};
use crate::failure::Failure;
use liaison_node::exit::Exit;

mod file;

pub(crate) use file::{FileToml, Span};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Env(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// What all commands go by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) profile: Sourced<String>,
    pub(crate) socket: Sourced<PathBuf>,
    pub(crate) color: Sourced<ColorWhen>,
    /// Mark of a message that names none; without one here, the daemon's policy decides, or refuses.
    pub(crate) tlp: Sourced<Option<Tlp>>,
    pub(crate) precedence: Sourced<Precedence>,
    pub(crate) expires: Sourced<Duration>,
    /// Public root keys and threshold, for `verify`.
    pub(crate) roots: Sourced<Option<PathBuf>>,
    pub(crate) places: Places,
}

/// Directories, by the XDG base directory rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `$XDG_CONFIG_HOME/liaison`: `config.toml` and `profiles/`.
    pub(crate) config: PathBuf,
    /// `$XDG_STATE_HOME/liaison`: listings, unfinished uploads, drafts.
    pub(crate) state: PathBuf,
    /// The socket where no other is named.
    pub(crate) socket: PathBuf,
}

/// Reads one environment variable; empty counts as absent.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Places {
    pub(crate) fn from_env(env: Env<'_>) -> Self {
        let home = env("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        // The base directory rules: a relative path is to be ignored.
        let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let under = |name, tail: &str| absolute(name).unwrap_or_else(|| home.join(tail)).join("liaison");
        let own = absolute("XDG_RUNTIME_DIR").map(|run| run.join("liaison/liaisond.sock"));
        let socket = own.filter(|socket| socket.exists()).unwrap_or_else(|| "/run/liaison/liaisond.sock".into());
        Self { config: under("XDG_CONFIG_HOME", ".config"), state: under("XDG_STATE_HOME", ".local/state"), socket }
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    pub(crate) fn profile_file(&self, name: &str) -> PathBuf {
        self.config.join("profiles").join(format!("{name}.toml"))
    }
}

impl Settings {
    /// # Errors
    /// A file that is there and wrong, a profile that is named and not there.
    pub(crate) fn load(global: &Global, env: Env<'_>) -> Result<Self, Failure> {
        let places = Places::from_env(env);
        let config = FileToml::read(&places.config_file())?;
        let profile = Ladder::new(env, "LIAISON_PROFILE")
            .flag("--profile", global.profile.clone())
            .file(places.config_file(), config.profile.clone())
            .climb()?
            .or_default("default".into());
        let own = read_profile(&places, &profile)?;
        let files = Files { own: (places.profile_file(&profile.value), own), config: (places.config_file(), config) };
        let socket = Ladder::new(env, "LIAISON_SOCKET").flag("--socket", global.socket.clone());
        let color = Ladder::new(env, "LIAISON_COLOR").flag("--color", global.color);
        let expires: Sourced<Span> = files
            .under(Ladder::new(env, "LIAISON_EXPIRES"), |file| file.expires)?
            .or_default(Span(liaison_protocol::limits::LIFETIME_DEFAULT));
        Ok(Self {
            socket: files.under(socket, |file| file.socket.clone())?.or_default(places.socket.clone()),
            color: files.under(color, |file| file.color)?.or_default(ColorWhen::Auto),
            tlp: files.under(Ladder::new(env, "LIAISON_TLP"), |file| file.tlp)?.optional(),
            precedence: files
                .under(Ladder::new(env, "LIAISON_PRECEDENCE"), |file| file.precedence)?
                .or_default(Precedence::Routine),
            expires: Sourced { value: expires.value.0, origin: expires.origin },
            roots: files.under(Ladder::new(env, "LIAISON_ROOTS"), |file| file.roots.clone())?.optional(),
            profile,
            places,
        })
    }
}

/// The file of the profile. Only the one that nobody named may be missing.
fn read_profile(places: &Places, profile: &Sourced<String>) -> Result<FileToml, Failure> {
    if !is_profile_name(&profile.value) {
        return Err(Failure::new(Exit::Config, "bad_profile", format!("'{}' is no profile name", profile.value))
            .hint("use letters, digits, '-' and '_'"));
    }
    let path = places.profile_file(&profile.value);
    if profile.origin != Origin::Default && !path.exists() {
        let message = format!("no profile '{}' ({} is not there)", profile.value, path.display());
        let names = file::profile_names(places);
        let near = crate::suggest::near(&profile.value, names.iter().map(String::as_str));
        let hint = crate::suggest::question(&near).unwrap_or_else(|| "see liaison profile list".into());
        return Err(Failure::new(Exit::Config, "unknown_profile", message).hint(hint));
    }
    FileToml::read(&path)
}

/// A profile's name is a file's name: no separators, no dots.
pub(crate) fn is_profile_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

pub(crate) fn profile_names(places: &Places) -> Vec<String> {
    file::profile_names(places)
}

/// The two files, the profile's first.
struct Files {
    own: (PathBuf, FileToml),
    config: (PathBuf, FileToml),
}

impl Files {
    fn under<T>(&self, ladder: Ladder<'_, T>, pick: impl Fn(&FileToml) -> Option<T>) -> Result<Found<T>, Failure>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let own = (self.own.0.clone(), pick(&self.own.1));
        let config = (self.config.0.clone(), pick(&self.config.1));
        ladder.file(own.0, own.1).file(config.0, config.1).climb()
    }
}

/// One setting's sources, highest first.
struct Ladder<'e, T> {
    env: Env<'e>,
    name: &'static str,
    flag: Option<Sourced<T>>,
    file: Option<Sourced<T>>,
}

/// What a ladder led to.
struct Found<T>(Option<Sourced<T>>);

impl<'e, T: FromStr<Err: fmt::Display>> Ladder<'e, T> {
    fn new(env: Env<'e>, name: &'static str) -> Self {
        Self { env, name, flag: None, file: None }
    }

    fn flag(self, name: &'static str, value: Option<T>) -> Self {
        Self { flag: value.map(|value| Sourced { value, origin: Origin::Flag(name) }), ..self }
    }

    /// The next lower file.
    fn file(self, path: PathBuf, value: Option<T>) -> Self {
        let file = value.map(|value| Sourced { value, origin: Origin::File(path) });
        Self { file: self.file.or(file), ..self }
    }

    fn climb(self) -> Result<Found<T>, Failure> {
        if self.flag.is_some() {
            return Ok(Found(self.flag));
        }
        let Some(text) = (self.env)(self.name) else { return Ok(Found(self.file)) };
        match text.parse() {
            Ok(value) => Ok(Found(Some(Sourced { value, origin: Origin::Env(self.name) }))),
            Err(error) => Err(Failure::new(Exit::Config, "bad_config", format!("{}: {error}", self.name))),
        }
    }
}

impl<T> Found<T> {
    fn or_default(self, value: T) -> Sourced<T> {
        self.0.unwrap_or(Sourced { value, origin: Origin::Default })
    }

    fn optional(self) -> Sourced<Option<T>> {
        match self.0 {
            Some(Sourced { value, origin }) => Sourced { value: Some(value), origin },
            None => Sourced { value: None, origin: Origin::Default },
        }
    }
}

#[cfg(test)]
mod tests;
