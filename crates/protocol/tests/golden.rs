//! The JSON forms clients and logs rely on. Each file in `golden/` is a promise: a change of one is a change
//! of the contract. `MOONGATE_GOLDEN=write cargo test -p moongate-protocol --test golden` writes them anew.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

mod samples;

use std::{collections::BTreeSet, fs, path::PathBuf};

use moongate_protocol::{Delta, Envelope, ErrorCode, Event, MessageView, Notice, SessionView};
use serde::{Serialize, de::DeserializeOwned};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.json"))
}

fn is_writing() -> bool {
    std::env::var_os("MOONGATE_GOLDEN").is_some_and(|mode| mode == "write")
}

/// Compares the JSON of `examples` with the golden file.
fn check_written<T: Serialize>(name: &str, examples: &[T]) -> String {
    let text = serde_json::to_string_pretty(examples).unwrap() + "\n";
    if is_writing() {
        fs::write(file(name), &text).unwrap();
    }
    let golden = fs::read_to_string(file(name))
        .unwrap_or_else(|error| panic!("golden/{name}.json cannot be read: {error}"));
    assert_eq!(text, golden, "golden/{name}.json promises another form");
    golden
}

/// Compares in both directions: what is written, and what is read from the file.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, examples: &[T]) {
    let golden = check_written(name, examples);
    let read: Vec<T> = serde_json::from_str(&golden).unwrap();
    assert_eq!(read, examples, "golden/{name}.json is read as something else");
}

#[test]
fn every_event_has_the_json_form_it_promises() {
    for kind in Event::KINDS {
        let examples: Vec<Envelope> =
            samples::envelopes().into_iter().filter(|e| e.event.kind() == *kind).collect();
        assert!(!examples.is_empty(), "{kind} has no example");
        check(&format!("event.{kind}"), &examples);
    }
    let known: BTreeSet<&str> = Event::KINDS.iter().copied().collect();
    for envelope in samples::envelopes() {
        assert!(known.contains(envelope.event.kind()), "{} is in no file", envelope.event.kind());
        assert!(!matches!(envelope.event, Event::Unknown(_)));
    }
}

#[test]
fn every_live_frame_has_the_json_form_it_promises() {
    check::<Delta>("delta", &samples::deltas());
    check::<Notice>("notice", &samples::notices());
}

#[test]
fn views_have_the_json_form_they_promise() {
    check::<SessionView>("session_view", &samples::session_views());
    check::<MessageView>("message_view", &samples::message_views());
}

#[derive(Serialize)]
struct ErrorRow {
    code: ErrorCode,
    status: u16,
    retryable: bool,
}

#[test]
fn the_table_of_error_codes_is_closed() {
    let rows: Vec<ErrorRow> = ErrorCode::ALL
        .iter()
        .map(|code| ErrorRow { code: *code, status: code.status(), retryable: code.retryable() })
        .collect();
    check_written("error_codes", &rows);
    for row in &rows {
        let written = serde_json::to_string(&row.code).unwrap();
        assert_eq!(written, format!("\"{}\"", row.code.as_str()), "the name and the JSON form are one");
        assert_eq!(serde_json::from_str::<ErrorCode>(&written).unwrap(), row.code);
    }
    let names: BTreeSet<&str> = rows.iter().map(|row| row.code.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "no two codes share a name");
    assert!(serde_json::from_str::<ErrorCode>("\"made_up\"").is_err());
}

#[test]
fn no_golden_file_is_left_over() {
    let mut known: BTreeSet<String> = Event::KINDS.iter().map(|kind| format!("event.{kind}.json")).collect();
    known.extend(
        ["delta", "notice", "session_view", "message_view", "error_codes"].map(|name| format!("{name}.json")),
    );
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let found: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, known);
}

#[test]
fn an_event_of_a_later_version_survives_a_read_and_a_write() {
    let text = concat!(
        r#"{"epoch":"6f2c","seq":41,"at":"2026-11-20T12:00:00.000Z","#,
        r#""session":"ses_00000000000000000000000004","type":"moon.risen","#,
        r#""zeta":[1,2.5,{"b":null,"a":"é😀"}],"alpha":"x","turn":"anything","big":18446744073709551615}"#,
    );
    let envelope: Envelope = serde_json::from_str(text).unwrap();
    let Event::Unknown(unknown) = &envelope.event else { panic!("it is not known") };
    assert_eq!((unknown.kind.as_str(), unknown.fields.len()), ("moon.risen", 4));
    let written = serde_json::to_string(&envelope).unwrap();
    let fields =
        |text: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap();
    assert_eq!(fields(&written), fields(text), "no field is lost, added or changed");
    assert_eq!(serde_json::from_str::<Envelope>(&written).unwrap(), envelope);
}

#[test]
fn fields_a_later_version_adds_do_not_hide_an_event() {
    for envelope in samples::envelopes() {
        let mut value = serde_json::to_value(&envelope).unwrap();
        value["added_later"] = serde_json::json!({"x": 1});
        let read: Envelope = serde_json::from_value(value).unwrap();
        assert_eq!(read, envelope);
    }
}

#[test]
fn a_known_event_with_another_payload_is_refused_not_unknown() {
    for envelope in samples::envelopes() {
        let mut value = serde_json::to_value(&envelope).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.retain(|field, _| ["epoch", "seq", "at", "session", "type"].contains(&field.as_str()));
        let bare: Result<Envelope, _> = serde_json::from_value(value);
        assert!(bare.is_err(), "{} has fields it cannot be without", envelope.event.kind());
    }
}

#[test]
fn requests_and_calls_written_before_they_said_more_are_still_read() {
    let old = r#"{"type":"approval.requested","turn":"trn_00000000000000000000000000",
        "approval":"apr_00000000000000000000000000","call":"c1","plan":"rm","reason":"risky","hash":"0",
        "expires_at":"2026-11-21T12:00:00.000Z"}"#;
    let Event::ApprovalRequested(request) = serde_json::from_str(old).unwrap() else { panic!("{old}") };
    assert_eq!((request.tool.as_str(), request.arguments.is_null()), ("unknown", true));
    assert_eq!(request.requirement, moongate_protocol::Requirement::UnlessAutoApproved);
}
