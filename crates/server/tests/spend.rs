//! Spend limits as a client of the native door meets them.

mod common;

use common::Gate;
use moongate_core::{Allowance, Catalog, SpendLimits, Spending};
use moongate_protocol::MicroUsd;
use serde_json::{Value, json};

/// A gateway with these limits. A call costs 13 millionths of a dollar and has 8 tokens.
fn limited(spending: Spending) -> Gate {
    let gate = Gate::new();
    let catalog = Catalog { spending, ..Catalog::clone(&gate.gateway.catalog()) };
    gate.gateway.set_catalog(catalog);
    gate
}

fn error(result: &Value) -> (&Value, &Value, &Value) {
    (&result["ending"], &result["error"]["code"], &result["error"]["message"])
}

#[tokio::test]
async fn a_session_that_has_spent_its_share_gets_no_answer_and_keeps_what_was_said() {
    let session = Allowance { cost: Some(MicroUsd(26)), ..Allowance::default() };
    let everywhere = SpendLimits { session, ..SpendLimits::default() };
    let gate = limited(Spending { everywhere, ..Spending::default() });
    let session = gate.session().await;
    for text in ["one", "two"] {
        assert_eq!(gate.turn(&session, text).await["ending"], "completed");
    }
    let refused = gate.turn(&session, "three").await;
    let words = json!("the spend limit of the session is reached: 0.000026 US dollars");
    assert_eq!(error(&refused), (&json!("failed"), &json!("budget_exceeded"), &words), "{refused}");
    assert_eq!((&refused["text"], &refused["usage"]["calls"]), (&json!(""), &json!(0)), "{refused}");
    let (_, shown) = gate.get(&session).await;
    assert_eq!((&shown["state"], &shown["usage"]["calls"]), (&json!("idle"), &json!(2)));
    let (_, messages) = gate.get(&format!("{session}/messages")).await;
    assert_eq!(messages["items"].as_array().map(Vec::len), Some(5), "{messages}");
    let (_, page) = gate.get(&format!("{session}/events")).await;
    let failed = page["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&failed["type"], &failed["retryable"]), (&json!("turn.failed"), &json!(false)));
}

#[tokio::test]
async fn keys_of_one_principal_share_a_days_allowance_and_another_has_its_own() {
    let caller = Allowance { tokens: Some(8), ..Allowance::default() };
    let gate = limited(Spending { caller, ..Spending::default() });
    let key = async |principal: &str| {
        let scopes = ["sessions:read", "sessions:write"];
        let fields = json!({ "label": "k", "principal": principal, "scopes": scopes });
        gate.as_key(&gate.key(fields).await.1)
    };
    let (first, second, other) = (key("bob").await, key("bob").await, key("eve").await);
    assert_eq!(first.turn(&first.session().await, "hi").await["ending"], "completed");
    for gate in [&first, &second] {
        let refused = gate.turn(&gate.session().await, "hi").await;
        assert_eq!(refused["error"]["code"], "budget_exceeded", "{refused}");
    }
    assert_eq!(other.turn(&other.session().await, "hi").await["ending"], "completed");
}

#[tokio::test]
async fn limits_that_are_changed_count_from_the_next_turn_on() {
    let day = Allowance { calls: Some(1), ..Allowance::default() };
    let everywhere = SpendLimits { day, ..SpendLimits::default() };
    let gate = limited(Spending { everywhere, ..Spending::default() });
    let session = gate.session().await;
    gate.turn(&session, "hi").await;
    assert_eq!(gate.turn(&session, "hi").await["error"]["code"], "budget_exceeded");
    let catalog = Catalog { spending: Spending::default(), ..Catalog::clone(&gate.gateway.catalog()) };
    gate.gateway.set_catalog(catalog);
    assert_eq!(gate.turn(&session, "hi").await["ending"], "completed");
}
