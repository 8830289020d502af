//! `liaison config`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::cli::Global;
use crate::context::Context;
use crate::failure::Failure;
use crate::settings::{Places, Settings, profile_names};
use crate::text::{pad, safe_line};
use liaison_node::exit::Exit;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Show the settings that hold
    Show {
        /// Say where each one comes from
        #[arg(long)]
        origin: bool,
    },
    /// Check config.toml and every profile
    Check,
}

/// One setting.
#[derive(Debug, Serialize, ToSchema)]
struct Setting {
    /// Its key in the file.
    key: &'static str,
    /// Its value; empty if there is none.
    value: String,
    /// Flag, environment variable, file or `default`.
    origin: String,
}

pub(crate) fn run(command: &Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Show { origin } => show(&Context::load(global)?, *origin),
        Command::Check => check(global),
    }
}

fn show(cx: &Context, with_origin: bool) -> Result<Exit, Failure> {
    cx.out.check_fields::<Setting>()?;
    let settings = settings(&cx.settings);
    if cx.out.is_json() {
        settings.iter().try_for_each(|setting| cx.out.object(setting))?;
        return Ok(Exit::Done);
    }
    let line = |setting: &Setting| {
        let value = if setting.value.is_empty() { "(none)" } else { &setting.value };
        let value = safe_line(value);
        let origin = safe_line(&setting.origin);
        let line = if with_origin { format!("{}  {origin}", pad(&value, 32)) } else { value };
        format!("{:<12}{line}\n", setting.key)
    };
    cx.out.data(&settings.iter().map(line).collect::<String>())?;
    Ok(Exit::Done)
}

fn settings(s: &Settings) -> Vec<Setting> {
    let setting =
        |key, value: String, origin: &crate::settings::Origin| Setting { key, value, origin: origin.to_string() };
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    vec![
        setting("profile", s.profile.value.clone(), &s.profile.origin),
        setting("socket", s.socket.value.display().to_string(), &s.socket.origin),
        setting("tlp", s.tlp.value.map(|tlp| tlp.to_string()).unwrap_or_default(), &s.tlp.origin),
        setting("precedence", s.precedence.value.to_string(), &s.precedence.origin),
        setting("expires", format!("{}s", s.expires.value.as_secs()), &s.expires.origin),
        setting("color", s.color.value.to_string(), &s.color.origin),
        setting("roots", path(&s.roots.value).unwrap_or_default(), &s.roots.origin),
    ]
}

/// Every profile as it would be used. The first problem of each is said; the last of them ends the command.
fn check(global: &Global) -> Result<Exit, Failure> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let places = Places::from_env(&env);
    let mut checked = vec![("config.toml".to_owned(), Settings::load(global, &env))];
    for name in profile_names(&places) {
        let global = Global { profile: Some(name.clone()), ..global.clone() };
        checked.push((format!("profile {name}"), Settings::load(&global, &env)));
    }
    let cx_out = crate::out::Out { format: global.format(), quiet: global.quiet, verbose: global.verbose };
    let mut failed = None;
    for (name, settings) in checked {
        match settings {
            Ok(_) => cx_out.data(&format!("ok    {name}\n"))?,
            Err(failure) => {
                let mistakes = failure.message.lines().map(safe_line).collect::<Vec<_>>().join("\n      ");
                cx_out.data(&format!("fail  {name}\n      {mistakes}\n"))?;
                failed = Some(failure);
            }
        }
    }
    failed.map_or(Ok(Exit::Done), Err)
}
