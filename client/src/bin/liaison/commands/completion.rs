//! `liaison completion`.

use clap_complete::Shell;

use crate::cli::command;
use crate::failure::Failure;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison completion bash > ~/.local/share/bash-completion/completions/liaison")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "liaison", &mut script);
    super::man::write(&script)
}
