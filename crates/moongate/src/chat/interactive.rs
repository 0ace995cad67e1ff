//! The interactive prompt.

use std::io::{self, Write as _};

use moongate_protocol::{ModelName, SessionId};
use moongate_providers::DEMO_MODEL;

use super::{
    prompt::{Editor, Typed},
    render::Render,
    running,
    slash::{self, HELP, Slash},
    talk::{Ending, Talk},
};
use crate::{
    client::{AgentView, InputPart, Page, Session, Spoken},
    context::Context,
    exit::{Failure, Outcome},
    terminal::{Style, Table, one_line},
    times::ago,
};

/// Sessions that `/sessions` lists.
const LISTED: usize = 10;
/// Messages shown of a conversation that goes on.
const RECALLED: usize = 6;

/// A person at a prompt.
struct Interactive<'a, 'w> {
    talk: &'a mut Talk<'w>,
    context: &'a Context,
    view: Render,
    /// What goes along with the next thing said.
    images: Vec<InputPart>,
    /// What `/sessions` listed last.
    listed: Vec<Session>,
}

/// Talks until the person leaves.
///
/// # Errors
/// When the terminal or the server fails for good.
pub(crate) async fn run(
    talk: &mut Talk<'_>,
    context: &Context,
    opened: Option<Session>,
    images: Vec<InputPart>,
) -> Outcome {
    let view = Render::new(context.terminal, false);
    let mut prompt = Interactive { talk, context, view, images, listed: Vec::new() };
    prompt.greet().await?;
    if let Some(session) = opened {
        prompt.recall(&session).await?;
    }
    let mut editor = Editor::new(context.data()?.history_path(), context.terminal);
    let mut asked_to_leave = false;
    loop {
        // Reading the terminal blocks; the editor goes there and comes back.
        let read = tokio::task::spawn_blocking(move || {
            let typed = editor.read();
            (editor, typed)
        });
        let (back, typed) = read.await.map_err(|error| Failure::Failed(error.to_string()))?;
        editor = back;
        match typed? {
            Typed::End => break,
            Typed::Interrupt if asked_to_leave => break,
            Typed::Interrupt => {
                asked_to_leave = true;
                prompt.say_aside("Ctrl-C again or Ctrl-D leaves")?;
            }
            Typed::Text(text) => {
                asked_to_leave = false;
                if !prompt.take(&text).await? {
                    break;
                }
            }
        }
    }
    prompt.talk.hint().map_or(Ok(()), |hint| prompt.say_aside(&hint))
}

impl Interactive<'_, '_> {
    async fn greet(&self) -> Outcome {
        let page: Page<AgentView> = self.talk.client.get("/agents").await?;
        let named = |agent: &&AgentView| {
            self.talk.settings.agent.as_ref().map_or(agent.default, |name| *name == agent.name)
        };
        let model = page.items.iter().find(named).map(|agent| agent.model.as_str());
        let model = self.talk.settings.model.as_ref().map(ModelName::as_str).or(model).unwrap_or("?");
        self.say_aside(&format!(
            "Moongate {} · {model} · /help lists the commands",
            env!("CARGO_PKG_VERSION")
        ))?;
        if model == DEMO_MODEL {
            self.say_aside(
                "This is the built-in demo model. For a real one set OPENAI_API_KEY, ANTHROPIC_API_KEY or\n\
                 OPENAI_BASE_URL, or write a moongate.toml.",
            )?;
        }
        Ok(())
    }

    fn say_aside(&self, text: &str) -> Outcome {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", self.context.terminal.paint(Style::Dim, text))?;
        Ok(stdout.flush()?)
    }

