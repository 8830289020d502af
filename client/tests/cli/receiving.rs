use liaison_client::api::model::{CustodyTrace, MessageState, Part, Precedence, Tlp};
use sha2::{Digest, Sha256};

use crate::daemon::{id, line, received};
use crate::runner::Desk;

/// A sent message's way, as far as tests need it.
pub(crate) fn trace(first: char, state: MessageState) -> CustodyTrace {
    CustodyTrace {
        id: id(first),
        subject: "x".into(),
        tlp: Tlp::Amber,
        precedence: Precedence::Routine,
        created: "2026-11-24T06:00:00Z".parse().unwrap(),
        expires: "2126-11-24T06:00:00Z".parse().unwrap(),
        state,
        hops: Vec::new(),
        attempts: Vec::new(),
        recipients: Vec::new(),
    }
}

fn part(n: u32, name: &str, octets: &[u8]) -> Part {
    let sha256 = Sha256::digest(octets).iter().map(|byte| format!("{byte:02x}")).collect();
    Part { n, name: name.into(), bytes: octets.len() as u64, bytes_here: octets.len() as u64, sha256 }
}

#[test]
fn an_empty_inbox_is_no_line_and_no_failure() {
    let desk = Desk::new();
    for words in [&["inbox"][..], &["inbox", "--json"]] {
        let ended = desk.run(words);
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""));
    }
}

