use crate::daemon::received;
use crate::runner::Desk;

#[test]
fn a_slip_in_an_agency_is_answered_before_anything_is_sent() {
    let desk = Desk::new();
    let send = ["send", "--to", "ncb.eee", "-s", "x", "--tlp", "green", "--body", "y"];
    let ended = desk.run(&send);
    assert_eq!(ended.code, 67);
    assert!(ended.stderr.starts_with("liaison: unknown agency 'ncb.eee'; did you mean 'ncb.ee'?\n"), "{ended:?}");
    assert!(desk.daemon.world().submissions.is_empty());

    let ended = desk.run(&[&["--json"], &send[..]].concat());
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["error"]["code"], "unknown_agency");
    assert_eq!(error["error"]["exit"], 67);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_daemon_that_is_not_there_is_named_with_the_socket_that_was_tried() {
    let desk = Desk::new();
    let ended = desk.run(&["--socket", "nowhere.sock", "inbox"]);
    assert_eq!(ended.code, 69);
    assert!(ended.stderr.contains("cannot reach the daemon at nowhere.sock: No such file"), "{ended:?}");
    assert!(ended.stderr.contains("ask the daemon's administrator"), "{ended:?}");
    let doctor = desk.run(&["--socket", "nowhere.sock", "doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.contains("fail  daemon          cannot reach"), "{doctor:?}");
}

#[test]
fn a_prefix_of_none_or_several_is_said() {
    let desk = Desk::new();
    desk.daemon.world().messages = vec![received('b'), received('b')];
    let ended = desk.run(&["read", "b000"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (65, "liaison: b000 names 2 messages\n"));
    assert_eq!(desk.run(&["read", "c000"]).stderr, "liaison: no message c000\n");
}

#[test]
fn usage_errors_are_exit_2_and_json_where_asked() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["send"]).code, 2);
    let ended = desk.run(&["--json", "send", "--to", "ncb.ee", "--tlp", "white"]);
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((ended.code, error["error"]["code"].as_str()), (2, Some("usage")));
}

#[test]
fn a_file_that_cannot_be_attached_stops_the_message() {
    let desk = Desk::new();
    let ended = desk.run(&["send", "--to", "ncb.ee", "-s", "x", "--tlp", "green", "--body", "y", "-a", "missing.csv"]);
    assert_eq!(ended.code, 66);
    assert!(ended.stderr.contains("missing.csv: No such file"), "{ended:?}");
    let ended = desk.pipe(b"\xff", &["send", "--to", "ncb.ee", "-s", "x", "--tlp", "green"]);
    assert_eq!(ended.code, 65);
    assert!(desk.daemon.world().submissions.is_empty());
}

#[test]
fn a_wrong_configuration_names_file_line_and_key() {
    let desk = Desk::new();
    desk.file(".config/liaison/config.toml", b"\nsokcet = \"x\"\ntlp = \"white\"\n");
    let ended = desk.run(&["inbox"]);
    assert_eq!(ended.code, 78);
    assert!(ended.stderr.contains("config.toml:2: sokcet: unknown key, did you mean 'socket'?"), "{ended:?}");
    assert!(ended.stderr.contains("\n  "), "{ended:?}");
    assert_eq!(desk.run(&["config", "check"]).code, 78);
    assert_eq!(desk.run(&["completion", "bash"]).code, 0);
}

#[test]
fn settings_say_where_they_come_from() {
    let desk = Desk::new();
    desk.file(".config/liaison/profiles/live.toml", b"tlp = \"amber\"\n");
    assert_eq!(desk.run(&["profile", "use", "live"]).code, 0);
    let ended = desk.run(&["config", "show", "--origin"]);
    let line = |key: &str| ended.stdout.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("tlp").contains("amber") && line("tlp").ends_with("profiles/live.toml"), "{ended:?}");
    assert!(line("socket").ends_with("environment LIAISON_SOCKET"));
    assert!(line("expires").ends_with("default"));
    assert!(desk.run(&["profile", "list"]).stdout.starts_with("* live"));
}

#[test]
fn manuals_completions_and_topics_need_no_daemon() {
    let desk = Desk::new();
    let run = |words: &[&str]| desk.run(&[&["--socket", "nowhere.sock"], words].concat());
    assert!(run(&["man"]).stdout.contains(".TH liaison 1"));
    assert!(run(&["man", "send"]).stdout.contains("liaison\\-send"));
    assert!(run(&["completion", "zsh"]).stdout.contains("#compdef liaison"));
    assert!(run(&["help", "exit-codes"]).stdout.contains("  75  not yet"));
    assert!(run(&["help", "send"]).stdout.contains("--id-key"));
    assert_eq!(run(&["help", "snd"]).code, 2);
    assert_eq!(run(&["version"]).stdout, concat!("liaison ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn alone_it_prints_five_lines() {
    let desk = Desk::new();
    let ended = desk.run(&[]);
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 5), "{ended:?}");
    assert!(ended.stdout.ends_with("next      liaison doctor\n"), "{ended:?}");
}
