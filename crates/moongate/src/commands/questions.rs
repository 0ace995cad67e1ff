//! `moongate questions`.

use std::io;

use http::Method;
use moongate_core::Form;
use moongate_protocol::QuestionState;
use serde_json::{Map, Value};

use super::{print_json, print_line};
use crate::{
    chat::typed,
    cli::{QuestionsCommand, Remote},
    client::{Client, Inquiry, Page, Replied, Reply, connect},
    context::Context,
    exit::{Failure, Outcome},
    terminal::Table,
    times::day,
};

/// Runs one of the question commands.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn questions(remote: &Remote, command: QuestionsCommand, context: &Context) -> Outcome {
    let client = connect(remote, &context.data()?).await?;
    match command {
        QuestionsCommand::List(print) => {
            let body = client.get_bytes("/questions?state=open").await?;
            if print.json {
                return print_json(&body);
            }
            let page: Page<Inquiry> = serde_json::from_slice(&body)?;
            let mut table = Table::new(["ID", "SESSION", "QUESTION", "FIELDS", "UNTIL"], 2);
            for asked in page.items {
                let (id, session) = (asked.id.to_string(), asked.session.to_string());
                let fields = form_of(&asked).map(|form| fields(&form)).unwrap_or_default();
                table.row([id, session, asked.text, fields, day(asked.expires_at)]);
            }
            table.print(&mut io::stdout().lock(), context.terminal, "nothing waits for an answer")
        }
        QuestionsCommand::Answer { id, answer } => {
            let asked: Inquiry = client.get(&format!("/questions/{id}")).await?;
            let answers = read(form_of(&asked).as_ref(), &answer)?;
            send(&client, &asked, answers).await
        }
    }
}

fn form_of(asked: &Inquiry) -> Option<Form> {
    asked.form.as_ref().and_then(|form| Form::read(form).ok())
}

/// The fields of a form, those that have to be filled in with a star.
fn fields(form: &Form) -> String {
    let field = |(name, field, required): (&str, &moongate_core::Field, bool)| {
        let star = if required { "*" } else { "" };
        let choices = field.choices.join("|");
        if choices.is_empty() { format!("{name}{star}") } else { format!("{name}{star} ({choices})") }
    };
    form.fields().map(field).collect::<Vec<_>>().join(", ")
}

/// The answers among the words of the command line.
fn read(form: Option<&Form>, words: &[String]) -> Outcome<Value> {
    let Some(form) = form else {
        return Ok(Value::Object(Map::from_iter([("answer".to_owned(), words.join(" ").into())])));
    };
    let mut answers = Map::new();
    for word in words {
        let Some((name, text)) = word.split_once('=') else {
            let message = format!("{word:?} is no field; the question has {}", fields(form));
            return Err(Failure::Usage(message));
        };
        let Some((_, field, _)) = form.fields().find(|(known, ..)| *known == name) else {
            let message = format!("there is no field {name:?}; the question has {}", fields(form));
            return Err(Failure::Usage(message));
        };
        let value = typed(field, text).map_err(|why| Failure::Usage(format!("{name} {why}")))?;
        answers.insert(name.to_owned(), value);
    }
    Ok(Value::Object(answers))
}

async fn send(client: &Client, asked: &Inquiry, answers: Value) -> Outcome {
    let path = format!("/questions/{}", asked.id);
    let replied: Replied = client.send(Method::POST, &path, &Reply { answers }).await?;
    if !replied.already {
        return print_line("answered");
    }
    let by = replied.by.map_or_else(|| "somebody".to_owned(), |by| by.to_string());
    Err(Failure::Failed(match replied.state {
        QuestionState::Expired => "nobody answered in time".into(),
        QuestionState::Open | QuestionState::Closed => "the turn that asked is over".into(),
        QuestionState::Answered => {
            format!("{by} answered before: {}", replied.answers.unwrap_or_default())
        }
    }))
}
