//! The conversation in the terminal: interactive, line by line from a pipe, or one question.

mod asks;
mod filling;
mod interactive;
mod item;
mod json;
mod markdown;
mod prompt;
mod render;
mod slash;
mod status;
mod talk;
mod view;
mod way;
mod wrap;

use std::{
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moongate_protocol::{ErrorCode, SessionState};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::filling::typed;
use self::{
    json::JsonLines,
    render::Render,
    talk::{Ending, Settings, Talk},
    view::View,
    way::Way,
};
use crate::{
    cli::ChatArgs,
    client::{Client, InputPart, Page, Session},
    context::Context,
    exit::{Failure, Outcome},
};

/// Longest text that is read from a pipe; the server takes no longer one.
const MAX_PIPE_BYTES: u64 = 256 * 1024;
/// Largest image.
const MAX_IMAGE_BYTES: u64 = 20 * 1024 * 1024;

/// Runs `moongate chat`.
///
/// # Errors
/// When the turn failed, or there is nobody to talk to.
pub(crate) async fn run(args: ChatArgs, context: &Context) -> Outcome {
    // From here on Ctrl-C stops an answer and not the program.
    let interrupts = signal(SignalKind::interrupt())?;
    let images = args.image.iter().map(|path| image(path)).collect::<Outcome<Vec<_>>>()?;
    let question = question(&args, context)?;
    let mut way = Way::new(args.remote.clone(), context)?;
    let client = way.first().await?;
    let opened = match open(&args, &client).await {
        Ok(opened) => opened,
        Err(failure) => {
            way.leave().await;
            return Err(failure);
        }
    };
    let settings = Settings { agent: args.agent, model: args.model, effort: args.effort };
    let mut talk = Talk::new(client, way, interrupts, settings);
    talk.switch(opened.as_ref());
    // Where one question is asked, what is beside the answer is shown on a terminal that may draw only.
    let is_seen = matches!(question, Question::Prompt) || context.terminal.shows_status;
    if context.terminal.is_interactive && is_seen && !args.json {
        talk.asks.listen();
    }
    let ended = match question {
        Question::One(text) => one(&mut talk, context, args.json, text, images).await,
        Question::Lines => lines(&mut talk, context, args.json, images).await,
        Question::Prompt => interactive::run(&mut talk, context, opened, images).await,
    };
    talk.way.leave().await;
    ended
}

/// What is to be asked, and how.
enum Question {
    /// One question.
    One(String),
    /// One a line, from a pipe.
    Lines,
    /// A person types.
    Prompt,
}

fn question(args: &ChatArgs, context: &Context) -> Outcome<Question> {
    match args.text.as_deref() {
        Some("-") => {
            let mut text = String::new();
            io::stdin().lock().take(MAX_PIPE_BYTES + 1).read_to_string(&mut text)?;
            if text.len() as u64 > MAX_PIPE_BYTES {
                let message = format!("the text is longer than {MAX_PIPE_BYTES} bytes");
                return Err(Failure::Usage(message));
            }
            if text.trim().is_empty() && args.image.is_empty() {
                return Err(Failure::Usage(
                    "nothing came from standard input: there is nothing to say".into(),
                ));
            }
            Ok(Question::One(text))
        }
        Some(text) if text.trim().is_empty() => {
            Err(Failure::Usage("there is nothing to say: leave TEXT out for a conversation".into()))
        }
        Some(text) => Ok(Question::One(text.to_owned())),
        None if context.terminal.is_interactive && !args.json => Ok(Question::Prompt),
        None => Ok(Question::Lines),
    }
}

async fn one(
    talk: &mut Talk<'_>,
    context: &Context,
    json: bool,
    text: String,
    images: Vec<InputPart>,
) -> Outcome {
    let mut parts = vec![InputPart::Text { text }];
    parts.extend(images);
    let ending = talk.say(parts, &mut *view(json, context)).await?;
    concluded(&ending, talk, context)
}

/// What shows the answer where nobody types.
fn view(json: bool, context: &Context) -> Box<dyn View> {
    if json { Box::new(JsonLines) } else { Box::new(Render::new(context.terminal, true)) }
}

/// The session the person wants to go on in.
async fn open(args: &ChatArgs, client: &Client) -> Outcome<Option<Session>> {
    if let Some(id) = args.session {
        return Ok(Some(client.get(&format!("/sessions/{id}")).await?));
    }
    if !args.continue_last {
        return Ok(None);
    }
    let page: Page<Session> = client.get("/sessions?limit=1").await?;
    match page.items.into_iter().next() {
        Some(session) => Ok(Some(session)),
        None => Err(Failure::Failed("there is no conversation to go on with: leave --continue out".into())),
    }
}

/// Each line of a pipe is one thing to say.
async fn lines(talk: &mut Talk<'_>, context: &Context, json: bool, mut images: Vec<InputPart>) -> Outcome {
    let mut last = Ok(());
    loop {
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin()
                .lock()
                .take(MAX_PIPE_BYTES)
                .read_line(&mut line)
                .map(|read| (read > 0).then_some(line))
        });
        let line = line.await.map_err(|error| Failure::Failed(error.to_string()))??;
        let Some(line) = line else { return last };
        if line.trim().is_empty() {
            continue;
        }
        if slash::parse(&line) == Some(slash::Slash::Quit) {
            return last;
        }
        let mut parts = vec![InputPart::Text { text: line.trim_end_matches(['\r', '\n']).to_owned() }];
        parts.append(&mut images);
        let ending = talk.say(parts, &mut *view(json, context)).await?;
        last = concluded(&ending, talk, context);
        if let Err(failure) = &last {
            writeln!(io::stderr().lock(), "{failure}")?;
            last = Err(Failure::Silent);
        }
    }
}

/// What the end of one question means for the exit code.
fn concluded(ending: &Ending, talk: &Talk<'_>, context: &Context) -> Outcome {
    let hint = talk.hint().filter(|_| context.terminal.shows_status);
    let hint = hint.map_or_else(String::new, |hint| format!("\n{hint}"));
    match ending {
        Ending::Completed => Ok(()),
        Ending::Failed(failed) => {
            let advice = match failed.code {
                ErrorCode::ProviderAuth => "; look at the provider's key (`moongate doctor`)",
                _ if failed.retryable => "; saying it again may work",
                _ => "",
            };
            Err(Failure::Failed(format!(
                "the turn failed: {} ({}){advice}{hint}",
                failed.message, failed.code
            )))
        }
        Ending::Cancelled => Err(Failure::Failed(format!("the turn was stopped{hint}"))),
        Ending::Left => Err(Failure::Failed(format!("the turn goes on without you{hint}"))),
    }
}

/// Whether a turn runs in a session that was opened.
fn running(session: &Session) -> Option<moongate_protocol::TurnId> {
    session.turn.filter(|_| session.state != SessionState::Idle)
}

/// An image as a part of what is said.
fn image(path: &Path) -> Outcome<InputPart> {
    let wrong = |reason: &str| Failure::Usage(format!("{}: {reason}", path.display()));
    let found = fs::metadata(path).map_err(|error| wrong(&error.to_string()))?;
    if found.len() > MAX_IMAGE_BYTES {
        return Err(wrong(&format!("it is larger than {MAX_IMAGE_BYTES} bytes")));
    }
    let bytes = fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    let media_type = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => return Err(wrong("it is no PNG, JPEG, GIF or WebP image")),
    };
    Ok(InputPart::Image { media_type: media_type.to_owned(), data: STANDARD.encode(bytes) })
}
