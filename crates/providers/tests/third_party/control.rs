//! Talking to a mock about what it shall do and what it saw.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// One request to a mock's control routes; what it answered, which must be a success.
pub(crate) async fn control(method: Method, address: &str, route: &str, body: Option<&Value>) -> Value {
    let authority = address.strip_prefix("http://").expect("a plain address");
    let stream = TcpStream::connect(authority).await.expect("the mock runs");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let request = Request::builder()
        .method(method)
        .uri(route)
        .header("host", authority)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default())))
        .expect("a request");
    let exchange = async move {
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(status.is_success(), "{route}: {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    };
    tokio::select! {
        answer = exchange => answer,
        ended = connection => panic!("the mock hung up: {ended:?}"),
    }
}