    /// Takes a line; whether to go on.
    async fn take(&mut self, text: &str) -> Outcome<bool> {
        if text.trim().is_empty() {
            return Ok(true);
        }
        let done = match slash::parse(text) {
            Some(Slash::Quit) => return Ok(false),
            Some(slash) => self.obey(slash).await,
            None => {
                self.say(text.strip_prefix('/').filter(|rest| rest.starts_with('/')).unwrap_or(text)).await
            }
        };
        match done {
            Ok(()) => Ok(true),
            // The conversation is on disk: a refusal or an outage ends nothing.
            Err(Failure::Failed(message) | Failure::NoServer(message)) => {
                let mut stdout = io::stdout().lock();
                writeln!(stdout, "{}", self.context.terminal.paint(Style::Bad, &format!("✗ {message}")))?;
                Ok(true)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn say(&mut self, text: &str) -> Outcome {
        let mut parts = vec![InputPart::Text { text: text.to_owned() }];
        parts.append(&mut self.images);
        let ending = self.talk.say(parts, &mut self.view).await?;
        if ending == Ending::Left {
            self.say_aside("(it goes on without you; what you say next waits for it, /cancel stops it)")?;
        }
        Ok(())
    }

    async fn obey(&mut self, slash: Slash) -> Outcome {
        match slash {
            Slash::Help => self.say_aside(HELP),
            Slash::New => {
                self.talk.switch(None);
                self.say_aside("(another conversation)")
            }
            Slash::Sessions => self.list().await,
            Slash::Nth(number) => match number.checked_sub(1).and_then(|at| self.listed.get(at)) {
                Some(session) => self.switch(session.id).await,
                None => self.say_aside("no such number: /sessions lists them"),
            },
            Slash::Switch(id) => self.switch(id).await,
            Slash::ShowModel => {
                let model = self.talk.settings.model.as_ref();
                self.say_aside(&model.map_or("the agent's own model".to_owned(), ToString::to_string))
            }
            Slash::OwnModel => {
                self.talk.settings.model = None;
                self.say_aside("(the agent's own model answers)")
            }
            Slash::Model(model) => {
                self.say_aside(&format!("({model} answers from now on)"))?;
                self.talk.settings.model = Some(model);
                Ok(())
            }
            Slash::Cancel => {
                self.talk.cancel().await?;
                self.say_aside("(stopped)")
            }
            Slash::Wrong(why) => self.say_aside(why),
            Slash::Quit => Ok(()),
        }
    }

    async fn list(&mut self) -> Outcome {
        let page: Page<Session> = self.talk.client.get(&format!("/sessions?limit={LISTED}")).await?;
        self.listed = page.items;
        let mut table = Table::new(["", "TITLE", "LAST", ""], 1);
        for (at, session) in self.listed.iter().enumerate() {
            let here = if Some(session.id) == self.talk.session() { "← here" } else { "" };
            let title = session.title.clone().unwrap_or_else(|| "(untitled)".to_owned());
            table.row([(at + 1).to_string(), title, ago(session.updated_at), here.to_owned()]);
        }
        table.print(&mut io::stdout().lock(), self.context.terminal, "no conversations yet")
    }

    async fn switch(&mut self, id: SessionId) -> Outcome {
        let session: Session = self.talk.client.get(&format!("/sessions/{id}")).await?;
        self.talk.switch(Some(&session));
        self.recall(&session).await
    }

    /// Shows the end of a conversation, and an answer that is being written in it.
    async fn recall(&mut self, session: &Session) -> Outcome {
        let title = session.title.as_deref().unwrap_or("(untitled)");
        self.say_aside(&format!("── {} · {}", one_line(title, 60), ago(session.updated_at)))?;
        let path = format!("/sessions/{}/messages?limit={RECALLED}", session.id);
        let page: Page<Spoken> = self.talk.client.get(&path).await?;
        for spoken in &page.items {
            self.view.past(spoken.role, &spoken.parts)?;
        }
        if let Some(turn) = running(session) {
            self.say_aside("(an answer is being written)")?;
            self.talk.watch(turn, &mut self.view).await?;
        }
        Ok(())
    }
}
