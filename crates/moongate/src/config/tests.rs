//! Flags over the environment over the file, and what is there when nothing is said.

use std::path::Path;

use moongate_core::{ASK_USER, OnLimit};
use moongate_providers::{Auth, CallIds, EffortField, MaxTokensField, Quirks, Wire};
use moongate_tools::WorkspaceSettings;

use std::fs;

use super::*;

const HOME: (&str, &str) = ("HOME", "/nowhere");

fn load_with(text: &str, variables: &[(&str, &str)], serve: &ServeArgs) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moongate.toml");
    fs::write(&path, text).unwrap();
    let place = Place { config: Some(path), data: None };
    let env = Environment::of(variables.iter().copied().chain([HOME]));
    let shown = folder.path().display().to_string();
    Origins { place, serve: serve.clone(), env }
        .load()
        .map_err(|failure| failure.to_string().replace(&format!("{shown}/"), ""))
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    load_with(text, variables, &ServeArgs::default())
}

fn default_model(config: &Config) -> &str {
    config.agents.by_name[&config.agents.default].model.as_str()
}

#[test]
fn without_anything_the_demo_model_answers_on_loopback() {
    let place = Place { config: None, data: None };
    let config = Origins { place, serve: ServeArgs::default(), env: Environment::of([HOME]) }.load().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8137");
    assert_eq!(config.data, Path::new("/nowhere/.local/share/moongate"));
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert_eq!(default_model(&config), "builtin/demo");
    assert!(config.agents.is_demo && config.providers.is_empty());
}

