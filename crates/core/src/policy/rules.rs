//! Rules an operator wrote about calls. Of those that speak of a call the strictest decides; a preset decides where
//! none does, and what a preset denies no rule allows.

use moongate_protocol::{AgentName, Namespace, Principal, ToolName};
use serde_json::Value;

use super::Verdict;
use crate::{Reach, is_beneath};

/// A call, as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The tool.
    pub tool: &'a ToolName,
    /// What the call reaches for.
    pub reach: &'a Reach,
    /// Which agent asks.
    pub agent: &'a AgentName,
    /// Where the session belongs.
    pub namespace: &'a Namespace,
    /// Who set the turn off.
    pub author: &'a Principal,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What it is called in events and answers.
    pub name: String,
    /// What it says.
    pub verdict: Verdict,
    /// Of which tools; a name that ends in `*` is a beginning. Of all, when there is none.
    pub tools: Vec<String>,
    /// Of which agents' calls; of all, when there is none.
    pub agents: Vec<AgentName>,
    /// Of calls in which namespaces and beneath; in all, when there is none.
    pub namespaces: Vec<Namespace>,
    /// Of calls in turns that these set off; of all, when there is none.
    pub callers: Vec<Principal>,
    /// Of what such calls reach for.
    pub reach: ReachPattern,
}

/// What a rule says about what a call reaches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReachPattern {
    /// Whatever it is.
    #[default]
    Anything,
    /// Files in these folders of the workspace, and the files themselves. A rule that allows wants all of them there,
    /// any other one of them.
    Beneath(Vec<String>),
    /// A program with these arguments, and after them any others unless they are `exact`.
    Command {
        /// The program, by its absolute path, and its first arguments.
        argv: Vec<String>,
        /// No other arguments may follow.
        exact: bool,
    },
    /// These hosts; `*.` at the beginning stands for every host beneath.
    Hosts(Vec<String>),
}

