//! One attempt at a model call over HTTP.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, header};
use moongate_core::{Fault, Model, ModelInfo, ModelRequest, ModelStream, Piece};
use moongate_protocol::ErrorCode;

use crate::{
    answer::{Answer, protocol_fault},
    fault::{self, ErrorObject},
    http::{Connection, Exchange, Head, TransportFault},
    prompt::ToolNames,
    provider::Provider,
    sse::{Reader, TooLong},
    watch::Watch,
    wire::{self, Decode, Encoded, Target},
};

/// Most bytes of a whole answer's stream.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Most bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 256 << 10;

/// Bytes after which what was read is handed on, however much more has arrived.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// A model behind HTTP. One call, one attempt: [`crate::Retrying`] adds the others.
pub(crate) struct HttpModel {
    pub(crate) provider: Arc<Provider>,
    pub(crate) info: Arc<ModelInfo>,
    /// The provider's own name of the model.
    pub(crate) model: String,
}

impl Model for HttpModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream> {
        let target = Target { model: &self.model, mark: &self.provider.mark, quirks: &self.provider.quirks };
        let phase = match wire::encode(self.provider.wire, &request, &target) {
            Ok(encoded) => Phase::Begin(Some(encoded)),
            Err(_) => Phase::Fault(Some(unwritable())),
        };
        Box::new(Call {
            provider: Arc::clone(&self.provider),
            info: Arc::clone(&self.info),
            watch: Watch::new(self.provider.timeouts),
            phase,
            body: Bytes::new(),
            names: ToolNames::default(),
        })
    }
}

fn unwritable() -> Fault {
    Fault::new(ErrorCode::ProviderRejected, "The conversation cannot be written for this provider.")
}

struct Call {
    provider: Arc<Provider>,
    info: Arc<ModelInfo>,
    watch: Watch,
    phase: Phase,
    /// Kept for the one attempt more that a stale connection makes necessary.
    body: Bytes,
    names: ToolNames,
}

type Opening = Pin<Box<dyn Future<Output = Result<Connection, TransportFault>> + Send>>;

enum Phase {
    Begin(Option<Encoded>),
    Fault(Option<Fault>),
    Opening(Opening),
    Waiting(Exchange),
    Reading(Box<Reading>),
    Refused(Box<Refusal>),
    Ended,
}

/// An answer being read.
struct Reading {
    exchange: Exchange,
    events: Reader,
    decoder: Box<dyn Decode>,
    answer: Answer,
    bytes: usize,
}

/// An error being read.
struct Refusal {
    exchange: Exchange,
    head: Head,
    body: Vec<u8>,
}

#[async_trait]
impl ModelStream for Call {
    async fn next(&mut self, pieces: &mut Vec<Piece>) {
        std::future::poll_fn(|cx| self.poll(cx, pieces)).await;
    }

    fn model(&self) -> &ModelInfo {
        &self.info
    }
}

