//! What the demo model says: a pure function of the prompt.

use std::{fmt::Write, time::Duration};

use moongate_core::{ModelRequest, Piece, PromptMessage};
use moongate_protocol::{ErrorCode, Part, StopReason, Tokens};

use super::command::{Wishes, kinds};

/// Bytes of a token, roughly.
const TOKEN_BYTES: usize = 4;

/// Longest part of a message or a result that is echoed, in characters.
const ECHO_CHARS: usize = 2000;

const WHAT_TO_SET: &str = "To talk to a real model, set `OPENAI_API_KEY`, `ANTHROPIC_API_KEY` or another provider's key \
     in the environment, or `OPENAI_BASE_URL` for a compatible server of your own (Ollama, LM Studio, vLLM), or \
     write a `[providers.NAME]` section into `moongate.toml`; then start Moongate again.";

/// An answer, and the pause before each of its pieces.
pub(super) struct Script {
    pub(super) pieces: Vec<Piece>,
    pub(super) pause: Duration,
}

/// Writes the answer to a prompt.
pub(super) fn write(request: &ModelRequest) -> Script {
    let messages = request.messages.iter().map(|message| &***message);
    let last_user = messages.clone().rev().find_map(|message| match message {
        PromptMessage::User(parts) => Some(parts.as_slice()),
        _ => None,
    });
    // An input that was not answered stands before the newest in one message: what it wished is past.
    let newest = last_user.and_then(|parts| parts.iter().rev().find_map(Part::as_text));
    let wishes = Wishes::read(newest.unwrap_or_default());
    let results: Vec<_> =
        messages.rev().take_while(|message| matches!(message, PromptMessage::ToolResult { .. })).collect();
    let mut script = Writer { pieces: Vec::new(), slow: !wishes.pause.is_zero() };
    if results.is_empty() {
        script.answer(&wishes, last_user.unwrap_or_default(), request);
    } else {
        script.say(&describe(results.into_iter().rev()));
    }
    let stop = if script.has_calls() { StopReason::ToolUse } else { StopReason::EndTurn };
    let fault = wishes.fault.filter(|_| !matches!(script.pieces.last(), Some(Piece::Fault(_))));
    script.pieces.push(Piece::Usage(tokens(request, &script.pieces)));
    script.pieces.push(fault.map_or(Piece::Finish(stop), Piece::Fault));
    Script { pieces: script.pieces, pause: wishes.pause }
}

struct Writer {
    pieces: Vec<Piece>,
    /// Each word is a piece of its own.
    slow: bool,
}

impl Writer {
    fn answer(&mut self, wishes: &Wishes, parts: &[Part], request: &ModelRequest) {
        if let Some(thought) = &wishes.thought {
            let thought = if thought.is_empty() { "Let me think about what to say here." } else { thought };
            self.words(thought, Piece::Reasoning);
            self.pieces.push(Piece::ReasoningEnd { signature: None });
        }
        // A refused call says nothing; one that breaks off has begun.
        let silent = wishes.fault.as_ref().is_some_and(|fault| fault.code != ErrorCode::ProviderCut);
        if let Some(words) = wishes.words {
            self.say(&numbered(words));
        } else if wishes.fault.is_some() {
            if !silent {
                self.say("This answer begins well, but in the middle of the");
            }
        } else if wishes.help {
            self.say(&help());
        } else if !wishes.complaints.is_empty() {
            self.say(&format!("{}\n\n{}", wishes.complaints.join("\n"), help()));
        } else if wishes.tools.is_empty() {
            self.say(&echo(wishes, parts, request));
        }
        for (slot, (tool, arguments)) in (0..).zip(&wishes.tools) {
            self.pieces.push(Piece::ToolCallStart { slot, name: tool.clone() });
            self.words(arguments, |text| Piece::ToolCallArguments { slot, text });
        }
    }

    fn say(&mut self, text: &str) {
        self.words(text, Piece::Text);
    }

    fn words(&mut self, text: &str, piece: impl Fn(String) -> Piece) {
        if self.slow {
            self.pieces.extend(text.split_inclusive(char::is_whitespace).map(str::to_owned).map(piece));
        } else if !text.is_empty() {
            self.pieces.push(piece(text.to_owned()));
        }
    }

