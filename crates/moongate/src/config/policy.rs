//! Rules about tool calls, each tried on its own examples before anything starts.

use std::sync::Arc;

use moongate_core::{Call, PolicyRule, PolicyRules, Reach, ReachPattern, Toolbox, Verdict, read_call};
use moongate_protocol::PolicyPreset;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{check::Reading, file::Policy};

/// Most rules: each is looked at for each call.
const MAX_RULES: usize = 1_000;
/// Whom an example's call is by, where a rule does not say.
const SOMEBODY: &str = "somebody";

/// Programs that run what their arguments, a file or a terminal tell them to: a beginning of their arguments says
/// nothing about what they do.
const RUN_ANYTHING: &[&str] = &[
    "ansible",
    "apt",
    "apt-get",
    "ash",
    "at",
    "awk",
    "bash",
    "batch",
    "bpftrace",
    "bundle",
    "busybox",
    "byebug",
    "cargo",
    "chroot",
    "cmake",
    "composer",
    "cpan",
    "cpulimit",
    "crontab",
    "csh",
    "dash",
    "deno",
    "dmesg",
    "docker",
    "dpkg",
    "ed",
    "elvish",
    "emacs",
    "env",
    "ex",
    "expect",
    "faketime",
    "find",
    "fish",
    "flock",
    "ftp",
    "gawk",
    "gcc",
    "gdb",
    "gem",
    "ghci",
    "gimp",
    "git",
    "go",
    "hping3",
    "ionice",
    "irb",
    "java",
    "jjs",
    "journalctl",
    "jrunscript",
    "jshell",
    "ksh",
    "ld.so",
    "less",
    "logsave",
    "ltrace",
    "lua",
    "make",
    "man",
    "mawk",
    "more",
    "mount",
    "mutt",
    "mysql",
    "nano",
    "nawk",
    "nc",
    "ncat",
    "nice",
    "nmap",
    "node",
    "nohup",
    "npm",
    "npx",
    "nroff",
    "nsenter",
    "openssl",
    "pager",
    "parallel",
    "perl",
    "perlbug",
    "pg",
    "php",
    "pip",
    "pip3",
    "pkexec",
    "podman",
    "psql",
    "pwsh",
    "python",
    "python2",
    "python3",
    "rake",
    "rbash",
    "rlwrap",
    "rpm",
    "rsync",
    "ruby",
    "run-parts",
    "rview",
    "rvim",
    "scp",
    "screen",
    "script",
    "sed",
    "service",
    "setarch",
    "setsid",
    "sftp",
    "sh",
    "socat",
    "sqlite3",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemctl",
    "systemd-run",
    "tar",
    "taskset",
    "tclsh",
    "tcpdump",
    "tcsh",
    "time",
    "timeout",
    "tmux",
    "unshare",
    "valgrind",
    "vi",
    "view",
    "vim",
    "vimdiff",
    "watch",
    "wget",
    "wish",
    "xargs",
    "xdg-open",
    "yarn",
    "zip",
    "zsh",
];

/// What agents may do that do not say it themselves, and what all have to keep to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PolicyTable {
    /// `read-only`, `ask` (the default), `workspace-write` or `full`.
    #[schemars(with = "Option<Policy>", extend("default" = "ask"))]
    pub(crate) default: Option<PolicyPreset>,
    /// Rules about calls. Of those that speak of a call the strictest decides: `deny` before `ask` before `allow`.
    /// Where none does, the agent's policy decides; and what that denies, no rule allows.
    #[schemars(length(max = MAX_RULES))]
    pub(crate) rules: Vec<RuleTable>,
}

/// One rule. What it does not say, it says of all calls.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleTable {
    /// What it is called in the log; its place in the file when it has no name.
    pub(crate) name: Option<String>,
    /// `allow`, `ask` or `deny`.
    pub(crate) decision: Decision,
    /// The tools; a name that ends in `*` is a beginning.
    #[serde(default)]
    pub(crate) tools: Vec<String>,
    /// The agents whose calls it is about.
    #[serde(default)]
    pub(crate) agents: Vec<String>,
    /// The namespaces, each with all beneath it.
    #[serde(default)]
    pub(crate) namespaces: Vec<String>,
    /// The principals that set the turn off.
    #[serde(default)]
    pub(crate) callers: Vec<String>,
    /// Folders or files of the workspace. `allow` wants all files of a call there, `ask` and `deny` one of them.
    #[serde(default)]
    pub(crate) paths: Vec<String>,
    /// A program by its absolute path, and the first of its arguments.
    #[serde(default)]
    pub(crate) argv: Vec<String>,
    /// No arguments may follow those of `argv`.
    #[serde(default)]
    pub(crate) exact: bool,
    /// Hosts; `*.` at the beginning stands for all beneath.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Calls it has to be about, each a tool's name and a JSON object of arguments.
    #[serde(default, rename = "match")]
    pub(crate) matching: Vec<String>,
    /// Calls it must not be about.
    #[serde(default)]
    pub(crate) not_match: Vec<String>,
}

/// What a rule says about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// It runs.
    Allow,
    /// A person decides.
    Ask,
    /// It does not run.
    Deny,
}

