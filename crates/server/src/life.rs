//! What a long-lived stream watches besides its data: time, its caller's credential, the server's end.

use std::{pin::Pin, time::Duration};

use moongate_core::{Frame, FrameBody};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    App,
    caller::Authenticated,
    metrics::{Gauge, Metrics},
};

/// What a stream has to do besides sending data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Show that it lives.
    Beat,
    /// Say that the server is going away.
    Draining,
    /// End: the credential is no longer valid, or the server stops.
    Over,
}

/// The life of one stream.
pub(crate) struct Life {
    app: App,
    caller: Authenticated,
    gauge: fn(&Metrics) -> &Gauge,
    /// Made when the stream first has nothing to send.
    watch: Option<Pin<Box<dyn Future<Output = Sign> + Send>>>,
    told: bool,
}

impl Life {
    /// The life of a stream of server-sent events.
    pub(crate) fn of_sse(app: &App, caller: Authenticated) -> Self {
        Self::begin(app, caller, |metrics| &metrics.sse)
    }

    /// The life of a WebSocket.
    pub(crate) fn of_websocket(app: &App, caller: Authenticated) -> Self {
        Self::begin(app, caller, |metrics| &metrics.websockets)
    }

    fn begin(app: &App, caller: Authenticated, gauge: fn(&Metrics) -> &Gauge) -> Self {
        gauge(app.metrics()).up();
        Self { app: app.clone(), caller, gauge, watch: None, told: false }
    }

    /// Who is at the other end.
    pub(crate) fn caller(&self) -> &Authenticated {
        &self.caller
    }

    /// The state of all routes.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Whether the credential is no longer valid.
    pub(crate) fn is_revoked(&self) -> bool {
        self.caller.0.ended.is_cancelled()
            || self.caller.0.expires_at.is_some_and(|end| self.app.gateway().ids().now() >= end)
    }

    /// Whether the stream has to end now.
    pub(crate) fn is_over(&self) -> bool {
        self.app.closing().is_cancelled() || self.caller.0.ended.is_cancelled()
    }

    /// Waits until there is something to do besides sending data. Cancel-safe.
    pub(crate) async fn sign(&mut self) -> Sign {
        let (app, caller, told) = (&self.app, &self.caller, self.told);
        let watch = self.watch.get_or_insert_with(|| Box::pin(watch(app, caller, told)));
        let sign = watch.await;
        self.watch = None;
        match sign {
            Sign::Draining => self.told = true,
            Sign::Beat if self.is_revoked() => return Sign::Over,
            Sign::Beat | Sign::Over => {}
        }
        sign
    }

    /// Counts what was sent.
    pub(crate) fn sent(&self, frame: &Frame) {
        if matches!(frame.body, FrameBody::Reset(_)) {
            self.app.metrics().resets.add();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        (self.gauge)(self.app.metrics()).down();
    }
}

fn watch(app: &App, caller: &Authenticated, told: bool) -> impl Future<Output = Sign> + Send + use<> {
    let tokens = [caller.0.ended.clone(), app.closing().clone()];
    let draining: Option<CancellationToken> = (!told).then(|| app.gateway().draining().clone());
    let until_expiry = caller.0.expires_at.map(|end| end.since(app.gateway().ids().now()));
    // A key's last moment is a beat too.
    let beat = until_expiry.map_or(app.limits().heartbeat, |left| {
        left.saturating_add(Duration::from_millis(1)).min(app.limits().heartbeat)
    });
    async move {
        let going_away = async {
            match draining {
                Some(draining) => draining.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = tokens[0].cancelled() => Sign::Over,
            () = tokens[1].cancelled() => Sign::Over,
            () = going_away => Sign::Draining,
            () = sleep(beat) => Sign::Beat,
        }
    }
}
