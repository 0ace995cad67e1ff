//! `moongate config`.

use std::io;

use super::{print_json, print_line};
use crate::{
    cli::ConfigCommand,
    config::{Source, schema, settings},
    context::Context,
    exit::Outcome,
    terminal::Table,
};

/// Runs one of the configuration commands.
///
/// # Errors
/// With everything that is wrong with the configuration.
pub(crate) fn configuration(command: &ConfigCommand, context: &Context) -> Outcome {
    match command {
        ConfigCommand::Schema => print_line(&schema()?),
        ConfigCommand::Check => {
            let config = context.config()?;
            let shown = |source: &Option<Source>| Some(source.as_ref()?.path.display().to_string());
            let file = shown(&config.texts.file).unwrap_or_else(|| "no file".to_owned());
            let changes =
                shown(&config.texts.overlay).map(|path| format!(" with {path}")).unwrap_or_default();
            let models: Vec<_> =
                config.agents.by_name.values().map(|agent| agent.model.to_string()).collect();
            print_line(&format!(
                "{file}{changes}: nothing is wrong; {} agents ({})",
                models.len(),
                models.join(", ")
            ))
        }
        ConfigCommand::Show(print) => {
            let settings = settings(&context.config()?);
            if print.json {
                return print_json(&serde_json::to_vec_pretty(&settings)?);
            }
            let mut table = Table::new(["KEY", "VALUE", "FROM"], 1);
            for setting in settings {
                table.row([setting.key, setting.value, setting.from]);
            }
            table.print(&mut io::stdout().lock(), context.terminal, "nothing")
        }
    }
}