#[test]
fn keys_in_the_environment_are_picked_up() {
    for (variables, provider, wire, model) in [
        (&[("OPENAI_API_KEY", "k")][..], "openai", Wire::OpenAiResponses, "openai/gpt-5.2"),
        (&[("ANTHROPIC_API_KEY", "k")], "anthropic", Wire::Anthropic, "anthropic/claude-sonnet-4-6"),
        (&[("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")], "openai", Wire::OpenAiChat, "openai/gpt-5.2"),
        (
            &[("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("MOONGATE_MODEL", "llama3")],
            "openai",
            Wire::OpenAiChat,
            "openai/llama3",
        ),
        (&[("GROQ_API_KEY", "k"), ("MOONGATE_MODEL", "groq/x/y")], "groq", Wire::OpenAiChat, "groq/x/y"),
        (
            &[("OPENAI_API_KEY", "k"), ("MOONGATE_MODEL", "builtin/demo")],
            "openai",
            Wire::OpenAiResponses,
            "builtin/demo",
        ),
    ] {
        let config = load_text("", variables).unwrap();
        let [found] = config.providers.as_slice() else { panic!("one provider for {variables:?}") };
        assert_eq!((found.name.as_str(), found.wire, default_model(&config)), (provider, wire, model));
        assert!(!config.agents.is_demo);
    }
    let anthropic = load_text("", &[("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")]).unwrap();
    assert_eq!(anthropic.providers[0].endpoint.to_string(), "http://127.0.0.1:9/v1");
}

#[test]
fn every_quirk_can_be_set_over_a_presets() {
    let quirks = |text: &str| {
        let agent = "[agents.default]\nmodel = \"builtin/demo\"\n";
        load_text(&format!("{text}{agent}"), &[]).unwrap().providers[0].quirks
    };
    let python = quirks("[providers.llama-cpp-python]\n");
    assert_eq!(python, Quirks { empty_content: true, ..Quirks::USUAL });
    let table = "[providers.x.quirks]\nmax_tokens_field = \"max_completion_tokens\"\neffort_field = \"none\"\n\
                 bearer = true\nusage_option = false\nreasoning_back = true\ncall_ids = \"nine\"\n\
                 empty_content = true\ncache_key = true\nimages = false\nfiles = true\n";
    let x = "[providers.x]\nkind = \"openai-chat\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";
    let all = Quirks {
        auth: Auth::Bearer,
        max_tokens: MaxTokensField::MaxCompletionTokens,
        effort: EffortField::Omit,
        call_ids: CallIds::Nine,
        usage_option: false,
        reasoning_back: true,
        empty_content: true,
        cache_key: true,
        images: false,
        files: true,
    };
    assert_eq!((quirks(x), quirks(&format!("{x}{table}"))), (Quirks::USUAL, all));
}

#[test]
fn a_key_is_not_sent_to_another_address_than_its_own() {
    let file = "[providers.openai]\nbase_url = \"https://elsewhere.example/v1\"\n";
    let config = load_text(file, &[("OPENAI_API_KEY", "k")]).unwrap();
    assert!(config.providers[0].key.is_none());
}

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\n[agents.default]\nmodel = \"builtin/demo\"\n";
    let listen = |variables: &[(&str, &str)], flag: Option<&str>| {
        let serve = ServeArgs { listen: flag.map(|text| text.parse().unwrap()), ..ServeArgs::default() };
        load_with(file, variables, &serve).unwrap().server.listen.port()
    };
    assert_eq!(listen(&[], None), 1);
    assert_eq!(listen(&[("MOONGATE_LISTEN", "127.0.0.1:2")], None), 2);
    assert_eq!(listen(&[("MOONGATE_LISTEN", "127.0.0.1:2")], Some("127.0.0.1:3")), 3);
    let config = load_text(file, &[("MOONGATE_LOG", "debug")]).unwrap();
    let from: Vec<_> = settings(&config)
        .into_iter()
        .filter(|setting| {
            ["server.listen", "telemetry.log", "limits.queue_inputs"].contains(&setting.key.as_str())
        })
        .map(|setting| (setting.value, setting.from))
        .collect();
    let expected = [("\"127.0.0.1:1\"", "line 2"), ("64", "default"), ("\"debug\"", "MOONGATE_LOG")];
    assert_eq!(from, expected.map(|(value, from)| (value.to_owned(), from.to_owned())));
}

#[test]
fn secrets_are_in_no_text() {
    let file = "[providers.mine]\nkind = \"openai-chat\"\nbase_url = \"http://127.0.0.1:9\"\nkey = \"env:MINE\"\n\
                models = [\"m\"]\n[providers.mine.headers]\nX-Token = \"env:MINE\"\n";
    let config = load_text(file, &[("MINE", "s3cr3t"), ("OTHER", "s3cr3t")]).unwrap();
    assert_eq!(default_model(&config), "mine/m");
    assert!(!format!("{config:?}{:?}", settings(&config)).contains("s3cr3t"));
    let literal = load_text(&file.replace("env:MINE", "sk-s3cr3t"), &[]).unwrap_err();
    assert!(literal.contains("the key itself may not stand in the file") && !literal.contains("s3cr3t"));
}

#[test]
fn every_fault_is_reported_at_once_with_its_place() {
    let file = r#"default_agent = "nobody"
[server]
listne = "127.0.0.1:1"
drain_secs = "long"
origins = ["https://a.example/path"]
trusted_proxies = ["10.0.0.0/99"]
[providers.mine]
kind = "openai-chat"
key = "sk-123"
[providers.other]
base_url = "ftp://x"
kind = "soap"
[providers.openai]
timeouts = { idle_secs = 0, total = 5 }
[agents.a]
model = "nowhere/x"
temperature = 9.0
fallbacks = ["gpt"]
[agents.b]
tools = ["no_such_tool"]
program = "ouroboros"
[doors.oxios]
listen = true
[limits]
turns_per_node = 0
[prices.x]
input = 1.0
output = -2.0
"#;
    insta::assert_snapshot!(load_text(file, &[]).unwrap_err());
}

#[test]
fn what_is_no_toml_is_reported_with_its_place_too() {
    let faults = load_text("[server]\nlisten = \nbehind_proxy = maybe\n[limits\n", &[]).unwrap_err();
    insta::assert_snapshot!(faults);
}

#[test]
fn the_environment_s_faults_are_among_the_others() {
    let variables = [("MOONGATE_LISTEN", "here"), ("MOONGATE_MODEL", "nowhere/x"), ("MOONGATE_LOG", "a=b=c")];
    insta::assert_snapshot!(load_text("[serverr]\n", &variables).unwrap_err());
}

#[test]
fn what_may_be_spent_is_read_shown_and_checked() {
    assert_eq!(load_text("", &[]).unwrap().spending.on_limit, OnLimit::Fail);
    let file = "[spend]\non_limit = \"ask\"\nturn = { cost_usd = 0.5 }\ncaller.tokens = 7\n[spend.namespaces.\"tenant:acme\"]\n\
                day.model_calls = 3\n[agents.default]\nmodel = \"builtin/demo\"\nspend.session.cost_usd = 2\n";
    let config = load_text(file, &[]).unwrap();
    let shown: Vec<_> = settings(&config)
        .into_iter()
        .filter(|setting| setting.key.contains("spend"))
        .map(|setting| format!("{} = {} ({})", setting.key, setting.value, setting.from))
        .collect();
    let expected = [
        "agents.default.spend.session.cost_usd = 2 (line 9)",
        "spend.on_limit = \"ask\" (line 2)",
        "spend.turn.cost_usd = 0.5 (line 3)",
        "spend.caller.tokens = 7 (line 4)",
        "spend.namespaces.tenant:acme.day.model_calls = 3 (line 6)",
    ];
    assert_eq!(shown, expected);
    assert_eq!(config.spending.on_limit, OnLimit::Ask);
    let bad = "[spend]\nturn.cost_usd = -1.0\nday.tokens = 0\n[spend.namespaces.\"*\"]\n[agents.default]\n\
               model = \"builtin/demo\"\nspend.caller.tokens = 1\nspend.turn.cost_usd = 0.0\n";
    let faults = load_text(bad, &[]).unwrap_err();
    for line in
        ["moongate.toml:2:", "moongate.toml:3:", "moongate.toml:4:", "moongate.toml:7:", "moongate.toml:8:"]
    {
        assert!(faults.contains(line), "{line} {faults}");
    }
}

#[test]
fn an_agent_may_be_given_the_tool_that_asks_people() {
    let tools = |names: &str| {
        let file = format!("[agents.default]\nmodel = \"builtin/demo\"\ntools = [{names}]\n");
        let config = load_text(&file, &[]).unwrap();
        let agent = &config.agents.by_name[&config.agents.default];
        agent.tools.iter().any(|tool| tool.as_str() == ASK_USER)
    };
    assert!(!tools("") && !tools("\"todo\"") && tools("\"ask_user\"") && tools("\"*\""));
}

#[test]
fn agents_hand_tasks_to_others_that_there_are() {
    let file = "[limits]\ndelegation_depth = 2\n[agents.default]\nmodel = \"builtin/demo\"\n\
                delegates = [\"scout\"]\n[agents.scout]\nmodel = \"builtin/demo\"\n";
    let config = load_text(file, &[]).unwrap();
    let delegates = |name: &str| config.agents.by_name[name].delegates.clone();
    assert_eq!(delegates("default"), ["scout".parse().unwrap()]);
    assert!(delegates("scout").is_empty());
    assert_eq!((config.limits.delegation_depth, config.limits.delegations_per_turn), (2, 16));
    let shown = settings(&config).into_iter().find(|setting| setting.key == "agents.default.delegates");
    assert_eq!(shown.unwrap().value, "[\"scout\"]");
    let bad = "[limits]\ndelegations_per_turn = 0\n[agents.default]\nmodel = \"builtin/demo\"\n\
               delegates = [\"nobody\"]\n[agents.own]\nmodel = \"builtin/demo\"\ndelegates = [\"own\"]\n";
    let faults = load_text(bad, &[]).unwrap_err();
    for line in ["moongate.toml:2:", "moongate.toml:5:", "moongate.toml:8:"] {
        assert!(faults.contains(line), "{line} {faults}");
    }
}

#[test]
fn faults_in_what_clients_changed_are_told_with_its_own_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moongate.toml");
    fs::write(
        &path,
        "[limits]\nturns_per_node = 3\nturn_secs = 5\n[agents.default]\nmodel = \"builtin/demo\"\n",
    )
    .unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let place = Place { config: Some(path), data: Some(data.clone()) };
    let origins = Origins { place, serve: ServeArgs::default(), env: Environment::of([HOME]) };
    let overlay = "# changes\n[limits]\nturns_per_node = 4\n[agents.default]\ntemperature = 1.5\n";
    fs::write(data.join(OVERLAY), overlay).unwrap();
    let config = origins.load().unwrap();
    assert_eq!((config.limits.turns_per_node, config.limits.turn_duration), (4, Duration::from_secs(5)));
    assert_eq!(default_model(&config), "builtin/demo");
    let from = |key: &str| settings(&config).into_iter().find(|setting| setting.key == key).unwrap().from;
    assert_eq!(from("limits.turns_per_node"), "config.overlay.toml line 3");
    assert_eq!(
        (from("limits.turn_secs").as_str(), from("agents.default.model").as_str()),
        ("line 3", "line 5")
    );
    fs::write(data.join(OVERLAY), overlay.replace("1.5", "\"hot\"").replace("= 4", "= 0")).unwrap();
    let faults = origins.load().unwrap_err().to_string();
    for place in ["config.overlay.toml:3:18: ", "config.overlay.toml:5:15: "] {
        assert!(faults.contains(place), "{place} {faults}");
    }
    assert!(!faults.contains("moongate.toml:"), "{faults}");
    let keys = origins.decide(origins.texts().unwrap()).unwrap_err().by_key();
    assert!(
        keys[0].starts_with("limits.turns_per_node: ") && keys[1].starts_with("agents.default.temperature: ")
    );
    fs::write(data.join(OVERLAY), "[limits\n").unwrap();
    assert!(origins.load().unwrap_err().to_string().contains("config.overlay.toml:1:"));
}

