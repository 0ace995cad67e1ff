//! The plan of a call: what a person is shown of it, and the hash that binds their word to it.

use moongate_protocol::{CallId, SessionId};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    limits::{PLAN_BYTES, PREVIEW_BYTES},
    policy::hex,
};

/// SHA-256 over the session, the call's id, its tool and its arguments with sorted keys, and over what it works on where
/// that was looked at. What JSON ends with tells where those bytes begin.
pub(crate) fn hash(
    session: SessionId,
    call: &CallId,
    (tool, arguments): (&str, &Value),
    operands: Option<&[u8; 32]>,
) -> String {
    let mut hasher = Sha256::new();
    for piece in [session.to_string().as_str(), call.as_str(), tool] {
        hasher.update((piece.len() as u64).to_be_bytes());
        hasher.update(piece);
    }
    let mut canonical = String::new();
    write_canonical(arguments, &mut canonical);
    hasher.update(canonical);
    hasher.update(operands.map_or(&[][..], |operands| operands));
    hex(&hasher.finalize())
}

/// The call in full on one line, with nothing invisible in it; `None` when it is longer than a person can read.
pub(crate) fn render(tool: &str, arguments: &Value) -> Option<String> {
    let mut canonical = String::new();
    write_canonical(arguments, &mut canonical);
    if canonical.len() > PLAN_BYTES {
        return None;
    }
    let plan = format!("{tool} {}", visible(&canonical));
    (plan.len() <= PLAN_BYTES).then_some(plan)
}

/// What a call would change, line by line, with nothing invisible in it; cut where nobody reads on.
pub(crate) fn preview(text: &str) -> String {
    let mut out = String::new();
    for (at, line) in text.split('\n').enumerate() {
        if out.len() + line.len() > PREVIEW_BYTES {
            let left = text.split('\n').count() - at;
            out.push_str(&format!("\n[{left} more lines are not shown]"));
            break;
        }
        if at > 0 {
            out.push('\n');
        }
        // Lines of programs are indented with it.
        let columns: Vec<String> = line.split('\t').map(visible).collect();
        out.push_str(&columns.join("\t"));
    }
    out
}

/// JSON with sorted keys and no spaces, whatever order the map keeps.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(&map[key.as_str()], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_canonical(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// JSON text with every character that is invisible, moves others about or looks like another one written as
/// `\u{…}`. JSON writes a backslash of the text itself twice, so that the two cannot be mistaken for each other.
fn visible(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for word in json.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let letters = || word.chars().filter(|c| c.is_alphabetic());
        let poses = letters().any(|c| c.is_ascii()) || letters().all(is_twin);
        for c in word.chars() {
            if is_hidden(c) || is_disguised(c) || poses && is_foreign(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
    }
    out
}

/// Control characters, spaces that are not the space, marks of direction, joiners, selectors, tags, private use and
/// whatever else is shown as nothing.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace() && c != ' '
        || matches!(u32::from(c),
            0x00AD | 0x034F | 0x061C | 0x070F | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF
            | 0xFFA0 | 0xFFF0..=0xFFFD | 0x110BD | 0x110CD | 0x13430..=0x1345F | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A | 0xE000..=0xF8FF | 0xE0000..=0xE0FFF | 0xF0000..)
        // Marks that are set above, below or through the character before.
        || matches!(u32::from(c), 0x0300..=0x036F | 0x0483..=0x0489 | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF
            | 0x20D0..=0x20FF | 0xFE20..=0xFE2F)
}

/// Letters, digits and signs that are others in another dress: full width, mathematical, enclosed, and the slashes,
/// quotes and dashes that are none.
fn is_disguised(c: char) -> bool {
    matches!(u32::from(c),
        0x02B9..=0x02DF | 0x037E | 0x0589 | 0x05C3 | 0x060C..=0x060D | 0x066A..=0x066D | 0x2010..=0x2015
        | 0x2018..=0x201F | 0x2024..=0x2026 | 0x2032..=0x203A | 0x2041 | 0x2044 | 0x2052 | 0x2053 | 0x205A
        | 0x2070..=0x209C | 0x2100..=0x214F | 0x2160..=0x2188 | 0x2212 | 0x2215..=0x2217 | 0x2223 | 0x2236
        | 0x223C | 0x2460..=0x24FF | 0x2571..=0x2573 | 0x2768..=0x2775 | 0x27CB | 0x27CD | 0x29F5 | 0x29F8..=0x29F9
        | 0x2E3A..=0x2E3B | 0x3002 | 0x3014..=0x301F | 0xA4FF | 0xA789 | 0xFB00..=0xFB06 | 0xFE10..=0xFE19
        | 0xFE30..=0xFE6F | 0xFF01..=0xFF5E | 0xFF61..=0xFF65 | 0x1D400..=0x1D7FF | 0x1F100..=0x1F1AD
        | 0x1FBF0..=0x1FBF9)
}

