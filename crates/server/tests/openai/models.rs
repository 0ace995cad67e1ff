//! Models, refusals, and what every reply has.

use serde_json::json;

use super::{Live, asks, http};

#[tokio::test]
async fn agents_and_models_are_listed_and_found() {
    let live = Live::new().await;
    let list = live.get("/models").await.ok();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(ids, ["moongate/main", "scripted/main"]);
    for path in ["/models/moongate/main", "/models/moongate%2Fmain"] {
        assert_eq!(live.get(path).await.ok()["object"], "model");
    }
    let missing = live.get("/models/gpt-x").await;
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn every_reply_names_its_request_and_every_refusal_has_openais_shape() {
    let live = Live::new().await;
    let mut seen = std::collections::BTreeSet::new();
    let bad_key = [("authorization", "Bearer mg_no")];
    let replies = [
        (200, None, live.get("/models").await),
        (401, Some("invalid_api_key"), http::send(&live, "GET", "/models", None, &bad_key).await),
        (404, Some("unknown_url"), live.get("/nothing").await),
        (405, Some("method_not_allowed"), live.delete("/models").await),
        (400, Some("invalid_request"), live.post("/chat/completions", json!({"model": 1})).await),
        (404, Some("model_not_found"), {
            let mut body = asks("hi");
            body["model"] = json!("gpt-x");
            live.post("/chat/completions", body).await
        }),
        (404, Some("not_found"), live.get("/responses/resp_x").await),
    ];
    for (status, code, reply) in replies {
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(seen.insert(reply.header("x-request-id").unwrap().to_owned()), "{reply:?}");
        let Some(code) = code else { continue };
        let error = &reply.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        for field in ["message", "type", "param"] {
            assert!(error.get(field).is_some(), "{field}: {error}");
        }
    }
}