impl RuleTable {
    fn pattern(&self) -> Result<ReachPattern, String> {
        let stated =
            [&self.paths, &self.argv, &self.hosts].into_iter().filter(|list| !list.is_empty()).count();
        if stated > 1 {
            return Err(
                "paths, argv and hosts are of different calls: keep one, or write a rule for each".into()
            );
        }
        if self.exact && self.argv.is_empty() {
            return Err("exact is about argv, and there is none".into());
        }
        if let Some(path) = self.paths.iter().find(|path| !is_beneath_workspace(path)) {
            return Err(format!("{path:?}: a path is relative to the workspace, without `.` and `..` in it"));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_host(host)) {
            return Err(format!(
                "{host:?} is no host: it is like docs.example.com or *.example.com, in lower case"
            ));
        }
        if let Some(program) = self.argv.first() {
            self.check_program(program)?;
            return Ok(ReachPattern::Command { argv: self.argv.clone(), exact: self.exact });
        }
        Ok(match (self.paths.is_empty(), self.hosts.is_empty()) {
            (false, _) => ReachPattern::Beneath(self.paths.clone()),
            (_, false) => ReachPattern::Hosts(self.hosts.clone()),
            _ => ReachPattern::Anything,
        })
    }

    /// No beginning of an interpreter's arguments says what it will do.
    fn check_program(&self, program: &str) -> Result<(), String> {
        let name = program.strip_prefix('/').and_then(|path| path.rsplit('/').next());
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(format!("{program:?}: a program is named by its absolute path, such as /usr/bin/ls"));
        };
        // python3.13 is python, too.
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        let runs_anything = RUN_ANYTHING.contains(&name) || RUN_ANYTHING.contains(&bare);
        if runs_anything && self.decision == Decision::Allow && !self.exact {
            return Err(format!(
                "{name} runs whatever its arguments say: allow it with `exact = true` and all of its arguments, or ask"
            ));
        }
        Ok(())
    }
}

fn is_beneath_workspace(path: &str) -> bool {
    let is_step = |step: &str| !step.is_empty() && step != "." && step != "..";
    path == "." || (!path.is_empty() && path.split('/').all(is_step))
}

fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_letter =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | ':' | '[' | ']');
    !name.is_empty() && name.chars().all(is_letter)
}

impl Reading<'_> {
    /// The rules about calls.
    pub(crate) fn policy_rules(&mut self, tables: &[RuleTable], tools: &Toolbox) -> Arc<PolicyRules> {
        if tables.len() > MAX_RULES {
            self.fault(&["policy", "rules"], format!("there are more than {MAX_RULES} rules"));
        }
        let mut rules = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let number = format!("policy.rules[{index}]");
            let rule = read(number.clone(), table);
            match rule.and_then(|rule| try_examples(&rule, table, tools).map(|()| rule)) {
                Ok(rule) => rules.push(rule),
                Err(message) => self.fault(&["policy", "rules"], format!("rule {}: {message}", index + 1)),
            }
        }
        Arc::new(PolicyRules::new(rules))
    }
}

fn read(number: String, table: &RuleTable) -> Result<PolicyRule, String> {
    Ok(PolicyRule {
        name: table.name.clone().unwrap_or(number),
        verdict: match table.decision {
            Decision::Allow => Verdict::Allow,
            Decision::Ask => Verdict::Ask,
            Decision::Deny => Verdict::Deny,
        },
        tools: table.tools.clone(),
        agents: parse(&table.agents, "an agent's name")?,
        namespaces: parse(&table.namespaces, "a namespace")?,
        callers: parse(&table.callers, "a principal's name")?,
        reach: table.pattern()?,
    })
}

fn parse<T: std::str::FromStr>(texts: &[String], what: &str) -> Result<Vec<T>, String> {
    texts.iter().map(|text| text.parse().map_err(|_| format!("{text:?} is not {what}"))).collect()
}

/// A rule that does not do what its writer thinks it does is found before it is needed.
fn try_examples(rule: &PolicyRule, table: &RuleTable, tools: &Toolbox) -> Result<(), String> {
    let wanted = table.matching.iter().map(|text| (text, true));
    for (text, expected) in wanted.chain(table.not_match.iter().map(|text| (text, false))) {
        let (tool, arguments) = read_call(text).map_err(|fault| format!("the example {text:?}: {fault}"))?;
        let Some(called) = tools.get(tool.as_str()) else {
            return Err(format!("the example {text:?} calls a tool that there is not"));
        };
        let reach = arguments.map_or(Reach::Anything, |arguments| called.reach(&arguments));
        let somebody = || SOMEBODY.parse().map_err(|_| "an example cannot be tried".to_owned());
        let (agent, author) = (rule.agents.first(), rule.callers.first());
        let (nobody, nobodys) = (somebody()?, SOMEBODY.parse().map_err(|_| "an example cannot be tried")?);
        let nowhere = "user:somebody".parse().map_err(|_| "an example cannot be tried")?;
        let call = Call {
            tool: &tool,
            reach: &reach,
            agent: agent.unwrap_or(&nobody),
            namespace: rule.namespaces.first().unwrap_or(&nowhere),
            author: author.unwrap_or(&nobodys),
        };
        match (rule.matches(call), expected) {
            (false, true) => return Err(format!("it is not about {text:?}, which its `match` says it is")),
            (true, false) => {
                return Err(format!("it is about {text:?}, which its `not_match` says it is not"));
            }
            _ => {}
        }
    }
    Ok(())
}