impl ReachPattern {
    fn matches(&self, reach: &Reach, verdict: Verdict) -> bool {
        match (self, reach) {
            (Self::Anything, _) => true,
            (Self::Beneath(folders), Reach::Files(paths)) => {
                let is_there = |path: &String| folders.iter().any(|folder| is_in(path, folder));
                if verdict == Verdict::Allow {
                    !paths.is_empty() && paths.iter().all(is_there)
                } else {
                    paths.iter().any(is_there)
                }
            }
            (Self::Command { argv, exact }, Reach::Command(called)) => {
                if *exact {
                    called == argv
                } else {
                    called.starts_with(argv)
                }
            }
            (Self::Hosts(hosts), Reach::Host(host)) => hosts.iter().any(|pattern| is_host(host, pattern)),
            _ => false,
        }
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    let beneath = path.strip_prefix(folder);
    folder == "." || beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_host(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(above) => host.strip_suffix(above).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => host == pattern,
    }
}

fn speaks_of<T: PartialEq>(list: &[T], one: &T) -> bool {
    list.is_empty() || list.contains(one)
}

impl PolicyRule {
    /// Whether it speaks of a call.
    pub fn matches(&self, call: Call<'_>) -> bool {
        let names_tool = self.tools.is_empty()
            || self.tools.iter().any(|name| match name.strip_suffix('*') {
                Some(beginning) => call.tool.as_str().starts_with(beginning),
                None => call.tool.as_str() == name,
            });
        let names_place =
            self.namespaces.is_empty() || self.namespaces.iter().any(|path| is_beneath(call.namespace, path));
        names_tool
            && names_place
            && speaks_of(&self.agents, call.agent)
            && speaks_of(&self.callers, call.author)
            && self.reach.matches(call.reach, self.verdict)
    }
}

/// All rules of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRules(Vec<PolicyRule>);

impl PolicyRules {
    /// These rules; their order says nothing.
    pub fn new(rules: impl IntoIterator<Item = PolicyRule>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// The strictest rule that speaks of a call.
    pub fn decide(&self, call: Call<'_>) -> Option<&PolicyRule> {
        self.0.iter().filter(|rule| rule.matches(call)).max_by_key(|rule| rule.verdict)
    }

    /// A text that is another one when the rules are others.
    pub(super) fn text(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!("{:?}", self.0) }
    }
}

/// Reads calls as kept rules and the examples of rules name them: a tool's name, and after it a JSON object of
/// arguments, or nothing.
///
/// # Errors
/// What is wrong with it.
pub fn read_call(text: &str) -> Result<(ToolName, Option<Value>), &'static str> {
    let (name, arguments) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let tool = name.parse().map_err(|_| "a rule begins with a tool's name")?;
    let arguments = match arguments.trim() {
        "" => None,
        json => match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => Some(Value::Object(fields)),
            _ => return Err("after the tool's name a rule has a JSON object of arguments, or nothing"),
        },
    };
    Ok((tool, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verdict: Verdict, reach: ReachPattern) -> PolicyRule {
        PolicyRule {
            name: format!("{verdict:?}"),
            verdict,
            tools: vec!["shell".into(), "web_*".into(), "edit_file".into()],
            agents: Vec::new(),
            namespaces: Vec::new(),
            callers: Vec::new(),
            reach,
        }
    }

    fn decides(rules: &[PolicyRule], tool: &str, reach: &Reach) -> Option<Verdict> {
        let (tool, agent) = (tool.parse().unwrap(), "coder".parse().unwrap());
        let (namespace, author) = ("tenant:acme:user:bob".parse().unwrap(), "bob".parse().unwrap());
        let call = Call { tool: &tool, reach, agent: &agent, namespace: &namespace, author: &author };
        PolicyRules::new(rules.iter().cloned()).decide(call).map(|rule| rule.verdict)
    }

    fn command(argv: &[&str]) -> Reach {
        Reach::Command(argv.iter().map(|&text| text.to_owned()).collect())
    }

    fn files(paths: &[&str]) -> Reach {
        Reach::Files(paths.iter().map(|&text| text.to_owned()).collect())
    }

    #[test]
    fn the_strictest_rule_decides_in_whatever_order_they_stand() {
        let mut rules = vec![
            rule(Verdict::Allow, ReachPattern::Anything),
            rule(Verdict::Deny, ReachPattern::Anything),
            rule(Verdict::Ask, ReachPattern::Anything),
        ];
        for _ in 0..3 {
            rules.rotate_left(1);
            assert_eq!(decides(&rules, "shell", &Reach::Anything), Some(Verdict::Deny));
            let lenient: Vec<_> = rules.iter().filter(|r| r.verdict != Verdict::Deny).cloned().collect();
            assert_eq!(decides(&lenient, "shell", &Reach::Anything), Some(Verdict::Ask));
        }
        assert_eq!(decides(&rules, "todo", &Reach::Anything), None);
        assert_eq!(decides(&rules, "web_fetch", &Reach::Anything), Some(Verdict::Deny));
    }

    #[test]
    fn a_program_is_its_whole_path_and_its_arguments_as_they_stand() {
        let argv: Vec<String> = vec!["/usr/bin/git".into(), "status".into()];
        let open = [rule(Verdict::Allow, ReachPattern::Command { argv: argv.clone(), exact: false })];
        let exact = [rule(Verdict::Allow, ReachPattern::Command { argv, exact: true })];
        let allows = |rules: &[PolicyRule], argv: &[&str]| {
            decides(rules, "shell", &command(argv)) == Some(Verdict::Allow)
        };
        for rules in [&open, &exact] {
            assert!(allows(rules, &["/usr/bin/git", "status"]));
            for other in [
                &["git", "status"][..],
                &["/usr/bin/git"],
                &["/usr/bin/git", "-c", "status"],
                &["/usr/bin/git status"],
                &["/bin/sh", "-c", "/usr/bin/git status"],
            ] {
                assert!(!allows(rules, other), "{other:?}");
            }
            assert_eq!(decides(rules, "shell", &Reach::Anything), None);
        }
        assert!(allows(&open, &["/usr/bin/git", "status", "-s"]));
        assert!(!allows(&exact, &["/usr/bin/git", "status", "-s"]));
    }

    #[test]
    fn a_folder_is_its_files_and_not_its_neighbours() {
        let beneath =
            |verdict| [rule(verdict, ReachPattern::Beneath(vec!["src".into(), "docs/a.md".into()]))];
        let (allow, deny) = (beneath(Verdict::Allow), beneath(Verdict::Deny));
        for (paths, all, any) in [
            (&["src/a.rs"][..], true, true),
            (&["src", "docs/a.md"], true, true),
            (&["src/a.rs", "Cargo.toml"], false, true),
            (&["srcs/a.rs"], false, false),
            (&["docs/a.md.bak"], false, false),
            (&[], false, false),
        ] {
            assert_eq!(decides(&allow, "edit_file", &files(paths)).is_some(), all, "{paths:?}");
            assert_eq!(decides(&deny, "edit_file", &files(paths)).is_some(), any, "{paths:?}");
        }
        let everywhere = [rule(Verdict::Allow, ReachPattern::Beneath(vec![".".into()]))];
        assert!(decides(&everywhere, "edit_file", &files(&["any/where"])).is_some());
    }

    #[test]
    fn a_host_is_not_one_that_ends_like_it() {
        let hosts = vec!["docs.example".into(), "*.rust.example".into()];
        let rules = [rule(Verdict::Allow, ReachPattern::Hosts(hosts))];
        for (host, expected) in [
            ("docs.example", true),
            ("a.rust.example", true),
            ("a.b.rust.example", true),
            ("rust.example", false),
            ("evilrust.example", false),
            (".rust.example", false),
            ("x.docs.example", false),
            ("docs.example.evil", false),
        ] {
            assert_eq!(decides(&rules, "web_fetch", &Reach::Host(host.into())).is_some(), expected, "{host}");
        }
    }

    #[test]
    fn who_asks_and_where_can_be_told_apart() {
        let with = |change: fn(&mut PolicyRule)| {
            let mut rule = rule(Verdict::Deny, ReachPattern::Anything);
            change(&mut rule);
            decides(&[rule], "shell", &Reach::Anything).is_some()
        };
        assert!(with(|rule| rule.agents = vec!["coder".parse().unwrap()]));
        assert!(!with(|rule| rule.agents = vec!["writer".parse().unwrap()]));
        assert!(with(|rule| rule.namespaces = vec!["tenant:acme".parse().unwrap()]));
        assert!(!with(|rule| rule.namespaces = vec!["tenant:acme:user:eve".parse().unwrap()]));
        assert!(with(|rule| rule.callers = vec!["bob".parse().unwrap()]));
        assert!(!with(|rule| rule.callers = vec!["eve".parse().unwrap()]));
    }
}
