//! The real program, from start to stop.

use std::fs;

use certs_dev::remove_agency;
use rustix::process::Signal;
use serde_json::Value;

use crate::site::{Site, eventually, get};

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_relay_runs_answers_and_stops() {
    let site = Site::new(1);
    let running = site.start();
    let status = site.relay(&["--json", "status"]);
    assert_eq!(status.code, 0, "{status:?}");
    let status = object(&status.stdout);
    assert_eq!((&status["id"], &status["role"], &status["region"]), (&"ap-1".into(), &"relay".into(), &"asia".into()));
    assert_eq!(status["roster"]["version"], 1);
    assert_eq!(get(site.admin(), "/healthz", ""), (200, "ok\n".into()));
    assert_eq!(get(site.admin(), "/readyz", ""), (200, "ok\n".into()));
    assert_eq!(get(site.admin(), "/v1/status", "").0, 404);
    let check = site.relay(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.stdout.contains("held by this relay, which runs"), "{check:?}");
    let ended = running.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!site.path("relay.sock").exists());
    let last = object(ended.stderr.lines().last().unwrap());
    assert_eq!((&last["level"], &last["message"]), (&"INFO".into(), &"stopped".into()));
}

#[test]
fn commands_say_so_when_no_relay_runs() {
    let site = Site::new(1);
    let socket = site.path("relay.sock");
    for command in ["status", "links", "queues", "drain", "reload"] {
        let ended = site.relay(&[command]);
        assert_eq!((ended.code, ended.stdout.as_str()), (69, ""));
        assert!(
            ended.stderr.starts_with(&format!("liaison-relay: no relay answers at {}: ", socket.display())),
            "{ended:?}"
        );
    }
}

