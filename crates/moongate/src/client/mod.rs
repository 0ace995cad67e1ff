//! A client of the native door: everything the command line asks of a server.

mod find;
mod http;
mod sse;
mod trust;
mod wire;

use std::time::Duration;

use ::http::{HeaderName, Method, header};
use bytes::Bytes;
use moongate_protocol::{Position, SessionId};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

pub(crate) use self::{
    find::{announced, connect, find_running},
    http::CallError,
    sse::Message,
    wire::*,
};
use self::{
    http::{Answer, Call, Http},
    sse::Decoder,
};

/// Where the native door is.
const API: &str = "/api/v1";
/// A stream without even a heartbeat for this long is dead; the server sends one each 15 seconds.
const STREAM_SILENCE: Duration = Duration::from_secs(45);

/// A server that can be talked to.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http,
}

impl Client {
    /// A client of this server.
    pub(crate) fn new(http: Http) -> Self {
        Self { http }
    }

    /// Where the server is.
    pub(crate) fn base(&self) -> &str {
        self.http.base()
    }

    /// Reads what is at a path below the door.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        parse(&self.get_bytes(path).await?)
    }

    /// As [`Client::get`], as the server wrote it.
    pub(crate) async fn get_bytes(&self, path: &str) -> Result<Bytes, CallError> {
        self.call(Method::GET, path, Vec::new(), Bytes::new()).await?.bytes().await
    }

    /// Sends a body and reads the answer.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        parse(&self.send_bytes(method, path, body).await?)
    }

    /// As [`Client::send`], with the answer as the server wrote it.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Bytes, CallError> {
        self.call(method, path, vec![json()], encode(body)?).await?.bytes().await
    }

    /// Sends a body that must not take effect twice, under a name of its own.
    pub(crate) async fn send_once<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let headers = vec![json(), (HeaderName::from_static("idempotency-key"), name.to_owned())];
        parse(&self.call(Method::POST, path, headers, encode(body)?).await?.bytes().await?)
    }

    /// Sends bytes of another kind than JSON.
    pub(crate) async fn send_raw(&self, path: &str, kind: &str, body: Bytes) -> Result<Bytes, CallError> {
        let headers = vec![(header::CONTENT_TYPE, kind.to_owned())];
        self.call(Method::POST, path, headers, body).await?.bytes().await
    }

    /// Removes what is at a path.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), CallError> {
        self.call(Method::DELETE, path, Vec::new(), Bytes::new()).await.map(drop)
    }

    /// Whether the process at the other end lives.
    pub(crate) async fn is_alive(&self) -> bool {
        let call = Call { method: Method::GET, path: "/healthz", headers: Vec::new(), body: Bytes::new() };
        self.http.call(call).await.is_ok_and(|answer| answer.status == 200)
    }

    /// What is outside of the native door.
    pub(crate) async fn get_root(&self, path: &str) -> Result<Bytes, CallError> {
        let call = Call { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() };
        self.http.call(call).await?.bytes().await
    }

    /// Sends a body to a path outside of the native door.
    pub(crate) async fn send_root(&self, path: &str, body: &impl Serialize) -> Result<Bytes, CallError> {
        let (headers, body) = (vec![json()], encode(body)?);
        self.http.call(Call { method: Method::POST, path, headers, body }).await?.bytes().await
    }

    /// Follows a session's events after a position; from the start when absent.
    pub(crate) async fn follow(
        &self,
        session: SessionId,
        after: Option<Position>,
    ) -> Result<Following, CallError> {
        let after = after.map_or_else(String::new, |after| format!("?after={after}"));
        let path = format!("/sessions/{session}/events{after}");
        let headers = vec![(header::ACCEPT, "text/event-stream".to_owned())];
        let answer = self.call(Method::GET, &path, headers, Bytes::new()).await?;
        Ok(Following { answer, decoder: Decoder::default() })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: Vec<(HeaderName, String)>,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        let path = format!("{API}{path}");
        self.http.call(Call { method, path: &path, headers, body }).await
    }
}

/// A stream of events.
pub(crate) struct Following {
    answer: Answer,
    decoder: Decoder,
}

impl Following {
    /// Waits for the next events and appends them.
    ///
    /// # Errors
    /// When the stream ended or broke: follow again from the last position.
    pub(crate) async fn next(&mut self, messages: &mut Vec<Message>) -> Result<(), CallError> {
        let broken = |reason: &str| CallError::Broken(reason.to_owned());
        while messages.is_empty() {
            let chunk = timeout(STREAM_SILENCE, self.answer.chunk()).await;
            let chunk = chunk.map_err(|_| broken("the server is silent"))??;
            let chunk = chunk.ok_or_else(|| broken("the server ended the stream"))?;
            self.decoder.push(&chunk, messages).map_err(|error| broken(&error.to_string()))?;
        }
        Ok(())
    }
}

fn json() -> (HeaderName, String) {
    (header::CONTENT_TYPE, "application/json".to_owned())
}

fn encode(body: &impl Serialize) -> Result<Bytes, CallError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| CallError::Broken(error.to_string()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    let unread =
        |error| CallError::Broken(format!("the answer cannot be read ({error}): versions may differ"));
    serde_json::from_slice(body).map_err(unread)
}