/// Letters that cannot be told from Latin ones: a word of nothing else may be meant to be read as another.
fn is_twin(c: char) -> bool {
    const TWINS: &str = "авеіјкмһорсѕтухԁԛԝԌАВЕІЈКМНОРЅСТУХԚԜαεικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧօոսհԼՏՕ";
    TWINS.contains(c)
}

/// Letters of other scripts, which have no place in a word with Latin ones.
fn is_foreign(c: char) -> bool {
    matches!(u32::from(c),
        0x0131 | 0x017F..=0x0180 | 0x0184..=0x02B8 | 0x0370..=0x058F | 0x0600..=0x06FF | 0x07C0..=0x07FF
        | 0x0900..=0x0DFF | 0x10A0..=0x10FF | 0x1100..=0x11FF | 0x13A0..=0x13FF | 0x1400..=0x167F
        | 0x16A0..=0x16FF | 0x1C80..=0x1C8F | 0x1D00..=0x1D7F | 0x1F00..=0x1FFF | 0x2C60..=0x2DDF
        | 0xA4D0..=0xA4FF | 0xA640..=0xA69F | 0xA720..=0xA7FF | 0xAB30..=0xABBF | 0x10280..=0x1044F
        | 0x118A0..=0x118FF)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Characters and words that make a command look like another one.
    const SPOOFS: &[&str] = &[
        // Nothing to see, or something moved about.
        "\u{200b}",
        "\u{200c}",
        "\u{200d}",
        "\u{200e}",
        "\u{200f}",
        "\u{202a}",
        "\u{202b}",
        "\u{202c}",
        "\u{202d}",
        "\u{202e}",
        "\u{2060}",
        "\u{2061}",
        "\u{2062}",
        "\u{2063}",
        "\u{2064}",
        "\u{2066}",
        "\u{2067}",
        "\u{2068}",
        "\u{2069}",
        "\u{206f}",
        "\u{feff}",
        "\u{00ad}",
        "\u{034f}",
        "\u{061c}",
        "\u{115f}",
        "\u{17b4}",
        "\u{180e}",
        "\u{2800}",
        "\u{3164}",
        "\u{ffa0}",
        "\u{fe00}",
        "\u{fe0f}",
        "\u{e0001}",
        "\u{e0041}",
        "\u{e0100}",
        "\u{1d173}",
        "\u{fff9}",
        "\u{e000}",
        "\u{f0000}",
        "\u{10ffff}",
        // Controls that a terminal obeys, and spaces that are none.
        "\u{7f}",
        "\u{80}",
        "\u{85}",
        "\u{9b}31m",
        "\u{a0}",
        "\u{1680}",
        "\u{2007}",
        "\u{2028}",
        "\u{2029}",
        "\u{202f}",
        "\u{205f}",
        "\u{3000}",
        // Marks and signs in another dress.
        "e\u{301}",
        "/\u{338}",
        "\u{2044}",
        "\u{2215}",
        "\u{ff0f}",
        "\u{29f8}",
        "\u{2011}",
        "\u{2019}",
        "\u{201c}",
        "\u{ff1b}",
        "\u{ff5c}",
        "\u{ff52}\u{ff4d}",
        "\u{1d42b}\u{1d426}",
        "\u{212f}",
        "\u{24e1}",
        // Letters of other scripts among Latin ones, or in their place.
        "p\u{430}ypal",
        "g\u{43e}\u{43e}gle",
        "b\u{131}n",
        "\u{441}\u{440}",
        "\u{3bf}wner",
        "\u{570}ome",
        "ad\u{1d0d}in",
        "r\u{1e3f}\u{43c}",
        "\u{13a2}oot",
    ];

    #[test]
    fn nothing_in_a_plan_is_invisible_or_in_disguise() {
        assert!(SPOOFS.len() >= 60);
        for spoof in SPOOFS {
            let plan = render("shell", &json!({"command": format!("rm {spoof} x"), *spoof: 1})).unwrap();
            let odd = plan.chars().filter(|c| is_hidden(*c) || is_disguised(*c)).collect::<String>();
            assert_eq!(odd, "", "{spoof:?} in {plan}");
            assert!(plan.matches(r"\u{").count() >= 2, "{spoof:?} is shown in {plan}");
        }
    }

    #[test]
    fn what_people_write_is_shown_as_they_write_it() {
        for honest in [
            "rm -rf /tmp/x; echo 'ok' && true | cat > \u{e4}\u{df}",
            "привет мир",
            "東京に行く",
            "καλημέρα κόσμε",
            "🎉 ¡olé!",
        ] {
            assert_eq!(
                render("say", &json!({"text": honest})).unwrap(),
                format!(r#"say {{"text":"{honest}"}}"#)
            );
        }
        let lines =
            render("say", &json!({"b": "a\nb\t\u{1b}[2J", "a": [1, {"d": null, "c": true}]})).unwrap();
        assert_eq!(lines, r#"say {"a":[1,{"c":true,"d":null}],"b":"a\nb\t\u001b[2J"}"#);
        // Text that looks like what we write for a hidden character is not mistaken for one.
        assert_eq!(render("say", &json!({"t": r"\u{202e}"})).unwrap(), r#"say {"t":"\\u{202e}"}"#);
    }

    #[test]
    fn a_plan_is_shown_in_full_or_not_at_all() {
        let longest = PLAN_BYTES - r#"say {"t":""}"#.len();
        let plan = render("say", &json!({"t": "x".repeat(longest)})).unwrap();
        assert_eq!(plan.len(), PLAN_BYTES);
        assert_eq!(render("say", &json!({"t": "x".repeat(longest + 1)})), None);
        assert_eq!(render("say", &json!({"t": "\u{200b}".repeat(PLAN_BYTES / 4)})), None);
    }

    #[test]
    fn a_hash_is_of_one_call_in_one_session() {
        let of = |session: u128, call: &str, tool: &str, arguments: Value| {
            hash(SessionId::from_bits(session), &call.parse().unwrap(), (tool, &arguments), None)
        };
        let one = of(1, "call_1", "send", json!({"a": 1, "b": [true, "x"]}));
        assert_eq!(one, of(1, "call_1", "send", serde_json::from_str(r#"{"b":[true,"x"],"a":1}"#).unwrap()));
        let on = |operands| {
            let (call, arguments) = ("call_1".parse().unwrap(), json!({"a": 1, "b": [true, "x"]}));
            hash(SessionId::from_bits(1), &call, ("send", &arguments), Some(operands))
        };
        assert_ne!(on(&[0; 32]), on(&[1; 32]));
        for other in [
            on(&[0; 32]),
            of(2, "call_1", "send", json!({"a": 1, "b": [true, "x"]})),
            of(1, "call_2", "send", json!({"a": 1, "b": [true, "x"]})),
            of(1, "call_1", "sen", json!({"a": 1, "b": [true, "x"]})),
            of(1, "call_1s", "end", json!({"a": 1, "b": [true, "x"]})),
            of(1, "call_1", "send", json!({"a": 1, "b": [true, "y"]})),
            of(1, "call_1", "send", json!({"a": "1", "b": [true, "x"]})),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_preview_has_lines_and_nothing_that_is_not_seen() {
        assert_eq!(preview("-\told\n+\tnew\n"), "-\told\n+\tnew\n");
        assert_eq!(preview("+\u{202e}x\u{1b}[2J\r"), r"+\u{202e}x\u{1b}[2J\u{d}");
        let long = "+line\n".repeat(PREVIEW_BYTES);
        let cut = preview(&long);
        assert!(
            cut.len() < PREVIEW_BYTES + 64 && cut.ends_with("more lines are not shown]"),
            "{}",
            cut.len()
        );
    }
}