#[test]
fn a_second_relay_on_the_same_store_is_refused() {
    let site = Site::new(1);
    let running = site.start();
    let same = site.relay(&["run"]);
    assert_eq!(same.code, 74);
    assert!(same.stderr.contains("relay.sock: another relay listens here; stop that process first"), "{same:?}");
    // Another socket and other ports do not help.
    site.edit("admin_socket = \"relay.sock\"", "admin_socket = \"other.sock\"");
    site.edit(&format!("quic = \"{}\"", site.quic()), "quic = \"127.0.0.1:0\"");
    site.edit(&format!("admin = \"{}\"", site.admin()), "admin = \"127.0.0.1:0\"");
    let other = site.relay(&["run"]);
    assert_eq!(other.code, 74, "{other:?}");
    assert!(other.stderr.contains("is in use by another process; stop it first"), "{other:?}");
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_reload_takes_the_new_roster_and_says_what_needs_a_restart() {
    let site = Site::new(1);
    let running = site.start();
    let agency = site.federation.agencies[1].id.clone();
    site.federation.publish(|roster| remove_agency(roster, &agency)).unwrap();
    site.append("\n[telemetry]\nlog = \"debug\"\n\n[limits]\nper_agency_bytes = \"1GiB\"\n");
    let ended = site.relay(&["reload"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = "\
roster         version 2 now, 1 before
applied        [telemetry] log
needs restart  [limits]
";
    assert_eq!(ended.stdout, expected);
    eventually("version 2", || {
        (object(&site.relay(&["--json", "status"]).stdout)["roster"]["version"] == 2).then_some(())
    });
    assert_eq!(site.relay(&["reload"]).stdout, "roster         version 2, as before\nneeds restart  [limits]\n");
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_hangup_reloads() {
    let site = Site::new(1);
    let running = site.start();
    site.federation.publish(|_| {}).unwrap();
    running.signal(Signal::HUP);
    eventually("version 2", || {
        (object(&site.relay(&["--json", "status"]).stdout)["roster"]["version"] == 2).then_some(())
    });
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_reload_that_fails_changes_nothing_and_is_counted() {
    let site = Site::new(1);
    let running = site.start();
    let roster = site.federation.roster_path();
    let good = fs::read(&roster).unwrap();
    let current = site.federation.roster().unwrap();
    site.append("\n[telemetry]\nlogg = \"debug\"\n");
    let config = site.relay(&["reload"]);
    assert_eq!(config.code, 78, "{config:?}");
    assert!(config.stderr.contains("[telemetry] logg: unknown key, did you mean 'log'?"), "{config:?}");
    site.edit("\n[telemetry]\nlogg = \"debug\"\n", "");

    let mut forged: Value = serde_json::from_slice(&good).unwrap();
    forged["signatures"].as_array_mut().unwrap().truncate(1);
    fs::write(&roster, serde_json::to_vec(&forged).unwrap()).unwrap();
    let unsigned = site.relay(&["reload"]);
    assert_eq!(unsigned.code, 65, "{unsigned:?}");
    assert!(unsigned.stderr.contains("1 valid signatures of trusted root keys, 2 are needed"), "{unsigned:?}");

    site.federation.publish(|_| {}).unwrap_err();
    fs::write(&roster, site.federation.sign_next(&current, |_| {}).unwrap()).unwrap();
    assert_eq!(site.relay(&["reload"]).code, 0);
    fs::write(&roster, &good).unwrap();
    let older = site.relay(&["reload"]);
    let said = "liaison-relay: roster version 1 is older than version 2, which is in force\n";
    assert_eq!((older.code, older.stderr.as_str()), (65, said));

    let (_, metrics) = get(site.admin(), "/metrics", "");
    assert!(metrics.contains("liaison_config_reload_total{result=\"refused\"} 3\n"), "{metrics}");
    assert!(metrics.contains("liaison_config_reload_total{result=\"ok\"} 1\n"));
    assert!(metrics.contains("liaison_config_last_reload_success 0\n"));
    assert!(metrics.contains("liaison_admin_actions_total{action=\"reload\",result=\"refused\"} 3\n"));
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_draining_relay_is_healthy_and_not_ready() {
    let site = Site::new(1);
    let running = site.start();
    let drained = site.relay(&["drain", "--wait", "--timeout", "20s"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert_eq!(drained.stdout, "draining: no new custody; 0 messages held, 0 in flight\n");
    assert_eq!(get(site.admin(), "/healthz", "").0, 200);
    assert_eq!(get(site.admin(), "/readyz", ""), (503, "not ok: draining\n".into()));
    let (status, verbose) = get(site.admin(), "/readyz?verbose", "");
    assert_eq!(status, 503);
    let checks = object(&verbose)["checks"].as_array().unwrap().clone();
    let names: Vec<_> =
        checks.iter().map(|check| (check["name"].as_str().unwrap(), check["ok"].as_bool().unwrap())).collect();
    assert_eq!(names, [("clock", true), ("draining", false), ("roster", true), ("store", true)]);
    assert_eq!(site.relay(&["status"]).code, 1);
    assert_eq!(site.relay(&["undrain"]).code, 0);
    assert_eq!(get(site.admin(), "/readyz", "").0, 200);
    assert_eq!(site.relay(&["status"]).code, 0);
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_peer_that_is_down_makes_no_relay_unready() {
    let site = Site::new(2);
    let running = site.start();
    let links = eventually("a failure", || {
        let links = object(site.relay(&["--json", "links"]).stdout.lines().next()?);
        links["last_error"].is_string().then_some(links)
    });
    assert_eq!((&links["peer"], &links["up"]), (&"eu-1".into(), &false.into()));
    assert_eq!(get(site.admin(), "/readyz", "").0, 200);
    let retried = site.relay(&["links", "retry"]);
    assert_eq!((retried.code, retried.stdout.as_str()), (0, "dialing eu-1\n"));
    let near = site.relay(&["links", "eu-2"]);
    assert_eq!(near.code, 65);
    assert_eq!(near.stderr, "liaison-relay: no link to 'eu-2' is configured or up\n  did you mean 'eu-1'?\n");
    assert_eq!(running.stop().code, 0);
}

#[test]
fn an_unknown_agency_and_an_unknown_message_are_told() {
    let site = Site::new(1);
    let running = site.start();
    let agency = site.relay(&["queue", "show", "ncb.sgg"]);
    assert_eq!(agency.code, 67);
    assert_eq!(agency.stderr, "liaison-relay: unknown agency 'ncb.sgg'\n  did you mean 'ncb.sg'?\n");
    let message = site.relay(&["trace", "4m7x0qd2ka"]);
    assert_eq!(
        (message.code, message.stderr.as_str()),
        (65, "liaison-relay: no message here begins with '4m7x0qd2ka'\n")
    );
    let wrong = site.relay(&["trace", "../status"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    let empty = site.relay(&["--json", "queues"]);
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (0, "", ""));
    assert_eq!(running.stop().code, 0);
}

#[test]
fn a_roster_is_shown_and_compared() {
    let site = Site::new(1);
    let current = site.federation.roster().unwrap();
    let agency = site.federation.agencies[1].id.clone();
    let next = site.federation.sign_next(&current, |roster| remove_agency(roster, &agency)).unwrap();
    let file = site.beside("next.json");
    fs::write(&file, next).unwrap();
    let shown = site.relay(&["roster", "show"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("signed by 2 of 3 root keys, 2 needed\n"), "{shown:?}");
    let diff = site.relay(&["roster", "diff", file.to_str().unwrap()]);
    assert_eq!(diff.code, 0, "{diff:?}");
    assert!(diff.stdout.contains(&format!("- agency {agency}\n")), "{diff:?}");
    assert!(diff.stderr.starts_with("no relay runs here: this is the file "), "{diff:?}");
    assert!(diff.stderr.contains("\nversion 1 to 2: "), "{diff:?}");
    let missing = site.beside("missing.json");
    let missing = (missing.to_str().unwrap(), site.relay(&["roster", "diff", missing.to_str().unwrap()]));
    assert_eq!((missing.1.code, missing.1.stderr.ends_with(&format!("{}: no such file\n", missing.0))), (66, true));
}

#[test]
fn a_running_relay_shows_the_roster_that_it_follows_whatever_its_file_says() {
    let site = Site::new(1);
    let current = site.federation.roster().unwrap();
    let running = site.start();
    let agency = site.federation.agencies[1].id.clone();
    let next = site.federation.sign_next(&current, |roster| remove_agency(roster, &agency)).unwrap();
    let file = site.federation.roster_path();
    fs::write(&file, next).unwrap();
    let shown = |version: u32| {
        let shown = site.relay(&["roster", "show"]);
        assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{shown:?}");
        assert!(shown.stdout.contains(&format!("version {version} ")), "{shown:?}");
    };
    shown(1);
    assert_eq!(site.relay(&["reload"]).code, 0);
    eventually("the new roster", || site.relay(&["roster", "show"]).stdout.contains("version 2 ").then_some(()));
    shown(2);
    assert_eq!(running.stop().code, 0);
}

#[test]
fn words_about_the_program_need_no_configuration() {
    let run = |arguments: &[&str]| {
        let output = crate::site::program().args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&["help", "exit-codes"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("  78  the configuration is wrong\n"), "{text}");
    for arguments in
        [&["version"][..], &["--version"], &["help", "queue", "show"], &["man", "queues"], &["completion", "bash"]]
    {
        let (code, text) = run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}");
        assert!(text.contains("liaison-relay") || text.contains("show"), "{arguments:?}: {text}");
    }
    assert_eq!(run(&["statsu"]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
}
