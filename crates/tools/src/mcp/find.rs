//! `find_tool`: for an agent with more tools than a prompt should hold.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use async_trait::async_trait;
use moongate_core::{FIND_TOOL, Grant, Tool, ToolPolicies, ToolResult};
use moongate_protocol::{AgentName, Effect, ToolName, ToolOutcome, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::arguments;

/// Tools one search names: more are not read.
const SHOWN: usize = 20;
/// Characters of a description that are shown.
const DESCRIPTION_CHARS: usize = 300;
/// Tools that may be asked for at once.
const USED: usize = 32;

const DESCRIPTION: &str = "You have more tools than are shown. Search them with `query`, in a few words; then name \
     those you need in `use`, and you can call them from your next step on.";

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// What the tool should do.
    query: Option<String>,
    /// Names of tools to be shown from now on.
    #[serde(rename = "use", default)]
    #[schemars(length(max = USED))]
    used: Vec<String>,
}

/// The tool, and what each agent can find with it.
pub struct FindTool {
    spec: ToolSpec,
    hidden: BTreeMap<AgentName, Arc<[Arc<dyn Tool>]>>,
    policies: ToolPolicies,
}

impl FindTool {
    /// For agents with these tools, as far as a namespace may use them.
    pub fn new(hidden: BTreeMap<AgentName, Arc<[Arc<dyn Tool>]>>, policies: ToolPolicies) -> Self {
        Self { spec: arguments::spec::<Wish>(FIND_TOOL, DESCRIPTION, Effect::Read), hidden, policies }
    }
}

#[async_trait]
impl Tool for FindTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        let wish: Wish = match arguments::read(grant.arguments) {
            Ok(wish) => wish,
            Err(refused) => return refused,
        };
        let all = self.hidden.get(&grant.place.agent).into_iter().flat_map(|tools| tools.iter());
        let may = |name: &ToolName| self.policies.allow(&grant.place.namespace, name.as_str());
        let specs: Vec<_> = all.map(|tool| tool.spec()).filter(|spec| may(&spec.name)).collect();
        let mut text = String::new();
        if let Some(query) = &wish.query {
            search(query, &specs, &mut text);
        }
        let names: HashSet<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        for name in &wish.used {
            let _ = if names.contains(name.as_str()) {
                writeln!(text, "{name} can be called from now on.")
            } else {
                writeln!(text, "There is no hidden tool named {name:?}.")
            };
        }
        if text.is_empty() {
            return ToolResult::ended(
                ToolOutcome::Error,
                "Say what to look for with `query`, or name tools in `use`.",
            );
        }
        ToolResult::ok(text)
    }
}

/// The words of a text or of a name.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// How much a word is that of a text: a whole one more than a part.
fn weight(word: &str, text: &str) -> usize {
    if words(text).any(|whole| whole == word) { 2 } else { usize::from(text.contains(word)) }
}

/// The tools that have most of the words, those in the name counting more.
fn search(query: &str, specs: &[&ToolSpec], text: &mut String) {
    let query = query.to_lowercase();
    let wanted: Vec<_> = words(&query).collect();
    let rank = |spec: &ToolSpec| {
        let (name, description) = (spec.name.as_str().to_lowercase(), spec.description.to_lowercase());
        wanted.iter().map(|word| 3 * weight(word, &name) + weight(word, &description)).sum::<usize>()
    };
    let mut ranked: Vec<_> =
        specs.iter().map(|spec| (rank(spec), spec)).filter(|(rank, _)| *rank > 0).collect();
    ranked.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.name.cmp(&other.1.name)));
    if ranked.is_empty() {
        let _ = writeln!(text, "None of {} tools has these words.", specs.len());
    }
    for (_, spec) in ranked.iter().take(SHOWN) {
        let description: String = spec.description.chars().take(DESCRIPTION_CHARS).collect();
        let _ = writeln!(text, "{}: {}", spec.name, description.replace('\n', " "));
    }
    if ranked.len() > SHOWN {
        let _ = writeln!(text, "{} more have them: search with other words.", ranked.len() - SHOWN);
    }
}
