//! `liaison help`.

use crate::cli::command;
use crate::failure::Failure;
use crate::suggest;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A command (send), a command of a command (agency show), or exit-codes
    #[arg(value_name = "COMMAND or TOPIC")]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let text = if args.words == ["exit-codes"] {
        exit_codes()
    } else {
        let mut whole = command();
        whole.build();
        find(&whole, &args.words)?.clone().render_long_help().to_string()
    };
    super::man::write(text.as_bytes())
}

fn exit_codes() -> String {
    format!(
        "Exit codes of liaison, liaisond and liaison-relay:\n\n{}\nWith --json, an error is one object on stderr:\n  {}\n",
        Exit::help(),
        r#"{"error":{"code":"unknown_agency","exit":67,"message":"…","hint":"…","retryable":false}}"#
    )
}

/// The command that `words` lead to.
pub(super) fn find<'a>(whole: &'a clap::Command, words: &[String]) -> Result<&'a clap::Command, Failure> {
    let mut found = whole;
    for word in words {
        found = found.find_subcommand(word).ok_or_else(|| {
            let known = found.get_subcommands().map(clap::Command::get_name).chain(["exit-codes"]);
            Failure::usage(format!("no command or topic '{word}'"))
                .maybe_hint(suggest::question(&suggest::near(word, known)))
        })?;
    }
    Ok(found)
}