#[test]
fn rules_about_calls_are_tried_on_their_examples() {
    let rule = |rule: &str| {
        let loaded = load_text(&format!("[[policy.rules]]\n{rule}\n"), &[]);
        loaded.map(|config| (*config.agents.rules).clone()).map_err(|fault| fault.to_string())
    };
    for good in [
        "decision = \"deny\"",
        "decision = \"allow\"\ntools = [\"todo\"]\nmatch = ['todo {\"steps\": []}', 'todo']",
        "decision = \"ask\"\ntools = [\"shell\"]\nnot_match = ['todo']",
        "decision = \"allow\"\nargv = [\"/usr/bin/ls\", \"-l\"]",
        "decision = \"deny\"\nargv = [\"/usr/bin/python3\"]",
        "decision = \"allow\"\nargv = [\"/usr/bin/git\", \"status\"]\nexact = true",
        "decision = \"allow\"\npaths = [\"src\", \".\"]\nagents = [\"a\"]\nnamespaces = [\"tenant:x\"]",
        "decision = \"ask\"\nhosts = [\"*.example.com\"]\ncallers = [\"bob\"]",
    ] {
        rule(good).unwrap_or_else(|fault| panic!("{good}: {fault}"));
    }
    for (bad, why) in [
        ("tools = []", "decision"),
        ("decision = \"maybe\"", "maybe"),
        ("decision = \"allow\"\ntools = [\"shell\"]\nmatch = ['todo']", "it is not about \"todo\""),
        ("decision = \"allow\"\nnot_match = ['todo']", "it is about \"todo\""),
        ("decision = \"allow\"\nmatch = ['no_such_tool']", "a tool that there is not"),
        ("decision = \"allow\"\nmatch = ['todo [']", "a JSON object"),
        ("decision = \"allow\"\nargv = [\"ls\"]", "absolute path"),
        ("decision = \"allow\"\nargv = [\"/usr/bin/python3.13\", \"-c\"]", "runs whatever"),
        ("decision = \"allow\"\nargv = [\"/bin/sh\", \"-c\", \"ls\"]", "runs whatever"),
        ("decision = \"allow\"\nargv = [\"/usr/bin/find\"]", "runs whatever"),
        ("decision = \"allow\"\nexact = true", "exact"),
        ("decision = \"allow\"\npaths = [\"/etc\"]", "relative"),
        ("decision = \"allow\"\npaths = [\"a/../b\"]", "relative"),
        ("decision = \"allow\"\npaths = [\"a\"]\nhosts = [\"b\"]", "keep one"),
        ("decision = \"allow\"\nhosts = [\"https://x.example\"]", "no host"),
        ("decision = \"allow\"\nagents = [\"a b\"]", "an agent's name"),
    ] {
        let fault = rule(bad).unwrap_err();
        assert!(fault.contains(why), "{bad}: {fault}");
    }
}

#[test]
fn a_workspace_is_a_path_from_the_root_though_the_data_folder_is_none() {
    let config = load_text("", &[("MOONGATE_DATA", "here")]).unwrap();
    let WorkspaceSettings::PerSession(own) = config.agents.tools.workspace else {
        panic!("each has its own")
    };
    assert!(own.is_absolute() && own.ends_with("here/workspaces"), "{}", own.display());
}
