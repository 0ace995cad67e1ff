//! `/conversations`.

use moongate_testkit::Script;
use serde_json::json;

use super::Live;

#[tokio::test]
async fn a_conversation_begins_with_items_goes_on_by_responses_and_is_deleted() {
    let live = Live::new().await;
    live.push([Script::says("4")]);
    let items = json!([
        {"role": "user", "content": "1+1?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "2"}]},
    ]);
    let made = live.post("/conversations", json!({"items": items, "metadata": {"a": "b"}})).await.ok();
    assert_eq!((&made["object"], &made["metadata"]), (&json!("conversation"), &json!({"a": "b"})));
    let id = made["id"].as_str().unwrap();
    assert!(live.kit.model().requests().is_empty(), "nothing said before is answered");
    let body = json!({"model": "moongate/main", "conversation": {"id": id}, "input": "2+2?"});
    let response = live.post("/responses", body).await.ok();
    assert_eq!(response["conversation"]["id"], id);
    let list = live.get(&format!("/conversations/{id}/items?order=asc&limit=3")).await.ok();
    let texts: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|item| item["content"][0]["text"].clone()).collect();
    assert_eq!((texts, &list["has_more"]), (vec![json!("1+1?"), json!("2"), json!("2+2?")], &json!(true)));
    let after = list["last_id"].as_str().unwrap();
    let rest = live.get(&format!("/conversations/{id}/items?order=asc&after={after}")).await.ok();
    assert_eq!(
        (rest["data"][0]["content"][0]["text"].as_str(), &rest["has_more"]),
        (Some("4"), &json!(false))
    );
    let item = live.get(&format!("/conversations/{id}/items/{after}")).await.ok();
    assert_eq!(item["content"][0]["text"], "2+2?");
    let changed = live.post(&format!("/conversations/{id}"), json!({"metadata": {"c": "d"}})).await.ok();
    assert_eq!(changed["metadata"], json!({"c": "d"}));
    assert_eq!(live.get(&format!("/conversations/{id}")).await.ok(), changed);
    assert_eq!(live.post(&format!("/conversations/{id}/items"), json!({"items": []})).await.status, 400);
    // One response of a conversation is deleted: the conversation stays.
    live.delete(&format!("/responses/{}", response["id"].as_str().unwrap())).await.ok();
    live.get(&format!("/conversations/{id}")).await.ok();
    assert_eq!(live.delete(&format!("/conversations/{id}")).await.ok()["deleted"], true);
    assert_eq!(live.get(&format!("/conversations/{id}")).await.status, 404);
}
