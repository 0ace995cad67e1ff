//! Positions, epochs and times: every value survives its text form, and no other text is taken.

use moongate_protocol::{Epoch, Position, Seq, Timestamp};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_position_survives_its_text_form(epoch: u32, seq: u64) {
        let position = Position { epoch: Epoch(epoch), seq: Seq(seq) };
        prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        let json = serde_json::to_string(&position).unwrap();
        prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
    }

    #[test]
    fn a_position_has_one_text_form(text in "[0-9a-fA-F]{0,9}[.+ -]?[+]?[0-9]{0,21}") {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert_eq!(position.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_a_value_or_refused_and_never_panics(text in ".{0,40}") {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert_eq!(position.to_string(), &*text);
        }
        if let Ok(epoch) = text.parse::<Epoch>() {
            prop_assert_eq!(epoch.to_string(), &*text);
        }
        let _any: Result<Timestamp, _> = text.parse();
    }

    #[test]
    fn an_epoch_has_one_text_form(epoch: u32, text in "[0-9a-fA-F]{0,10}") {
        prop_assert_eq!(Epoch(epoch).to_string().parse::<Epoch>().unwrap(), Epoch(epoch));
        if let Ok(epoch) = text.parse::<Epoch>() {
            prop_assert_eq!(epoch.to_string(), text);
        }
    }

    // The years 0000 to 9999, which RFC 3339 can write.
    #[test]
    fn a_time_survives_its_text_form(millis in -62_167_219_200_000_i64..253_402_207_200_000) {
        let time = Timestamp::from_millis(millis);
        prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        prop_assert_eq!(time.day(), time.to_string()[..10].to_owned());
        let json = serde_json::to_string(&time).unwrap();
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
    }

    #[test]
    fn times_sort_as_their_texts_do(a in 0_i64..253_402_207_200_000, b in 0_i64..253_402_207_200_000) {
        let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn time_never_overflows(millis: i64, seconds: u64) {
        let time = Timestamp::from_millis(millis);
        let later = time.plus(std::time::Duration::from_secs(seconds));
        prop_assert!(later >= time);
        prop_assert_eq!(time.since(later), std::time::Duration::ZERO);
        prop_assert!(!later.to_string().is_empty());
    }
}

#[test]
fn offsets_are_read_and_written_as_utc() {
    let time: Timestamp = "2026-11-20T14:00:00.2509+02:00".parse().unwrap();
    assert_eq!(time.to_string(), "2026-11-20T12:00:00.250Z");
    for text in ["2026-11-20T12:00:00", "2026-11-20", "12:00:00Z", "", "2026-13-20T12:00:00Z", "1732104000"] {
        assert!(text.parse::<Timestamp>().is_err(), "{text} is no time");
    }
}

#[test]
fn a_position_is_refused_where_it_could_be_read_as_another() {
    for text in [
        "",
        ".",
        "6f2c",
        "6f2c.",
        ".41",
        "6F2C.41",
        "06f2c.41",
        "6f2c.041",
        "6f2c.+41",
        "6f2c.-1",
        "6f2c.41 ",
        " 6f2c.41",
        "6f2c.41.2",
        "1ffffffff.1",
        "6f2c.18446744073709551616",
        "+6f2c.1",
    ] {
        assert!(text.parse::<Position>().is_err(), "{text:?} is no position");
    }
}
