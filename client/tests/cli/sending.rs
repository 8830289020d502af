use liaison_client::api::model::{EventKind, MessageState, Precedence, Tlp};

use crate::daemon::{event, id, received};
use crate::receiving::trace;
use crate::runner::{Desk, text};

const STORED: &str = "a000000000  stored in outbox (fsync 3 ms)   to ncb.ee   routine   TLP:AMBER   1 part, 5 B\n";

#[test]
fn a_piped_text_is_stored_and_one_line_says_so() {
    let desk = Desk::new();
    let ended = desk.pipe(b"hello", &["send", "--to", "ncb.ee", "-s", "Case 1142", "--tlp", "amber"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, STORED), "{ended:?}");
    assert_eq!(ended.stderr, "! to follow the message: liaison status a000000000\n");
    let world = desk.daemon.world();
    let (submission, key) = &world.submissions[0];
    assert_eq!((submission.text.as_str(), submission.subject.as_str()), ("hello", "Case 1142"));
    assert_eq!(submission.expires_in_s, Some(604_800));
    assert!(key.is_some());
}

#[test]
fn quiet_means_data_alone() {
    let desk = Desk::new();
    let ended = desk.run(&["-q", "send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "hello"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (STORED, ""));
}

#[test]
fn json_is_one_object_with_the_fields_asked_for() {
    let desk = Desk::new();
    let send = ["send", "--to", "ncb.ee,ncb.fr", "-s", "x", "--tlp", "green", "--body", "y"];
    let ended = desk.run(&[&send[..], &["--json=tlp,to,state"]].concat());
    assert_eq!(ended.stdout, "{\"tlp\":\"green\",\"to\":[\"ncb.ee\",\"ncb.fr\"],\"state\":\"outbox\"}\n");
    let ended = desk.run(&[&send[..], &["--json=tpl"]].concat());
    assert_eq!((ended.code, desk.daemon.world().submissions.len()), (2, 1));
    assert!(ended.stderr.contains("unknown field 'tpl'"), "{ended:?}");
}

#[test]
fn an_answer_that_got_lost_is_asked_for_again_and_nothing_is_sent_twice() {
    let desk = Desk::new();
    desk.daemon.world().lose_next_answer = true;
    let ended = desk.run(&["send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "hello"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("a000000000  already in outbox (same key)"), "{ended:?}");
    assert_eq!(desk.daemon.world().submissions.len(), 1);
}

#[test]
fn a_key_is_passed_on() {
    let desk = Desk::new();
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "y", "--id-key", "case-1142"];
    assert_eq!(desk.run(&send).code, 0);
    assert!(desk.run(&send).stdout.contains("already in outbox"));
    assert_eq!(desk.daemon.world().submissions[0].1.as_deref(), Some("case-1142"));
}

#[test]
fn the_same_files_under_the_same_key_are_the_same_message_and_move_once() {
    let desk = Desk::new();
    let hits = desk.file("hits.csv", b"a,b");
    let send =
        ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "y", "--id-key", "k", "-a", text(&hits)];
    assert_eq!(desk.run(&send).code, 0);
    assert!(desk.run(&send).stdout.contains("already in outbox"));
    let moved = desk.daemon.world().uploads.len();
    assert_eq!((moved, desk.daemon.world().submissions.len()), (1, 1));
    desk.file("hits.csv", b"c,d,e");
    assert_eq!(desk.run(&send).code, 65);
}

#[test]
fn an_unmarked_message_takes_the_profiles_mark_or_is_refused() {
    let desk = Desk::new();
    desk.daemon.world().unmarked_is_refused = true;
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--body", "y"];
    let ended = desk.run(&send);
    assert_eq!(ended.code, 65);
    assert!(ended.stderr.contains("give --tlp, or set tlp in the profile"), "{ended:?}");

    desk.file(".config/liaison/config.toml", b"profile = \"live\"\n");
    desk.file(".config/liaison/profiles/live.toml", b"tlp = \"red\"\nprecedence = \"priority\"\n");
    assert_eq!(desk.run(&send).code, 0);
    let submission = desk.daemon.world().submissions[0].0.clone();
    assert_eq!((submission.tlp, submission.precedence), (Some(Tlp::Red), Some(Precedence::Priority)));
}

#[test]
fn what_cannot_be_undone_needs_a_yes() {
    let desk = Desk::new();
    let red = ["send", "--to", "ncb.ee,ncb.fr", "-s", "x", "--tlp", "red", "--body", "y"];
    let flash = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "green", "--precedence", "flash", "--body", "y"];
    for send in [&red[..], &flash[..]] {
        // A session of its own has no terminal to ask on.
        let mut command = std::process::Command::new("setsid");
        command.arg("--wait").arg(env!("CARGO_BIN_EXE_liaison")).args(send);
        command.env("HOME", desk.dir.path()).env("LIAISON_SOCKET", desk.path("d.sock"));
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert!(desk.daemon.world().submissions.is_empty());
        assert_eq!(desk.run(&[send, &["--yes"]].concat()).code, 0);
        desk.daemon.world().submissions.clear();
    }
}

#[test]
fn a_dry_run_checks_everything_and_sends_nothing() {
    let desk = Desk::new();
    let hits = desk.file("hits.csv", &[b'x'; 3000]);
    let ended =
        desk.run(&["send", "--to", "ncb.ee", "-s", "x", "--tlp", "red", "--body", "y", "-a", text(&hits), "--dry-run"]);
    assert_eq!(ended.stdout, "not sent (dry run)   to ncb.ee   routine   TLP:RED   2 parts, 2.9 KiB\n");
    assert!(desk.daemon.world().submissions.is_empty() && desk.daemon.world().uploads.is_empty());
}

#[test]
fn attachments_are_uploaded_and_an_interrupted_upload_is_resumed() {
    let desk = Desk::new();
    let octets: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let hits = desk.file("hits.csv", &octets);
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "y", "-a", text(&hits)];

    desk.daemon.world().stop_upload_at = Some(2 * 1024 * 1024);
    assert_eq!(desk.run(&send).code, 69);
    desk.daemon.world().stop_upload_at = None;
    let ended = desk.run(&send);
    assert!(ended.stderr.contains("hits.csv: resumed at 69 %"), "{ended:?}");
    assert_eq!(ended.code, 0);

    let world = desk.daemon.world();
    assert_eq!(world.uploads.len(), 1);
    assert!(world.uploads["up-0"].1 == octets);
    let attachment = &world.submissions[0].0.attachments[0];
    assert_eq!((attachment.upload.as_str(), attachment.name.as_str()), ("up-0", "hits.csv"));
}

