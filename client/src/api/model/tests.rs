use super::*;

#[test]
fn times_read_any_offset_and_write_utc_milliseconds() {
    let time: Time = "2026-11-24T15:02:11.2049+01:00".parse().unwrap();
    assert_eq!(time.to_string(), "2026-11-24T14:02:11.204Z");
    assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-11-24T14:02:11.204Z\"");
    assert!("yesterday".parse::<Time>().is_err());
    assert!("1969-12-31T23:59:59Z".parse::<Time>().is_err());
}

#[test]
fn words_are_the_same_in_json_and_on_the_command_line() {
    for tlp in Tlp::ALL {
        assert_eq!(serde_json::to_string(tlp).unwrap(), format!("\"{}\"", tlp.as_str()));
        assert_eq!(tlp.as_str().parse::<Tlp>().unwrap(), *tlp);
    }
    let error = "white".parse::<Tlp>().unwrap_err().to_string();
    assert_eq!(error, "'white' is not one of clear, green, amber, amber+strict, red");
}

#[test]
fn a_submission_needs_little() {
    let submission: Submission = serde_json::from_str(r#"{"to":["ncb.ee"],"subject":"s"}"#).unwrap();
    assert_eq!(submission.to.len(), 1);
    assert!(submission.tlp.is_none() && !submission.dry_run);
    assert!(serde_json::from_str::<Submission>(r#"{"to":["NCB.EE"],"subject":"s"}"#).is_err());
    assert!(serde_json::from_str::<Submission>(r#"{"to":["ncb.ee"],"subject":"s","tpl":"red"}"#).is_err());
}

#[test]
fn kinds_and_states_of_a_newer_daemon_are_read_as_unknown() {
    let event: Event =
        serde_json::from_str(r#"{"cursor":7,"at":"2026-11-24T14:02:11Z","kind":"message.teleported","new":1}"#)
            .unwrap();
    assert_eq!(event.kind, EventKind::Unknown);
    assert_eq!(serde_json::from_str::<MessageState>("\"elsewhere\"").unwrap(), MessageState::Unknown);
}

#[test]
fn an_event_kind_is_written_as_its_name() {
    for kind in [EventKind::Stored, EventKind::Received, EventKind::LinkDown, EventKind::RosterChanged] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
    }
}

#[test]
fn a_problem_carries_what_its_code_decides() {
    let problem =
        Problem::new(ProblemCode::UnknownAgency, "unknown agency 'ncb.eee'").with_hint("did you mean 'ncb.ee'?");
    let json = serde_json::to_value(&problem).unwrap();
    assert_eq!(json["type"], "urn:liaison:problem:unknown_agency");
    assert_eq!((json["status"].as_u64(), json["exit"].as_u64()), (Some(422), Some(67)));
    assert_eq!(json["hint"], "did you mean 'ncb.ee'?");
    let codes: std::collections::BTreeSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), ProblemCode::ALL.len());
}
