//! `cargo xtask e2e browser`: a page in Chromium that talks through each door's WebSocket as pages must.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use super::{
    PLACE, find_program,
    page::{Files, Page},
    server::Server,
    suites::{build, built},
};
use crate::shell::{self, Failed, report};

/// Names Chromium has on systems.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// Seconds the browser has. It needs a few.
const BROWSER_SECONDS: &str = "90";

/// Each door, and the subprotocol its server selects.
const DOORS: [(&str, &str); 4] =
    [("native", "moongate.v1"), ("oxios", ""), ("construct", "construct.v1"), ("orra", "orra.v1")];

/// What the built-in model says when it is told something, the first and the second time.
const ANSWERS: [[&str; 2]; 2] = [
    ["> hello from a page", "in a conversation of 1 message"],
    ["> and again", "in a conversation of 3 messages"],
];

/// Whether there is a browser.
pub(crate) fn has_browser() -> bool {
    chromium().is_some()
}

fn chromium() -> Option<std::path::PathBuf> {
    NAMES.into_iter().find_map(find_program)
}

/// Chromium, without which nothing here goes on.
pub(super) fn needed() -> Result<std::path::PathBuf, Failed> {
    let none =
        || Failed::cannot(format!("there is no Chromium here; it would be one of {}", NAMES.join(", ")));
    chromium().ok_or_else(none)
}

