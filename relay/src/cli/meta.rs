//! `liaison-relay version`, `completion`, `man` and `help`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use liaison_node::config::did_you_mean;
use liaison_node::exit::Exit;
use serde_json::json;

use super::{Failure, Out, grammar};
use crate::telemetry::{COMMIT, VERSION};

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay completion bash > /etc/bash_completion.d/liaison-relay")]
pub(crate) struct CompletionArgs {
    /// Which shell
    shell: Shell,
}

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay man | man -l -\n  liaison-relay man -o /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The command; if left out, liaison-relay itself
    command: Option<String>,
    /// Write a page for liaison-relay and one for each command into this folder
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct HelpArgs {
    /// A command (queues), a command of a command (queue show), or exit-codes
    #[arg(value_name = "COMMAND or TOPIC")]
    words: Vec<String>,
}

pub(super) fn version(out: &Out) -> Result<Exit, Failure> {
    if out.json {
        out.object(&json!({ "liaison_relay": VERSION, "commit": COMMIT, "json": 1 }))?;
    } else {
        out.data(&format!("liaison-relay {VERSION} ({COMMIT})\n"))?;
    }
    Ok(Exit::Done)
}

pub(super) fn completion(args: &CompletionArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar(), "liaison-relay", &mut script);
    write(&script)
}

pub(super) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let mut whole = grammar();
    whole.build();
    if let Some(folder) = &args.output {
        save(folder, "liaison-relay", &page(&whole)?)?;
        for sub in whole.get_subcommands() {
            save(folder, &format!("liaison-relay-{}", sub.get_name()), &page(sub)?)?;
        }
        return Ok(Exit::Done);
    }
    let wanted = args.command.iter().map(String::as_str).collect::<Vec<_>>();
    write(&page(find(&whole, &wanted)?)?)
}

pub(super) fn help(args: &HelpArgs) -> Result<Exit, Failure> {
    if args.words == ["exit-codes"] {
        let example = r#"{"error":{"code":"config_invalid","exit":78,"message":"…","retryable":false}}"#;
        let table = Exit::help();
        let text = format!(
            "Exit codes of liaison, liaisond and liaison-relay:\n\n{table}\nWith --json, an error is one object on stderr:\n  {example}\n"
        );
        return write(text.as_bytes());
    }
    let mut whole = grammar();
    whole.build();
    let words = args.words.iter().map(String::as_str).collect::<Vec<_>>();
    let text = find(&whole, &words)?.clone().render_long_help().to_string();
    write(text.as_bytes())
}

fn find<'a>(whole: &'a clap::Command, words: &[&str]) -> Result<&'a clap::Command, Failure> {
    let mut found = whole;
    for word in words {
        found = found.find_subcommand(word).ok_or_else(|| {
            let known = found.get_subcommands().map(clap::Command::get_name).chain(["exit-codes"]);
            let failure = Failure::new(Exit::Usage, "usage", format!("no command or topic '{word}'"));
            match did_you_mean(word, known) {
                Some(near) => failure.hint(format!("did you mean '{near}'?")),
                None => failure,
            }
        })?;
    }
    Ok(found)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}

fn save(folder: &Path, name: &str, text: &[u8]) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, text)
        .map_err(|error| Failure::new(Exit::Io, "output_failed", format!("{}: {error}", path.display())))
}

/// Past the stream that drops styles: roff and scripts are nobody's terminal.
fn write(text: &[u8]) -> Result<Exit, Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()?;
    Ok(Exit::Done)
}
