//! The guard of a door: the same rules as the native one's, the refusals in the door's own shape.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt as _;
use http::{HeaderValue, StatusCode, header};
use moongate_protocol::ErrorCode;

use super::{
    Cause, Cors, Dialect, Door, Refused,
    carrier::{self, Carriers},
    cors,
    dialect::Head,
    path::Access,
};
use crate::{
    address::{self, NO_PEER, Peer},
    caller::Authenticated,
    guard::{Client, check_size, finish},
    reply::Failure,
    site::Site,
};

/// What the guard of one mount of a door knows.
pub(crate) struct Gate<D> {
    pub(crate) door: Door<D>,
    pub(crate) mount: Arc<Mount>,
    pub(crate) access: Access,
}

/// One mount of a door: beneath its prefix, or at the root of its own listener.
pub(crate) struct Mount {
    pub(crate) site: Site,
    /// Pages of other origins that are told that they may read.
    pub(crate) origins: Vec<String>,
    pub(crate) cors: Cors,
    pub(crate) carriers: Carriers,
}

impl<D> Clone for Gate<D> {
    fn clone(&self) -> Self {
        Self { door: self.door.clone(), mount: Arc::clone(&self.mount), access: self.access }
    }
}

/// Lets a request pass, or answers it.
pub(crate) async fn pass<D: Dialect>(
    State(gate): State<Gate<D>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let app = gate.door.app();
    let method = request.method().clone();
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let head = Head { uri: &uri, headers: &headers };
    let refused = |(cause, failure)| gate.door.refuse(&Refused::new(cause, failure, &method, &head));
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match gate.admit(&mut request, &head).await {
        Err(why) => dressed(why.1.retry_after(), refused(why)),
        Ok(()) if cors::is_preflight(&method, &headers) => gate.mount.cors.preflight(),
        Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
            // The panic's own message went to the log by the panic hook.
            let message = "something failed inside; the server's log says more";
            refused((Cause::Panic, Failure::new(ErrorCode::Internal, message)))
        }),
    };
    if let Some(origin) = cors::listed(&headers, &gate.mount.origins) {
        gate.mount.cors.mark(response.headers_mut(), origin);
    }
    if !gate.mount.origins.is_empty() {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    finish(response.headers_mut(), app.is_tls());
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    app.metrics().request(route, &method, response.status(), began.elapsed());
    response
}

/// The headers every refusal has by its status, whatever its body.
pub(crate) fn dressed(retry_after: Option<u64>, mut response: Response) -> Response {
    let status = response.status();
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.entry(header::WWW_AUTHENTICATE).or_insert(HeaderValue::from_static("Bearer"));
    }
    response
}

impl<D: Dialect> Gate<D> {
    async fn admit(&self, request: &mut Request, head: &Head<'_>) -> Result<(), (Cause, Failure)> {
        let Mount { site, carriers, .. } = &*self.mount;
        check_size(request).map_err(|failure| (Cause::Size, failure))?;
        site.check_host(head.uri, head.headers).map_err(|failure| (Cause::Host, failure))?;
        site.check_origin(head.headers).map_err(|failure| (Cause::Origin, failure))?;
        if carrier::is_misplaced(head.uri, self.access, *carriers) {
            let failure = Failure::invalid("credentials in URLs are not accepted");
            return Err((Cause::CredentialInUrl, failure));
        }
        let peer = request.extensions().get::<Peer>().map_or(NO_PEER, |peer| peer.address);
        let client = address::client(peer, head.headers, site.trusted());
        request.extensions_mut().insert(Client(client));
        if self.access == Access::Public {
            return Ok(());
        }
        let caller = self.caller(head, client).await.map_err(|failure| (cause(&failure), failure))?;
        request.extensions_mut().insert(caller);
        Ok(())
    }

    async fn caller(&self, head: &Head<'_>, client: std::net::IpAddr) -> Result<Authenticated, Failure> {
        let app = self.door.app();
        let now = app.gateway().ids().now();
        if let Some(answer) = self.door.ticket(head) {
            return app.callers().by_ticket(answer, client, now).await;
        }
        let text = carrier::presented(head.headers, head.uri, self.access, self.mount.carriers);
        app.callers().at_a_door(text.as_deref(), client, now).await
    }
}

fn cause(failure: &Failure) -> Cause {
    match failure.code() {
        ErrorCode::Unauthorized => Cause::Credential,
        ErrorCode::Forbidden => Cause::Address,
        ErrorCode::RateLimited => Cause::Guessing,
        _ => Cause::Unready,
    }
}
