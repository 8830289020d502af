use super::*;
use crate::outgoing::flags::WaitFor;
use liaison_client::api::model::{ContentType, Precedence, Tlp};

fn parsed(words: &[&str]) -> Cli {
    try_parsed(words).unwrap_or_else(|error| panic!("{error}"))
}

fn try_parsed(words: &[&str]) -> Result<Cli, clap::Error> {
    let words = ["liaison"].iter().chain(words);
    command().try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches))
}

fn send(words: &[&str]) -> commands::send::Args {
    match parsed(words).command {
        Some(Command::Send(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    command().debug_assert();
}

#[test]
fn the_manuals_example_is_read() {
    let args =
        send(&["send", "--to", "ncb.ee,ncb.fr", "-s", "Case 1142", "--tlp", "AMBER", "-a", "hits.csv", "-a", "b", "-"]);
    assert_eq!(args.to, ["ncb.ee", "ncb.fr"]);
    assert_eq!(args.content.attach.len(), 2);
    assert_eq!((args.content.tlp, args.content.dash()), (Some(Tlp::Amber), true));
    assert_eq!(args.delivery.timeout.as_secs(), 30);
}

#[test]
fn every_flag_of_send_is_read() {
    let args = send(&[
        "send",
        "--to",
        "ncb.ee",
        "--info",
        "ncb.fr",
        "--subject",
        "s",
        "--file",
        "note",
        "--tlp",
        "amber+strict",
        "--handling",
        "A1",
        "--handling",
        "B2",
        "--precedence",
        "flash",
        "--expires",
        "2d",
        "--reply-to",
        "@1",
        "--type",
        "stix",
        "--wait",
        "read",
        "--timeout",
        "5m",
        "--id-key",
        "case-1142",
        "--dry-run",
        "--yes",
        "--progress",
        "json",
    ]);
    assert_eq!(
        (args.content.precedence, args.content.content_type),
        (Some(Precedence::Flash), Some(ContentType::Stix))
    );
    assert_eq!((args.delivery.wait, args.delivery.id_key.as_deref()), (Some(WaitFor::Read), Some("case-1142")));
    assert_eq!(args.content.expires.unwrap().as_secs(), 172_800);
    assert!(args.delivery.dry_run && args.delivery.yes);
}

#[test]
fn the_text_comes_from_one_place() {
    assert!(try_parsed(&["send", "--to", "ncb.ee", "--body", "x", "--file", "y"]).is_err());
    for wrong in [&["--body", "x", "-"][..], &["stray"]] {
        let args = send(&[&["send", "--to", "ncb.ee"], wrong].concat());
        let failure = args.content.apply(&mut crate::outgoing::Draft::default()).unwrap_err();
        assert_eq!(failure.exit, 2, "{failure:?}");
    }
}

#[test]
fn recipients_may_come_from_headers_but_from_somewhere() {
    assert!(try_parsed(&["send", "-s", "x"]).is_err());
    assert!(send(&["send", "-t"]).headers);
}

#[test]
fn a_wrong_word_is_answered_with_the_right_ones() {
    let error = try_parsed(&["send", "--to", "ncb.ee", "--tlp", "orange"]).unwrap_err().to_string();
    assert!(error.contains("amber+strict") && !error.contains("white"), "{error}");
    let error = try_parsed(&["send", "--to", "ncb.ee", "--tlp", "White"]).unwrap_err().to_string();
    assert!(error.contains("write --tlp clear"), "{error}");
    assert!(try_parsed(&["send", "--to", "ncb.ee", "--tlp", "TLP:AMBER+STRICT"]).is_ok());
    let error = try_parsed(&["snd"]).unwrap_err().to_string();
    assert!(error.contains("'send'"), "{error}");
}

#[test]
fn json_is_a_switch_or_a_list_of_fields() {
    assert_eq!(parsed(&["inbox"]).global.format(), Format::Text);
    assert_eq!(parsed(&["inbox", "--json"]).global.format(), Format::Json(None));
    assert_eq!(parsed(&["--json", "inbox"]).global.format(), Format::Json(None));
    let fields = Some(vec!["id".to_owned(), "from".to_owned()]);
    assert_eq!(parsed(&["inbox", "--json=id,from"]).global.format(), Format::Json(fields));
}

#[test]
fn messages_are_named_on_the_command_line() {
    assert!(try_parsed(&["read", "@last"]).is_ok());
    assert!(try_parsed(&["read", "4m7x0q"]).is_ok());
    let error = try_parsed(&["read", "4m7"]).unwrap_err().to_string();
    assert!(error.contains("at least 4 characters"), "{error}");
}

#[test]
fn every_command_has_help_and_starts_with_what_it_does() {
    let mut whole = command();
    whole.build();
    for sub in whole.get_subcommands() {
        let help = sub.clone().render_help().to_string();
        assert!(help.contains("Usage: liaison"), "{help}");
        assert!(sub.get_about().is_some(), "{}", sub.get_name());
    }
}