pub(super) fn run() -> Result<(), Failed> {
    let chromium = needed()?;
    build()?;
    let place = Path::new(PLACE).join("browser");
    empty(&place)?;
    let page = Page::open()?;
    let config = place.join("moongate.toml");
    write(&config, &configuration(&page.origin()))?;
    let data = place.join("data");
    let server = Server::start("moongate", |port| {
        let mut command = Command::new(built("moongate"));
        command.arg("--config").arg(&config).args(["--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(&data).arg("serve");
        command
    })?;
    let key = fs::read_to_string(data.join("admin.key"));
    let key = key.map_err(|e| Failed::cannot(format!("cannot read the server's key: {e}")))?;
    let files = files(&server.address(), key.trim())?;
    let screenshot = place.join("page.png");
    let said = page.report(&files, || {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", BROWSER_SECONDS]).arg(&chromium);
        command.args(browsing(&place, &screenshot)?).arg(page.origin());
        // What a browser says about its surroundings is no news; what the page says comes back to us.
        let log = fs::File::create(place.join("browser.log"));
        command.stderr(log.map_err(|e| Failed::cannot(format!("cannot write the browser's log: {e}")))?);
        shell::run(command.stdout(std::process::Stdio::null()))
    })?;
    judge(&said)?;
    report(&format!("what the page showed: {}", screenshot.display()));
    Ok(())
}

fn browsing(place: &Path, screenshot: &Path) -> Result<Vec<String>, Failed> {
    let whole = |path: &Path| {
        let path = std::path::absolute(path);
        path.map(|path| path.display().to_string())
            .map_err(|e| Failed::cannot(format!("cannot name a folder: {e}")))
    };
    let flags = [
        "--headless=new",
        // A container has no sandbox for it; nothing but our own page is opened.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1500,1400",
        "--timeout=70000",
    ];
    let mut flags: Vec<String> = flags.map(str::to_owned).into();
    flags.push(format!("--user-data-dir={}", whole(&place.join("profile"))?));
    flags.push(format!("--screenshot={}", whole(screenshot)?));
    Ok(flags)
}

/// A server whose doors list the page, and nobody else.
fn configuration(origin: &str) -> String {
    format!(
        "[server]\norigins = [\"{origin}\"]\n\n[agents.default]\nmodel = \"builtin/demo\"\n\n\
         [doors.oxios]\nallowed_origins = [\"{origin}\"]\n\n\
         [doors.construct]\nallowed_origins = [\"{origin}\"]\n\n\
         [doors.orra]\ncors_origins = [\"{origin}\"]\n"
    )
}

fn files(gateway: &str, key: &str) -> Result<Files, Failed> {
    #[derive(Serialize)]
    struct Place<'a> {
        gateway: &'a str,
        key: &'a str,
    }
    let read = |name: &str| {
        let path = Path::new("e2e/browser").join(name);
        fs::read_to_string(&path).map_err(|e| Failed::cannot(format!("cannot read {}: {e}", path.display())))
    };
    let place = serde_json::to_string(&Place { gateway, key }).map_err(|e| Failed::cannot(e.to_string()))?;
    let page = read("page.html")?.replace("PLACE", &place);
    let html = "text/html; charset=utf-8";
    Ok(Files::from([
        ("/", (html, page.clone())),
        ("/stranger", (html, page)),
        ("/page.mjs", ("text/javascript; charset=utf-8", read("page.mjs")?)),
    ]))
}

/// What the page saw.
#[derive(Deserialize)]
struct Seen {
    chats: BTreeMap<String, Chat>,
    faults: BTreeMap<String, String>,
    /// Whether a page that no door lists was let in.
    stranger: BTreeMap<String, bool>,
}

#[derive(Deserialize)]
struct Chat {
    protocol: String,
    turns: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    streamed: String,
    whole: String,
}

/// Every door was talked through to the end, piece by piece and whole, and let no stranger in.
fn judge(said: &str) -> Result<(), Failed> {
    let seen: Seen =
        serde_json::from_str(said).map_err(|e| Failed::new(format!("the page reported {said}: {e}")))?;
    let wrong: Vec<String> =
        DOORS.into_iter().filter_map(|(door, speaks)| fault(&seen, door, speaks)).collect();
    if !wrong.is_empty() {
        return Err(Failed::new(format!("in the browser: {}", wrong.join("; "))));
    }
    DOORS.iter().for_each(|(door, _)| report(&format!("ok: {door}")));
    Ok(())
}

fn fault(seen: &Seen, door: &str, speaks: &str) -> Option<String> {
    let Some(chat) = seen.chats.get(door) else {
        return Some(format!("{door}: {}", seen.faults.get(door).map_or("no chat", String::as_str)));
    };
    if chat.protocol != speaks {
        return Some(format!("{door} speaks {:?}, not {speaks:?}", chat.protocol));
    }
    if seen.stranger.get(door) != Some(&false) {
        return Some(format!("{door} lets in a page that it does not list"));
    }
    let good = |(turn, words): (&Turn, &[&str; 2])| {
        turn.streamed == turn.whole && words.iter().all(|word| turn.whole.contains(word))
    };
    let whole = chat.turns.len() == ANSWERS.len() && chat.turns.iter().zip(&ANSWERS).all(good);
    (!whole).then(|| {
        let said: Vec<_> = chat.turns.iter().map(|turn| (&turn.streamed, &turn.whole)).collect();
        format!("{door} did not answer as it should: {said:?}")
    })
}

fn empty(place: &Path) -> Result<(), Failed> {
    let cannot = |e: std::io::Error| Failed::cannot(format!("cannot empty {}: {e}", place.display()));
    if place.exists() {
        fs::remove_dir_all(place).map_err(cannot)?;
    }
    fs::create_dir_all(place).map_err(cannot)
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    fs::write(path, text).map_err(|e| Failed::cannot(format!("cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of a page to which everything went well.
    fn good() -> String {
        let turn = |[first, second]: &[&str; 2]| {
            let text = format!("{first}\\n\\nThat is one {second}.");
            format!(r#"{{"streamed":"{text}","whole":"{text}"}}"#)
        };
        let turns = ANSWERS.iter().map(turn).collect::<Vec<_>>().join(",");
        let chat = |(door, speaks): &(&str, &str)| {
            format!(r#""{door}":{{"protocol":"{speaks}","kinds":[],"turns":[{turns}]}}"#)
        };
        let chats = DOORS.iter().map(chat).collect::<Vec<_>>().join(",");
        let stranger =
            DOORS.iter().map(|(door, _)| format!(r#""{door}":false"#)).collect::<Vec<_>>().join(",");
        format!(r#"{{"chats":{{{chats}}},"faults":{{}},"stranger":{{{stranger}}}}}"#)
    }

    #[test]
    fn a_page_that_was_refused_cut_or_joined_by_a_stranger_is_a_fault() {
        assert!(judge(&good()).is_ok());
        let faults = [
            ("\"orra\":{", "\"other\":{"),
            ("construct.v1", "construct.v2"),
            ("\"native\":false", "\"native\":true"),
            ("\"native\":false", "\"n\":false"),
            ("\"streamed\":\"> hello", "\"streamed\":\"> hell"),
            ("conversation of 3", "conversation of 1"),
        ];
        for (right, wrong) in faults {
            let report = good();
            assert!(report.contains(right), "{right}");
            assert!(judge(&report.replacen(right, wrong, 1)).is_err(), "{wrong}");
        }
    }
}