    fn has_calls(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::ToolCallStart { .. }))
    }
}

fn echo(wishes: &Wishes, parts: &[Part], request: &ModelRequest) -> String {
    let mut text =
        "This is Moongate's built-in demo model: no real model has answered, and nothing left this machine."
            .to_owned();
    let said = clip(&wishes.text);
    if !said.is_empty() {
        text.push_str("\n\nYou said:\n");
        for line in said.lines() {
            text.push_str("\n> ");
            text.push_str(line);
        }
    }
    let words = wishes.text.split_whitespace().count();
    let images = parts.iter().filter(|part| matches!(part, Part::Image { .. })).count();
    let files = parts.iter().filter(|part| matches!(part, Part::File { .. })).count();
    let mut counted = vec![count(words, "word")];
    counted.extend((images > 0).then(|| count(images, "image")));
    counted.extend((files > 0).then(|| count(files, "file")));
    let messages = count(request.messages.len(), "message");
    let tools = count(request.tools.len(), "tool");
    text.push_str(&format!(
        "\n\nThat is {} in a conversation of {messages}; I was offered {tools}.\n\n{WHAT_TO_SET}\n\nSend `/help` \
         to see what else I can show.",
        counted.join(", ")
    ));
    text
}

fn help() -> String {
    format!(
        "I am Moongate's built-in demo model. On lines of their own I understand:\n\n\
         - `/long N`: N numbered words\n\
         - `/slow MS`: each word MS milliseconds after the last\n\
         - `/think [text]`: reasoning before the answer\n\
         - `/tool NAME {{json}}`: a tool call\n\
         - `/fail KIND`: a failing call; KIND is one of {}\n\
         - `/help`: this\n\n\
         They combine: `/slow 50` and `/long 40` make a slow long answer.\n\n{WHAT_TO_SET}",
        kinds()
    )
}

/// The results of the calls this answer follows, in words.
fn describe<'a>(results: impl Iterator<Item = &'a PromptMessage>) -> String {
    let mut text = "The tools have answered:".to_owned();
    for message in results {
        let PromptMessage::ToolResult { tool, is_error, content, .. } = message else { continue };
        let verb = if *is_error { "failed" } else { "said" };
        let said = Part::join_text(content);
        // Writing to a string cannot fail.
        let _ = write!(text, "\n\n- `{tool}` {verb}: {}", clip(&said));
        let other = content.iter().filter(|part| part.as_text().is_none()).count();
        if other > 0 {
            let _ = write!(text, " (and {})", count(other, "attachment"));
        }
    }
    text
}

fn numbered(words: u32) -> String {
    let mut text = String::new();
    for n in 1..=words {
        // Paragraphs, so that a long answer also shows how line breaks look.
        let after = match n {
            _ if n == words => ".",
            _ if n % 100 == 0 => ".\n\n",
            _ => " ",
        };
        let _ = write!(text, "word{n}{after}");
    }
    text
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

/// Plausible figures: a token for every four bytes.
fn tokens(request: &ModelRequest, answer: &[Piece]) -> Tokens {
    let part_bytes = |part: &Part| match part {
        Part::Text { text } | Part::Reasoning { text, .. } => text.len(),
        Part::ToolCall { tool, arguments, .. } => tool.len() + arguments.to_string().len(),
        Part::Image { .. } | Part::File { .. } | Part::ToolResult { .. } => 1000,
    };
    let prompt: usize = request
        .messages
        .iter()
        .flat_map(|message| match &***message {
            PromptMessage::User(parts) | PromptMessage::Assistant(parts) => parts,
            PromptMessage::ToolResult { content, .. } => content,
        })
        .map(part_bytes)
        .sum();
    let thought: usize =
        answer.iter().map(|piece| if let Piece::Reasoning(text) = piece { text.len() } else { 0 }).sum();
    let said: usize = answer
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) | Piece::ToolCallArguments { text, .. } => text.len(),
            _ => 0,
        })
        .sum();
    let of = |bytes: usize| u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX);
    Tokens {
        input: of(request.system.len() + prompt),
        output: of(thought + said),
        reasoning: of(thought),
        ..Tokens::default()
    }
}
