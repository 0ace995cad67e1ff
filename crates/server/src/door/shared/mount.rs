//! A door's router: beneath its prefix on the main listener, and at the root of its own.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler as _,
    middleware::from_fn_with_state,
    response::Response,
};
use moongate_protocol::ErrorCode;

use super::{
    Cause, Dialect, Door, Refused,
    dialect::Head,
    gate::{self, Gate, Mount},
    path::Access,
};
use crate::{App, reply::Failure, site::Site};

/// The door beneath its prefix, besides everything else on the main listener.
pub(crate) fn mount<D: Dialect>(router: Router, app: &App, it: Option<&Arc<D>>) -> Router {
    let Some(it) = it else { return router };
    router.nest(&it.place().prefix, routes(app, it, app.listener()))
}

/// The door at the root of its own listener.
pub(crate) fn own_listener<D: Dialect>(app: &App, it: &Arc<D>, local: SocketAddr) -> Router {
    routes(app, it, Some((local, app.is_tls())))
}

fn routes<D: Dialect>(app: &App, it: &Arc<D>, listener: Option<(SocketAddr, bool)>) -> Router {
    let place = it.place();
    let hosts = [app.hosts(), &place.hosts].concat();
    let mut site = Site::new(&hosts, &place.origins, app.site().trusted().to_vec());
    if let Some((local, tls)) = listener {
        site.add_listener(local, tls);
    }
    let mount = Mount { site, origins: place.origins, cors: it.cors(), carriers: place.carriers };
    let (door, mount) = (Door::new(app, it), Arc::new(mount));
    let guard = |access| Gate { door: door.clone(), mount: Arc::clone(&mount), access };
    let mut router = Router::new();
    for path in it.paths() {
        let layer = from_fn_with_state(guard(path.access), gate::pass::<D>);
        let handler = match path.method {
            Some(_) => path.handler.route_layer(layer),
            // A handler of all methods is a fallback, which is no route of its own.
            None => path.handler.layer(layer),
        };
        router = router.route(path.path, handler);
    }
    let open = || from_fn_with_state(guard(Access::Public), gate::pass::<D>);
    router
        .method_not_allowed_fallback(no_method::<D>.layer(open()))
        .fallback(no_route::<D>.layer(open()))
        .with_state(door)
}

async fn no_route<D: Dialect>(State(door): State<Door<D>>, request: Request) -> Response {
    let failure = Failure::new(ErrorCode::NotFound, "there is no such route");
    refuse(&door, &request, Cause::NoRoute, failure)
}

async fn no_method<D: Dialect>(State(door): State<Door<D>>, request: Request) -> Response {
    let failure = Failure::new(ErrorCode::MethodNotAllowed, "the route does not have this method");
    refuse(&door, &request, Cause::NoMethod, failure)
}

fn refuse<D: Dialect>(door: &Door<D>, request: &Request, cause: Cause, failure: Failure) -> Response {
    let head = Head { uri: request.uri(), headers: request.headers() };
    door.refuse(&Refused::new(cause, failure, request.method(), &head))
}