impl Call {
    fn poll(&mut self, cx: &mut Context<'_>, pieces: &mut Vec<Piece>) -> Poll<()> {
        let before = pieces.len();
        loop {
            let step = match &mut self.phase {
                Phase::Begin(encoded) => {
                    let encoded = encoded.take();
                    self.begin(encoded);
                    continue;
                }
                Phase::Fault(fault) => Poll::Ready(fault.take().map_or(Ok(()), Err)),
                Phase::Opening(_) => self.poll_opening(cx),
                Phase::Waiting(_) => self.poll_head(cx),
                Phase::Reading(_) => self.poll_reading(cx, pieces, before),
                Phase::Refused(_) => self.poll_refusal(cx),
                Phase::Ended => Poll::Ready(Ok(())),
            };
            match step {
                Poll::Ready(Ok(())) if matches!(self.phase, Phase::Ended) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if pieces.len() > before => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(fault)) => {
                    self.phase = Phase::Ended;
                    pieces.push(Piece::Fault(fault));
                    return Poll::Ready(());
                }
                Poll::Pending if pieces.len() > before => return Poll::Ready(()),
                Poll::Pending => {
                    let fault = ready!(self.poll_watch(cx));
                    if self.is_complete() {
                        self.conclude(pieces, before);
                    } else {
                        self.phase = Phase::Ended;
                        pieces.push(Piece::Fault(fault));
                    }
                    return Poll::Ready(());
                }
            }
        }
    }

    fn begin(&mut self, encoded: Option<Encoded>) {
        if let Some(Encoded { body, names }) = encoded {
            (self.body, self.names) = (body, names);
        }
        match self.provider.pool.take() {
            Some(connection) => self.send(connection),
            None => self.open(),
        }
    }

    fn open(&mut self) {
        self.watch.begin_connect();
        let connector = self.provider.connector.clone();
        self.phase = Phase::Opening(Box::pin(connector.connect(self.provider.timeouts.connect)));
    }

    fn send(&mut self, connection: Connection) {
        self.watch.begin_header();
        self.phase = Phase::Waiting(Exchange::new(connection, self.provider.call(self.body.clone())));
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Phase::Opening(opening) = &mut self.phase else { return Poll::Ready(Ok(())) };
        match ready!(opening.as_mut().poll(cx)) {
            Ok(connection) => self.send(connection),
            Err(fault) => return Poll::Ready(Err(self.broken(&fault))),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Phase::Waiting(exchange) = &mut self.phase else { return Poll::Ready(Ok(())) };
        let head = match ready!(exchange.poll_head(cx)) {
            Ok(head) => head,
            Err(TransportFault::Stale(_)) => {
                self.open();
                return Poll::Ready(Ok(()));
            }
            Err(fault) => return Poll::Ready(Err(self.broken(&fault))),
        };
        self.watch.begin_body();
        self.body = Bytes::new();
        let Phase::Waiting(exchange) = std::mem::replace(&mut self.phase, Phase::Ended) else {
            return Poll::Ready(Ok(()));
        };
        if !is_plain(&head.headers) {
            return Poll::Ready(Err(protocol_fault(
                "The provider sent a compressed answer nobody asked for.",
            )));
        }
        self.phase = if head.status == http::StatusCode::OK && is_stream(&head.headers) {
            Phase::Reading(Box::new(Reading {
                exchange,
                events: Reader::default(),
                decoder: wire::decoder(
                    self.provider.wire,
                    &self.provider.mark,
                    std::mem::take(&mut self.names),
                ),
                answer: Answer::default(),
                bytes: 0,
            }))
        } else {
            Phase::Refused(Box::new(Refusal { exchange, head, body: Vec::new() }))
        };
        Poll::Ready(Ok(()))
    }

    fn poll_reading(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &mut Vec<Piece>,
        from: usize,
    ) -> Poll<Result<(), Fault>> {
        let Phase::Reading(reading) = &mut self.phase else { return Poll::Ready(Ok(())) };
        let batch = reading.bytes;
        loop {
            let data = match ready!(reading.exchange.poll_data(cx)) {
                Some(Ok(data)) => data,
                None => break,
                Some(Err(fault)) => {
                    if reading.decoder.is_complete() {
                        break;
                    }
                    return Poll::Ready(Err(self.broken(&fault)));
                }
            };
            if reading.read(&data, pieces, from)? {
                self.end();
                return Poll::Ready(Ok(()));
            }
            if reading.decoder.is_complete() {
                self.watch.answer_is_complete();
            }
            if reading.bytes - batch > MAX_BATCH_BYTES {
                return Poll::Ready(Ok(()));
            }
        }
        if !reading.decoder.end(&mut reading.answer.sink(pieces, from)) {
            return Poll::Ready(Err(fault::cut()));
        }
        self.end();
        Poll::Ready(Ok(()))
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Phase::Refused(refusal) = &mut self.phase else { return Poll::Ready(Ok(())) };
        while let Some(Ok(data)) = ready!(refusal.exchange.poll_data(cx)) {
            if refusal.body.len() + data.len() > MAX_ERROR_BYTES {
                break;
            }
            refusal.body.extend_from_slice(&data);
        }
        let Refusal { head, body, .. } = &**refusal;
        let error = ErrorObject::read(body).unwrap_or_default();
        let fault = match head.status.as_u16() {
            // An error under a good status, or an answer that is no stream.
            200 if !error.words.is_empty() => fault::from_event(&error),
            status => {
                fault::from_status(status, &error, fault::retry_after(&head.headers, SystemTime::now()))
            }
        };
        tracing::warn!(
            provider.name = self.provider.name,
            http.status = head.status.as_u16(),
            error.words = ?error.words,
            error.code = fault.code.as_str(),
            "a provider refused a call"
        );
        if let Phase::Refused(refusal) = std::mem::replace(&mut self.phase, Phase::Ended) {
            refusal.exchange.release(&self.provider.pool);
        }
        Poll::Ready(Err(fault))
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if let Phase::Reading(reading) = &self.phase {
            self.watch.saw_bytes(reading.bytes);
        }
        self.watch.poll(cx)
    }

    /// Whether only the end of a complete answer is missing.
    fn is_complete(&self) -> bool {
        matches!(&self.phase, Phase::Reading(reading) if reading.decoder.is_complete())
    }

    /// Ends a complete answer whose end never came.
    fn conclude(&mut self, pieces: &mut Vec<Piece>, from: usize) {
        if let Phase::Reading(reading) = &mut self.phase
            && !reading.decoder.end(&mut reading.answer.sink(pieces, from))
        {
            pieces.push(Piece::Fault(fault::cut()));
        }
        self.phase = Phase::Ended;
    }

    fn end(&mut self) {
        if let Phase::Reading(reading) = std::mem::replace(&mut self.phase, Phase::Ended) {
            reading.exchange.release(&self.provider.pool);
        }
    }

    fn broken(&self, fault: &TransportFault) -> Fault {
        let public = fault::from_transport(fault);
        tracing::warn!(
            provider.name = self.provider.name,
            error = %fault,
            error.code = public.code.as_str(),
            "a call to a provider broke off"
        );
        public
    }
}

impl Reading {
    /// Takes more bytes; true after the last event.
    fn read(&mut self, data: &[u8], pieces: &mut Vec<Piece>, from: usize) -> Result<bool, Fault> {
        self.bytes += data.len();
        if self.bytes > MAX_ANSWER_BYTES {
            return Err(protocol_fault("The provider's answer is too long."));
        }
        let Self { events, decoder, answer, .. } = self;
        let mut sink = answer.sink(pieces, from);
        let mut last = false;
        let result = events.feed(data, |event| {
            // What follows the last event is not ours to judge.
            if !last {
                last = decoder.event(&event, &mut sink).map_err(ReadFault::Fault)?;
            }
            Ok(())
        });
        match result {
            Ok(()) => Ok(last),
            Err(ReadFault::Fault(fault)) => Err(fault),
            Err(ReadFault::TooLong) if last => Ok(true),
            Err(ReadFault::TooLong) => Err(protocol_fault("The provider sent an event that is too long.")),
        }
    }
}

enum ReadFault {
    Fault(Fault),
    TooLong,
}

impl From<TooLong> for ReadFault {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Whether the body is not encoded. We never ask for compression, so that no small body can become a huge one.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_none_or(|value| value == "identity" || value.is_empty())
}

/// Whether the body may be a stream of events. Careless servers leave the type out.
fn is_stream(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    !(essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("text/html"))
}
