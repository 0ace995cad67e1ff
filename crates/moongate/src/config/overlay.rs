//! What clients changed of the configuration: which keys they may change, and how it is written.

use moongate_server::{Doors, Effect, SettingChange, SettingValue};
use toml::{Table, Value};

use super::Texts;

/// What stands before the first key.
const HEADER: &str =
    "# Written by the server: what was changed while it ran. It wins over moongate.toml.\n\n";
/// What clients are shown in the place of a secret.
const MASKS: [&str; 3] = ["", "***", "(set)"];

/// The changes there are, over the operator's file.
pub(crate) struct Overlay {
    file: Table,
    changed: Table,
}

impl Overlay {
    /// As the texts have it.
    ///
    /// # Errors
    /// When one is not TOML.
    pub(crate) fn of(texts: &Texts) -> Result<Self, Vec<String>> {
        let parse = |text: &str| text.parse::<Table>().map_err(|error| vec![error.message().to_owned()]);
        Ok(Self { file: parse(texts.file_text())?, changed: parse(texts.overlay_text())? })
    }

    /// Takes all changes; says what each leads to.
    ///
    /// # Errors
    /// With every change that may not be made.
    pub(crate) fn take(&mut self, changes: &[SettingChange]) -> Result<Vec<Effect>, Vec<String>> {
        let mut faults = Vec::new();
        let mut effects = Vec::new();
        for change in changes {
            let path: Vec<_> = change.path.iter().map(String::as_str).collect();
            let taken = match &change.value {
                None => Ok(self.take_back(&path)),
                Some(wanted) => self.put(&path, wanted),
            };
            match taken {
                Ok(effect) => effects.push(effect),
                Err(why) => faults.push(format!("{}: {why}", path.join("."))),
            }
        }
        if faults.is_empty() { Ok(effects) } else { Err(faults) }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        format!("{HEADER}{}", self.changed)
    }

    fn put(&mut self, path: &[&str], wanted: &SettingValue) -> Result<Effect, &'static str> {
        let is_masked = matches!(wanted, SettingValue::Text(text) if MASKS.contains(&text.as_str()));
        let wanted = value(wanted);
        let present = at(&self.changed, path).or(at(&self.file, path));
        if present == Some(&wanted) || is_secret(path) && is_masked {
            return Ok(Effect::Same);
        }
        let effect = effect(path).filter(|_| self.is_known_provider(path));
        let effect = effect.ok_or("it can be set in the operator's file only")?;
        let Some((last, above)) = path.split_last() else { return Err("there is no such key") };
        let mut table = &mut self.changed;
        for key in above {
            let below = table.entry(*key).or_insert_with(|| Value::Table(Table::new()));
            table = below.as_table_mut().ok_or("what is above it is no table")?;
        }
        table.insert((*last).to_owned(), wanted);
        Ok(effect)
    }

    /// A provider belongs to the operator: where it is, and what key it is sent. Clients adjust those there are.
    fn is_known_provider(&self, path: &[&str]) -> bool {
        path.first() != Some(&"providers") || path.get(..2).is_some_and(|name| at(&self.file, name).is_some())
    }

    fn take_back(&mut self, path: &[&str]) -> Effect {
        let gone = remove(&mut self.changed, path);
        let Some(gone) = gone else { return Effect::Same };
        let mut leaves = vec![(path.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), gone)];
        while let Some((path, value)) = leaves.pop() {
            if let Value::Table(table) = value {
                let below = |(key, value)| (path.iter().cloned().chain([key]).collect(), value);
                leaves.extend(table.into_iter().map(below));
                continue;
            }
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            if effect(&path) != Some(Effect::Applied) {
                return Effect::Restart;
            }
        }
        Effect::Applied
    }
}

/// What a change of the value at a path leads to; `None` when it is the operator's alone. Whatever names a file
/// or a variable of this machine, says where secrets are sent, where the server is or whom it lets in, is.
fn effect(path: &[&str]) -> Option<Effect> {
    match path {
        ["default_agent"] | ["policy", "default"] | ["limits", _] => Some(Effect::Applied),
        ["agents", _, "system_file", ..] => None,
        ["agents", _, _, ..] | ["prices", _, _] | ["spend", "on_limit"] | ["spend", _, _, ..] => {
            Some(Effect::Applied)
        }
        ["providers", _, "models"] | ["providers", _, "quirks" | "timeouts", _] => Some(Effect::Applied),
        ["telemetry", "log" | "format"] => Some(Effect::Restart),
        ["doors", rest @ ..] => Doors::effect(rest),
        _ => None,
    }
}

fn is_secret(path: &[&str]) -> bool {
    matches!(path, ["providers", _, "key"] | ["providers", _, "headers", _])
}

fn at<'t>(table: &'t Table, path: &[&str]) -> Option<&'t Value> {
    let (last, above) = path.split_last()?;
    above.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?.get(*last)
}

/// Takes a value out, and the tables that are empty without it.
fn remove(table: &mut Table, path: &[&str]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return table.remove(*first);
    }
    let inner = table.get_mut(*first)?.as_table_mut()?;
    let gone = remove(inner, rest);
    if inner.is_empty() {
        table.remove(*first);
    }
    gone
}

fn value(setting: &SettingValue) -> Value {
    match setting {
        SettingValue::Text(text) => Value::String(text.clone()),
        SettingValue::Whole(number) => Value::Integer(*number),
        SettingValue::Number(number) => Value::Float(*number),
        SettingValue::Flag(flag) => Value::Boolean(*flag),
        SettingValue::List(items) => Value::Array(items.iter().map(value).collect()),
    }
}
