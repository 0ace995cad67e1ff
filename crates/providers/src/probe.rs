//! Asks a provider which models it has: the cheapest question that shows whether address and key are right.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use moongate_core::Fault;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    fault::{self, ErrorObject},
    http::{Connection, Exchange, TransportFault},
    json::Text,
    provider::Provider,
};

/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of a list that are read; the longest real ones have a few hundred kilobytes.
const MAX_LIST_BYTES: usize = 4 << 20;

/// Why a provider did not say which models it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFault {
    /// It failed as a model call would fail.
    #[error("{}", .0.message)]
    Fault(Fault),
    /// It does not know the question, as some compatible servers; calls may work all the same.
    #[error("The provider has no list of models.")]
    NoList,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    data: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

pub(crate) async fn list_models(provider: &Provider) -> Result<Vec<String>, ProbeFault> {
    let silent = || ProbeFault::Fault(fault::timeout("The provider did not answer in time."));
    timeout(PATIENCE, ask(provider)).await.unwrap_or_else(|_| Err(silent()))
}

async fn ask(provider: &Provider) -> Result<Vec<String>, ProbeFault> {
    let broken = |fault: TransportFault| ProbeFault::Fault(fault::from_transport(&fault));
    let connection: Connection =
        provider.connector.clone().connect(provider.timeouts.connect).await.map_err(broken)?;
    let mut exchange = Exchange::new(connection, provider.list());
    let head = std::future::poll_fn(|cx| exchange.poll_head(cx)).await.map_err(broken)?;
    let mut body = Vec::new();
    while let Some(data) = std::future::poll_fn(|cx| exchange.poll_data(cx)).await {
        body.extend_from_slice(&data.map_err(broken)?);
        if body.len() > MAX_LIST_BYTES {
            return Err(ProbeFault::NoList);
        }
    }
    exchange.release(&provider.pool);
    match head.status {
        StatusCode::OK => {
            let list: List<'_> = serde_json::from_slice(&body).map_err(|_| ProbeFault::NoList)?;
            Ok(list.data.iter().map(|entry| entry.id.to_string()).collect())
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(ProbeFault::NoList),
        status => {
            let error = ErrorObject::read(&body).unwrap_or_default();
            let after = fault::retry_after(&head.headers, SystemTime::now());
            Err(ProbeFault::Fault(fault::from_status(status.as_u16(), &error, after)))
        }
    }
}