#[test]
fn a_listing_names_its_lines() {
    let desk = Desk::new();
    desk.daemon.world().inbox = vec![line(1, 'b'), line(2, 'c')];
    desk.daemon.world().messages = vec![received('b'), received('c')];
    let ended = desk.run(&["inbox", "--from", "ncb.ee", "--tlp", "amber", "--unread"]);
    assert_eq!(ended.stdout.lines().count(), 3);
    assert!(ended.stdout.lines().nth(1).unwrap().starts_with("1 ● c000000000"), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'));
    let query = desk.daemon.world().queries[0].clone();
    assert_eq!((query.unread, query.tlp, query.limit), (Some(true), Some(Tlp::Amber), Some(50)));

    assert!(desk.run(&["read", "@2"]).stdout.starts_with(&format!("Id         {}", id('b'))));
    assert_eq!(desk.run(&["read", "@3"]).code, 65);
    // Nothing has been sent from here.
    assert_eq!(desk.run(&["read", "@last"]).code, 65);
}

#[test]
fn a_programs_listing_does_not_change_what_numbers_name() {
    let desk = Desk::new();
    desk.daemon.world().inbox = vec![line(1, 'b'), line(2, 'c')];
    desk.daemon.world().messages = vec![received('b'), received('c')];
    desk.run(&["inbox"]);
    desk.daemon.world().inbox = vec![line(1, 'b')];
    desk.run(&["inbox", "--json"]);
    assert!(desk.run(&["read", "@1"]).stdout.contains(&id('c').to_string()));
}

#[test]
fn a_listing_whose_reader_leaves_names_its_lines_all_the_same() {
    let desk = Desk::new();
    desk.daemon.world().inbox = vec![line(1, 'b'), line(2, 'c')];
    desk.daemon.world().messages = vec![received('b'), received('c')];
    let mut command = desk.command(&["inbox"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    assert!(desk.run(&["read", "@1"]).stdout.contains(&id('c').to_string()));
}

#[test]
fn a_listing_that_was_cut_says_how_to_go_on() {
    let desk = Desk::new();
    desk.daemon.world().inbox = vec![line(1, 'b'), line(2, 'c')];
    let ended = desk.run(&["inbox", "--limit", "1"]);
    assert_eq!(
        (ended.stdout.lines().count(), ended.stderr.as_str()),
        (2, "! 1 message shown; see older ones with --before 2\n")
    );
    let ended = desk.run(&["inbox", "--before", "2"]);
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (2, ""));
}

/// Whatever could drive a terminal or hide in it: C0, DEL, C1, direction overrides, zero width.
const HOSTILE: &str = "a\u{1b}[2Jb\u{7f}c\u{9b}31md\u{202e}e\u{2066}f\u{200b}g\u{200f}h\u{e0041}i";

#[test]
fn nothing_that_a_sender_writes_drives_a_terminal_and_a_pipe_loses_none_of_it() {
    let desk = Desk::new();
    let mut message = received('b');
    (message.subject, message.text) = (HOSTILE.into(), HOSTILE.into());
    message.handling = vec![HOSTILE.into()];
    message.parts = vec![part(1, HOSTILE, b"x")];
    let mut summary = line(1, 'b');
    summary.subject = HOSTILE.into();
    let mut way = trace('b', MessageState::Custody);
    way.subject = HOSTILE.into();
    desk.daemon.world().messages = vec![message];
    desk.daemon.world().inbox = vec![summary];
    desk.daemon.world().trace = Some(way);
    desk.daemon.world().octets.insert(1, b"x".to_vec());
    let hostile = |c: char| c != '\n' && (c.is_control() || !c.is_ascii() && HOSTILE.contains(c));
    let commands = [&["inbox"][..], &["read", "b000"], &["status", "b000"], &["save", "b000"]];
    for words in commands {
        let text = desk.run(words);
        assert_eq!(text.code, 0, "{text:?}");
        assert!(!text.stdout.contains(hostile) && !text.stderr.contains(hostile), "{text:?}");
        let json = desk.run(&[words, &["--json"]].concat());
        assert!(!json.stdout.contains(hostile) && !json.stderr.contains(hostile), "{json:?}");
        let said: serde_json::Value = serde_json::from_str(json.stdout.trim_end()).unwrap();
        let field = if words[0] == "save" { "name" } else { "subject" };
        assert_eq!(said[field], HOSTILE, "{json:?}");
        let picked = desk.run(&[words, &[&format!("--json={field}")]].concat());
        assert!(!picked.stdout.contains(hostile), "{picked:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(picked.stdout.trim_end()).unwrap()[field], HOSTILE);
    }
}

#[test]
fn colour_is_for_terminals_or_on_demand() {
    let desk = Desk::new();
    desk.daemon.world().messages = vec![received('b')];
    assert!(!desk.run(&["read", "b0000"]).stdout.contains('\u{1b}'));
    assert!(desk.run(&["--color", "always", "read", "b0000"]).stdout.contains('\u{1b}'));
}

#[test]
fn reading_sends_a_receipt_once_and_only_if_it_may() {
    let desk = Desk::new();
    desk.daemon.world().messages = vec![received('b')];
    let ended = desk.run(&["read", "b000", "--mark-unread"]);
    assert!(ended.stdout.ends_with("\n\nTwo hits.\n"), "{ended:?}");
    assert!(desk.daemon.world().read.is_empty());
    assert_eq!(desk.run(&["read", "b000", "--raw"]).stdout, "Two hits.\n");
    assert_eq!(desk.daemon.world().read, [id('b').to_string()]);
}

#[test]
fn a_message_that_nothing_proves_is_withheld_everywhere() {
    let desk = Desk::new();
    let mut forged = received('b');
    forged.verification.verified = false;
    forged.verification.reason = Some("signature does not match".into());
    forged.parts = vec![part(1, "x", b"x")];
    desk.daemon.world().messages = vec![forged];
    desk.daemon.world().octets.insert(1, b"x".to_vec());
    for words in [&["read", "b000"][..], &["read", "b000", "--raw"], &["read", "b000", "--json"], &["save", "b000"]] {
        let ended = desk.run(words);
        assert_eq!(ended.code, 65, "{ended:?}");
        assert!(!ended.stdout.contains("Two hits"), "{ended:?}");
        assert!(ended.stderr.contains("signature does not match"), "{ended:?}");
    }
    assert!(desk.daemon.world().read.is_empty());
    assert!(desk.run(&["read", "b000", "--unverified"]).stdout.contains("Two hits"));
}

#[test]
fn attachments_are_saved_whole_under_safe_names() {
    let desk = Desk::new();
    let (first, second) = (vec![7u8; 300_000], b"a,b\n".to_vec());
    let mut message = received('b');
    message.parts = vec![part(1, "../../evil\u{202e}.bin", &first), part(2, "hits.csv", &second)];
    desk.daemon.world().messages = vec![message];
    desk.daemon.world().octets = [(1, first.clone()), (2, second.clone())].into();
    std::fs::create_dir(desk.path("out")).unwrap();

    let ended = desk.run(&["save", "b000", "-o", "out"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "out/_.._evil_.bin\nout/hits.csv\n"), "{ended:?}");
    assert!(std::fs::read(desk.path("out/_.._evil_.bin")).unwrap() == first);
    assert_eq!(desk.run(&["save", "b000", "-o", "out", "--part", "2"]).stdout, "out/hits.2.csv\n");
    assert_eq!(desk.run(&["save", "b000", "--part", "2", "-o", "-"]).stdout, "a,b\n");
    let names = std::fs::read_dir(desk.path("out")).unwrap().count();
    assert_eq!(names, 3);
}

#[test]
fn an_attachment_that_is_not_what_was_announced_leaves_no_file() {
    let desk = Desk::new();
    let mut message = received('b');
    message.parts = vec![part(1, "hits.csv", b"what was signed")];
    desk.daemon.world().messages = vec![message];
    desk.daemon.world().octets.insert(1, b"what was served".to_vec());
    std::fs::create_dir(desk.path("out")).unwrap();
    let ended = desk.run(&["save", "b000", "-o", "out"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (65, ""), "{ended:?}");
    assert_eq!(std::fs::read_dir(desk.path("out")).unwrap().count(), 0);
}

#[test]
fn status_says_where_a_message_is_and_fails_when_it_is_lost() {
    let desk = Desk::new();
    desk.daemon.world().trace = Some(trace('a', MessageState::Custody));
    assert_eq!(desk.run(&["status", "a000"]).code, 0);
    desk.daemon.world().trace = Some(trace('a', MessageState::Undeliverable));
    assert_eq!(desk.run(&["status", "a000"]).code, 1);
    assert_eq!(desk.run(&["status", "a000", "--wait", "delivered"]).code, 1);
}
