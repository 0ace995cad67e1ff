//! Finding models by name, what their providers are sent, and what `doctor` asks them.

use std::sync::Arc;

use crate::support::{
    Act, Server, call, model,
    wires::{answer, chunk, error, head, last_chunk, stream, whole},
};
use moongate_core::{ModelRequest, Models, Piece, PromptMessage};
use moongate_protocol::{ErrorCode, MicroUsd, Part, StopReason};
use moongate_providers::{
    Auth, ConfigFault, Preset, PriceTable, ProbeFault, ProviderConfig, Quirks, Registry, RetryPolicy, Wire,
};

fn provider(name: &str) -> ProviderConfig {
    ProviderConfig::new(name, Wire::OpenAiChat, "http://127.0.0.1:1/v1".parse().unwrap())
}

#[test]
fn a_models_name_is_split_at_its_first_slash() {
    let registry = Registry::new([provider("openrouter")], PriceTable::default()).unwrap();
    let get = |name: &str| registry.get(&name.parse().unwrap()).map(|model| model.info().name.to_string());
    assert_eq!(get("openrouter/anthropic/claude").as_deref(), Some("openrouter/anthropic/claude"));
    assert_eq!(get("builtin/demo").as_deref(), Some("builtin/demo"));
    for unknown in ["openrouter", "openrouter/", "openai/gpt-5", "builtin/other", "/x"] {
        assert_eq!(get(unknown), None, "{unknown}");
    }
}

#[tokio::test]
async fn a_fallback_stands_in_for_a_model_that_cannot_answer_or_is_not_there() {
    // Nothing listens where this provider is said to be.
    let mut down = provider("down");
    down.retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let registry = Registry::new([down], PriceTable::default()).unwrap();
    let demo = ["builtin/demo".parse().unwrap()];
    for first in ["down/model", "gone/model"] {
        let model = registry.get_with_fallbacks(&first.parse().unwrap(), &demo).unwrap();
        let said = Arc::new(PromptMessage::User(vec![Part::text("hello")]).into());
        let mut stream =
            model.call(ModelRequest { messages: Arc::new(vec![said]), ..ModelRequest::default() }.into());
        let mut pieces = Vec::new();
        while !matches!(pieces.last(), Some(Piece::Finish(_) | Piece::Fault(_))) {
            stream.next(&mut pieces).await;
        }
        assert_eq!(pieces.last(), Some(&Piece::Finish(StopReason::EndTurn)), "{first}");
        assert_eq!(stream.model().name.as_str(), "builtin/demo");
    }
    assert!(registry.get_with_fallbacks(&"gone/model".parse().unwrap(), &[]).is_none());
}

#[test]
fn all_faults_of_a_configuration_are_reported_together() {
    let mut bad_header = provider("h");
    bad_header.headers.push(("a b".into(), "x".to_owned().into()));
    let mut bad_key = provider("k");
    bad_key.key = Some("line\nbreak".to_owned().into());
    let configs = [provider("a"), provider("a"), provider("b/c"), provider("builtin"), bad_header, bad_key];
    let faults = Registry::new(configs, PriceTable::default()).err().unwrap();
    let expected = [
        ConfigFault::Duplicate("a".into()),
        ConfigFault::Name("b/c".into()),
        ConfigFault::Name("builtin".into()),
        ConfigFault::Header("h".into(), "a b".into()),
        ConfigFault::Key("k".into()),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn a_key_is_never_printed() {
    let mut config = Preset::find("anthropic").unwrap().config(Some("sk-secret".to_owned().into())).unwrap();
    config.headers.push(("x-more".into(), "more-secret".to_owned().into()));
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn lists_know_prices_and_never_make_them_up() {
    let mut config = Preset::find("anthropic").unwrap().config(None).unwrap();
    config.models.push("claude-of-tomorrow".into());
    let list = Registry::new([config], PriceTable::default()).unwrap().list();
    let find = |name: &str| list.iter().find(|info| info.name.as_str() == name).unwrap();
    let known = find("anthropic/claude-sonnet-4-5");
    assert_eq!(known.price.as_ref().map(|price| price.input), Some(MicroUsd(3_000_000)));
    assert_eq!(known.context_window, Some(200_000));
    assert_eq!(find("anthropic/claude-of-tomorrow").price, None);
    assert_eq!(list[0].name.as_str(), "builtin/demo");
}

#[tokio::test]
async fn each_wire_shows_its_key_and_asks_its_route() {
    for (wire, route, key) in [
        (Wire::OpenAiChat, "post /v1/chat/completions http/1.1", "authorization: bearer the-key"),
        (Wire::OpenAiResponses, "post /v1/responses http/1.1", "authorization: bearer the-key"),
        (Wire::Anthropic, "post /v1/messages http/1.1", "x-api-key: the-key"),
    ] {
        let server = Server::start(vec![stream(answer(wire, "hi"))]).await;
        let mut config = server.config(wire);
        config.key = Some("the-key".to_owned().into());
        config.headers.push(("X-More".into(), "more".to_owned().into()));
        call(&model(config.clone())).await;
        config.quirks = Quirks { auth: Auth::Header("api-key"), ..Quirks::USUAL };
        call(&model(config)).await;
        let heads = server.heads.lock().unwrap();
        let host = format!("host: {}", server.address);
        for line in [route, key, "x-more: more", "accept: text/event-stream", &host] {
            assert!(heads[0].lines().any(|it| it == line), "{line} in {}", heads[0]);
        }
        assert!(!heads[0].contains("accept-encoding"));
        assert_eq!(heads[0].contains("anthropic-version: 2023-06-01"), wire == Wire::Anthropic);
        assert!(heads[1].contains("\napi-key: the-key\r\n") && !heads[1].contains("authorization"));
    }
}

#[tokio::test]
async fn a_provider_is_asked_for_its_models() {
    let list = r#"{"object":"list","data":[{"id":"a","object":"model"},{"id":"b/c"}]}"#;
    let ask = |script: Vec<Act>| async move {
        let server = Server::start(vec![script]).await;
        let registry = Registry::new([server.config(Wire::OpenAiChat)], PriceTable::default()).unwrap();
        assert_eq!(registry.list_models("other").await, None);
        let answer = registry.list_models("p").await.unwrap();
        assert!(server.heads.lock().unwrap()[0].starts_with("get /v1/models http/1.1\r\n"));
        answer
    };
    assert_eq!(ask(whole(200, "content-type: application/json\r\n", list)).await.unwrap(), ["a", "b/c"]);
    for no_list in [whole(404, "", ""), whole(200, "", "<html>"), whole(405, "", "")] {
        assert_eq!(ask(no_list).await, Err(ProbeFault::NoList));
    }
    let refused = ask(whole(401, "", &error(Wire::OpenAiChat, "x", "invalid_api_key"))).await;
    assert!(matches!(refused, Err(ProbeFault::Fault(fault)) if fault.code == ErrorCode::ProviderAuth));
    let mut endless = vec![head(200, "transfer-encoding: chunked\r\n")];
    endless.extend((0..64).map(|_| chunk(vec![b' '; 1 << 20])));
    endless.push(last_chunk());
    assert_eq!(ask(endless).await, Err(ProbeFault::NoList));
    assert!(matches!(ask(vec![Act::Reset]).await, Err(ProbeFault::Fault(_))));
}
