//! Replays `console` blocks: lines that begin with `$ ` are commands, what follows is what they print.
//!
//! In the expected text `[..]` stands for anything within a line, and a line `...` for any number of lines.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The fenced blocks of a language.
pub(crate) fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in markdown.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(name)) if name == language => block = Some(String::new()),
            (Some(_), Some(_)) => found.extend(block.take()),
            (Some(text), None) => *text += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    found
}

/// A command and what it prints.
pub(crate) struct Step {
    command: String,
    expected: Vec<String>,
}

pub(crate) fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.into(), expected: Vec::new() }),
            (None, Some(step)) => step.expected.push(line.into()),
            (None, None) => panic!("a block begins with output: {line}"),
        }
    }
    steps
}

/// A shell in a group of its own, so that nothing it started outlives it.
pub(crate) struct Session {
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const MARK: &str = "-- end of step --";
/// A daemon makes its keys and opens its store before it answers.
const START: Duration = Duration::from_secs(30);

impl Session {
    pub(crate) fn start(folder: &Path, binaries: &Path) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(folder).process_group(0);
        command.env("PATH", format!("{}:{path}", binaries.display())).env("HOME", folder).env("TZ", "UTC");
        for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "LIAISON_SOCKET", "LIAISON_PROFILE"] {
            command.env_remove(variable);
        }
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        input.write_all(b"exec 2>&1\n").unwrap();
        Self { shell, input, output: BufReader::new(output) }
    }

    /// Runs a step and compares what it prints. Building and `PATH` are the test's own.
    pub(crate) fn replay(&mut self, step: &Step) {
        if step.command.starts_with("cargo ") || step.command.starts_with("export PATH=") {
            return;
        }
        let printed = self.run(&step.command);
        if !matches(&step.expected, &printed) {
            let logs = self.run("sg status @last; tail -n 8 *.log");
            let [expected, printed, logs] = [&step.expected, &printed, &logs].map(|lines| lines.join("\n"));
            panic!("$ {}\nexpected:\n{expected}\nprinted:\n{printed}\nand then:\n{logs}", step.command);
        }
        if step.command.contains('&') {
            self.wait_for_socket(&step.command);
        }
        if step.command.starts_with("sg()") {
            // Until Tallinn's keys have come by, a message to it waits for them.
            self.wait_for("sg --json agencies 2>/dev/null | grep '\"ncb.ee\".*prekeys_until'");
        }
    }

    fn run(&mut self, command: &str) -> Vec<String> {
        writeln!(self.input, "{command}\necho '{MARK}'").unwrap();
        let mut printed = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the shell ended at: {command}");
            match line.trim_end_matches('\n').strip_suffix(MARK) {
                Some("") => return printed,
                Some(unended) => {
                    printed.push(unended.into());
                    return printed;
                }
                None if is_notice(&line) => {}
                None => printed.push(line.trim_end().into()),
            }
        }
    }

    fn wait_for_socket(&mut self, command: &str) {
        if let Some(config) = command.split(' ').find(|word| word.ends_with(".toml")) {
            self.wait_for(&format!("test -S {} && echo yes", config.replace(".toml", ".sock")));
        }
    }

    /// Waits until `command` prints something: a person would type the next line later than a program does.
    fn wait_for(&mut self, command: &str) {
        let deadline = Instant::now() + START;
        while self.run(command).is_empty() {
            assert!(Instant::now() < deadline, "in vain: {command}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The whole group: a failed test must leave nothing behind.
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.shell.id())]).status();
        let _ = self.shell.wait();
    }
}

/// What a shell that is not interactive says of a job that was killed, sooner or later: `bash: line 65: 26055 Killed …`, with
/// a short number moved to the right.
fn is_notice(line: &str) -> bool {
    let rest = line.strip_prefix("bash: line ").and_then(|rest| rest.split_once(": "));
    rest.and_then(|(_, rest)| rest.trim_start().split_once(' ')).is_some_and(|(process, rest)| {
        process.bytes().all(|byte| byte.is_ascii_digit()) && rest.trim_start().starts_with("Killed ")
    })
}

fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "..." => (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, others)| line_matches(line, first) && matches(rest, others))
        }
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split("[..]");
    let Some(mut rest) = parts.next().and_then(|start| printed.strip_prefix(start)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((end, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(end)
}

#[test]
fn wildcards_stand_for_what_varies_and_for_nothing_else() {
    let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
    assert!(matches(&lines("a [..] c\n...\nz"), &lines("a b b c\nx\ny\nz")));
    assert!(matches(&lines("...\nz"), &lines("z")));
    assert!(!matches(&lines("a [..] c"), &lines("a b d")));
    assert!(!matches(&lines("a"), &lines("a\nb")));
    assert!(!matches(&lines("a\nb"), &lines("a")));
}

#[test]
fn the_shells_word_on_a_killed_job_is_not_what_a_command_prints() {
    assert!(is_notice(
        "bash: line 65: 26055 Killed                  liaison-relay --config relay.toml run 2> eu-1.log\n"
    ));
    assert!(is_notice("bash: line 63:  1636 Killed                  liaison-relay run\n"));
    assert!(!is_notice("bash: line 65: liaison: command not found\n"));
    assert!(!is_notice("bash: line 65: 26055 Segmentation fault      liaison-relay\n"));
}