#[test]
fn progress_is_for_programs_too() {
    let desk = Desk::new();
    let hits = desk.file("hits.csv", &[0; 5000]);
    let ended = desk.run(&[
        "send",
        "--to",
        "ncb.ee",
        "-s",
        "x",
        "--tlp",
        "amber",
        "--body",
        "y",
        "-a",
        text(&hits),
        "--progress",
        "json",
    ]);
    let line = "{\"progress\":{\"bytes\":5000,\"name\":\"hits.csv\",\"total\":5000}}\n";
    assert!(ended.stderr.contains(line), "{ended:?}");
}

#[test]
fn headers_come_with_the_text() {
    let desk = Desk::new();
    let input = b"To: ncb.ee\nSubject: from cron\nTlp: green\nPrecedence: immediate\n\nbody\n";
    assert_eq!(desk.pipe(input, &["send", "-t"]).code, 0);
    let submission = desk.daemon.world().submissions[0].0.clone();
    assert_eq!((submission.subject.as_str(), submission.text.as_str()), ("from cron", "body\n"));
    assert_eq!(submission.precedence, Some(Precedence::Immediate));
}

#[test]
fn an_editor_writes_and_a_draft_survives_a_failure() {
    let desk = Desk::new();
    let editor = "sed -i -e 's/^To:.*/To: ncb.eee/' -e 's/^Subject:.*/Subject: edited/' -e '$ahello'";
    let compose = ["compose", "--to", "ncb.ee", "--tlp", "amber"];
    let ended = desk.run_with_env(&compose, &[("EDITOR", editor), ("PATH", "/usr/bin:/bin")]);
    assert_eq!(ended.code, 67, "{ended:?}");
    let draft = ended.stderr.split("--resume ").nth(1).unwrap().trim().to_owned();
    assert!(std::fs::read_to_string(&draft).unwrap().contains("Subject: edited\n"));

    let mend = [("EDITOR", "sed -i -e 's/ncb.eee/ncb.ee/'"), ("PATH", "/usr/bin:/bin")];
    let ended = desk.run_with_env(&["compose", "--resume", &draft], &mend);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(desk.daemon.world().submissions[0].0.text, "hello\n");
    assert!(!std::path::Path::new(&draft).exists(), "a clear text is not left behind");
}

#[test]
fn an_answer_goes_back_in_its_thread_with_its_mark() {
    let desk = Desk::new();
    desk.daemon.world().messages.push(received('b'));
    assert_eq!(desk.pipe(b"thanks", &["reply", "b0000", "--all"]).code, 0);
    let submission = desk.daemon.world().submissions[0].0.clone();
    assert_eq!((submission.in_reply_to, submission.tlp), (Some(id('b')), Some(Tlp::Amber)));
    assert_eq!((submission.to[0].as_str(), submission.info[0].as_str()), ("ncb.ee", "ncb.fr"));
    assert_eq!(submission.subject, "Re: Case 1142");
}

#[test]
fn a_wait_that_runs_out_is_no_failed_send() {
    let desk = Desk::new();
    desk.daemon.world().trace = Some(trace('a', MessageState::Custody));
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "hello", "--wait", "delivered"];
    let ended = desk.run(&[&send[..], &["--timeout", "1s"]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (75, STORED), "{ended:?}");
    assert!(ended.stderr.contains("not delivered after 1s; the message is safe"), "{ended:?}");
}

