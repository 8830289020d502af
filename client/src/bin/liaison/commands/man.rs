//! `liaison man`.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::command;
use crate::failure::Failure;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison man | man -l -\n  liaison man send | man -l -\n  liaison man -o /usr/local/share/man/man1"
)]
pub(crate) struct Args {
    /// The command; if left out, liaison itself
    command: Option<String>,
    /// Write a page for liaison and one for each command into this folder
    #[arg(short, long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut whole = command();
    whole.build();
    if let Some(dir) = &args.output {
        page(&whole).and_then(|text| save(dir, "liaison", &text))?;
        for sub in whole.get_subcommands() {
            page(sub).and_then(|text| save(dir, &format!("liaison-{}", sub.get_name()), &text))?;
        }
        return Ok(Exit::Done);
    }
    let wanted = match &args.command {
        Some(name) => super::help::find(&whole, std::slice::from_ref(name))?,
        None => &whole,
    };
    write(&page(wanted)?)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}

fn save(dir: &Path, name: &str, text: &[u8]) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, text).map_err(|error| Failure::output(&path, &error))
}

/// Past the stream that drops styles: roff and scripts are nobody's terminal.
pub(super) fn write(text: &[u8]) -> Result<Exit, Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()?;
    Ok(Exit::Done)
}
