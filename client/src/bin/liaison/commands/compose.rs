//! `liaison compose`: a message in the editor.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::flags::{Content, Delivery, apply_settings};
use crate::outgoing::{Carried, Draft, headers, input, submit};
use crate::state::create_private_dir;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison compose --to ncb.ee --tlp amber\n  liaison compose --print | liaison send -t"
)]
pub(crate) struct Args {
    /// Agencies that are to act on the message
    #[arg(long, value_name = "AGENCY,…", value_delimiter = ',')]
    to: Vec<String>,
    /// Print the finished message instead of sending, for 'liaison send -t'
    #[arg(long)]
    print: bool,
    /// Open a draft that was kept. The draft is deleted once the message is in the outbox
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "print", "body", "file", "info", "subject"])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    delivery: Delivery,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    if let Some(path) = &args.resume {
        // What stands there was written before: it is shown again, and not sent unseen.
        let edited = reopen(path).await?;
        return send_edited(cx, edited, Vec::new(), &args.delivery).await;
    }
    let mut draft = Draft { to: args.to, ..Draft::default() };
    if args.content.body.is_some() || args.content.file.is_some() || args.content.dash() {
        draft.text = input::text(&cx.out, &args.content).await?.unwrap_or_default();
    }
    args.content.apply(&mut draft)?;
    if args.print {
        apply_settings(cx, &mut draft)?;
        let edited = edit(cx, &draft).await?;
        cx.out.data(&headers::format(&edited.draft))?;
        edited.discard();
        return Ok(Exit::Done);
    }
    edit_and_send(cx, draft, &args.delivery).await
}

/// Opens `draft` in the editor and sends what comes back. What was written survives every failure.
pub(crate) async fn edit_and_send(cx: &Context, mut draft: Draft, how: &Delivery) -> Result<Exit, Failure> {
    apply_settings(cx, &mut draft)?;
    let carry = std::mem::take(&mut draft.carry);
    let edited = edit(cx, &draft).await?;
    send_edited(cx, edited, carry, how).await
}

async fn send_edited(cx: &Context, edited: Edited, carry: Vec<Carried>, how: &Delivery) -> Result<Exit, Failure> {
    let outcome = submit::send(cx, Draft { carry, ..edited.draft.clone() }, how).await;
    match outcome {
        // A rehearsal leaves the draft for the performance.
        Ok(exit) if how.dry_run => {
            cx.out.note(&again(&edited.path));
            Ok(exit)
        }
        // A wait that ran out is no failed send.
        Err(failure) if failure.code != "not_yet" => Err(edited.kept(failure)),
        outcome => {
            edited.discard();
            outcome
        }
    }
}

/// What the editor left, and the file that still holds it.
struct Edited {
    draft: Draft,
    path: PathBuf,
}

impl Edited {
    fn discard(self) {
        // Left behind it costs nothing but a file in the user's own state folder.
        let _ = std::fs::remove_file(self.path);
    }

    fn kept(&self, failure: Failure) -> Failure {
        kept(&self.path, failure)
    }
}

fn again(path: &Path) -> String {
    format!("draft kept, readable to you alone: liaison compose --resume {}", path.display())
}

async fn reopen(path: &Path) -> Result<Edited, Failure> {
    crate::files::open_regular(path)?;
    run_editor(path).await.map_err(|failure| kept(path, failure))?;
    let text = std::fs::read_to_string(path).map_err(|error| Failure::input(path, &error))?;
    let draft = headers::parse(&text).map_err(|failure| kept(path, failure))?;
    Ok(Edited { draft, path: path.into() })
}

fn kept(path: &Path, mut failure: Failure) -> Failure {
    let again = again(path);
    failure.hint = Some(failure.hint.map_or_else(|| again.clone(), |hint| format!("{hint}; {again}")));
    failure
}

async fn edit(cx: &Context, draft: &Draft) -> Result<Edited, Failure> {
    let path = new_draft_file(&cx.settings.places.state.join("drafts"), &template(draft))?;
    cx.out.detail(&format!("draft: {}", path.display()));
    run_editor(&path).await.map_err(|failure| kept(&path, failure))?;
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::input(&path, &error))?;
    if text == template(draft) || text.trim().is_empty() {
        let _ = std::fs::remove_file(&path);
        return Err(Failure::new(Exit::Finding, "nothing_written", "nothing written, nothing sent"));
    }
    let draft = headers::parse(&text).map_err(|failure| kept(&path, failure))?;
    Ok(Edited { draft, path })
}

fn template(draft: &Draft) -> String {
    "# Lines with # up to the blank line are remarks. The text goes below the blank line.\n\
     # Tlp: clear, green, amber, amber+strict or red. Precedence: routine, priority, immediate or flash.\n\
     # Attach: a path a line.\n"
        .to_owned()
        + &headers::format(draft)
}

/// A file that only this user reads, under a name that nothing has.
fn new_draft_file(dir: &Path, text: &str) -> Result<PathBuf, Failure> {
    create_private_dir(dir).map_err(|error| Failure::output(dir, &error))?;
    let stamp = jiff::ZonedDateTime::now().strftime("%Y%m%d-%H%M%S").to_string();
    let path = dir.join(format!("{stamp}-{}.txt", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    made.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Failure::output(&path, &error))?;
    Ok(path)
}

/// `$VISUAL`, `$EDITOR` or vi, through the shell as git does it: the variable may carry arguments.
async fn run_editor(path: &Path) -> Result<(), Failure> {
    let chosen =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let editor = chosen.unwrap_or_else(|| "vi".into());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{editor} \"$@\""), "sh"]).arg(path);
    let failed = |reason: String| Failure::new(Exit::Io, "editor_failed", format!("{editor}: {reason}"));
    match tokio::task::spawn_blocking(move || command.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(status.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_reads_back_as_the_draft() {
        let draft =
            Draft { to: vec!["ncb.ee".into()], subject: "x".into(), text: "hello\n".into(), ..Draft::default() };
        assert_eq!(headers::parse(&template(&draft)).unwrap(), draft);
    }

    #[test]
    fn drafts_are_for_their_author_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = new_draft_file(&dir.path().join("drafts"), "text").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