#[test]
fn a_wait_ends_when_the_receipt_is_in() {
    let desk = Desk::new();
    desk.daemon.world().trace = Some(trace('a', MessageState::Custody));
    let world = desk.daemon.world.clone();
    let delivery = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut world = world.lock().unwrap();
        world.trace = Some(trace('a', MessageState::Delivered));
        world.events.push(event(1, EventKind::Delivered, Some(id('a'))));
    });
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "amber", "--body", "hello", "--wait", "delivered"];
    let ended = desk.run(&[&send[..], &["--json=state"]].concat());
    delivery.join().unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "{\"state\":\"delivered\"}\n"), "{ended:?}");
}

#[test]
fn a_flag_replaces_its_header() {
    let desk = Desk::new();
    let mail = b"To: ncb.fr\nInfo: ncb.ee\nSubject: x\nTlp: green\n\nhi";
    let ended = desk.pipe(mail, &["send", "-t", "--to", "ncb.ee", "--info", "ncb.fr"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let submission = desk.daemon.world().submissions[0].0.clone();
    assert_eq!(submission.to, ["ncb.ee".parse().unwrap()]);
    assert_eq!(submission.info, ["ncb.fr".parse().unwrap()]);
}

#[test]
fn a_piped_head_attaches_files_only_where_that_is_allowed() {
    let desk = Desk::new();
    let secret = desk.file("secret.txt", b"secret");
    let mail = format!("To: ncb.ee\nSubject: x\nTlp: green\nAttach: {}\n\nhi", text(&secret));
    let ended = desk.pipe(mail.as_bytes(), &["send", "-t"]);
    assert_eq!((ended.code, desk.daemon.world().submissions.len()), (65, 0), "{ended:?}");
    assert_eq!(desk.pipe(mail.as_bytes(), &["send", "-t", "--allow-attach"]).code, 0);
    assert_eq!(desk.daemon.world().submissions[0].0.attachments.len(), 1);
}

#[test]
fn files_that_a_shell_puts_behind_a_are_attached() {
    let desk = Desk::new();
    let (one, two) = (desk.file("1.csv", b"1"), desk.file("2.csv", b"2"));
    let send = ["send", "--to", " ncb.ee, ncb.fr ", "-s", "x", "--tlp", "green", "--body", "y"];
    let ended = desk.run(&[&send[..], &["-a", text(&one), text(&two), text(&one)]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("is named twice and attached once"), "{ended:?}");
    let submission = desk.daemon.world().submissions[0].0.clone();
    assert_eq!((submission.to.len(), submission.attachments.len()), (2, 2));
    let ended = desk.run(&[&send[..], &[text(&one)]].concat());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("to attach a file, write -a before it"), "{ended:?}");
}

#[test]
fn standard_input_can_be_an_attachment() {
    let desk = Desk::new();
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "green", "-a", "-"];
    assert_eq!(desk.pipe(b"1,2", &send).code, 2);
    assert_eq!(desk.pipe(b"1,2", &[&send[..], &["--body", "y"]].concat()).code, 0);
    let attachments = desk.daemon.world().submissions[0].0.attachments.clone();
    assert_eq!(attachments.iter().map(|each| each.name.as_str()).collect::<Vec<_>>(), ["stdin"]);
}

#[test]
fn a_text_is_never_lost_or_empty_in_silence() {
    let desk = Desk::new();
    let send = ["send", "--to", "ncb.ee", "-s", "x", "--tlp", "green"];
    let ended = desk.pipe(b"", &send);
    assert_eq!((ended.code, desk.daemon.world().submissions.len()), (2, 0), "{ended:?}");
    let ended = desk.run(&[&send[..], &["--body", ""]].concat());
    assert_eq!((ended.code, ended.stderr.contains("! the text is empty")), (0, true), "{ended:?}");
    let piped = desk.file("piped", b"piped");
    let mut command = desk.command(&[&send[..], &["--body", "y"]].concat());
    let output = command.stdin(std::fs::File::open(piped).unwrap()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input is not read"), "{output:?}");
}

#[test]
fn an_answer_that_cannot_be_written_names_the_message() {
    let desk = Desk::new();
    let mut command = desk.command(&["send", "--to", "ncb.ee", "-s", "x", "--tlp", "green", "--body", "y"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(stderr.contains(&format!("the message is in the outbox as {}", id('a'))), "{stderr}");
}

#[test]
fn an_answer_says_first_whom_it_answers() {
    let desk = Desk::new();
    desk.daemon.world().messages = vec![received('b')];
    let ended = desk.run(&["reply", "b0000", "--body", "thanks", "--dry-run"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.starts_with("! to ncb.ee, in answer to b000000000 of ncb.ee: "), "{ended:?}");
}

#[test]
fn what_was_uploaded_for_a_message_that_is_refused_is_deleted() {
    let desk = Desk::new();
    desk.daemon.world().refuse_for_good = true;
    let path = desk.path("hits.csv");
    std::fs::write(&path, b"one,two").unwrap();
    let path = path.to_str().unwrap();
    let ended = desk.run(&["send", "--to", "ncb.ee", "-s", "s", "--tlp", "green", "--body", "x", "-a", path]);
    assert_eq!(ended.code, 77, "{}", ended.stderr);
    assert!(desk.daemon.world().uploads.is_empty());
}
