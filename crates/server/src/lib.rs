//! Moongate's doors: HTTP, server-sent events and WebSockets over the engine.
//!
//! A door translates: requests into commands, events into frames. Every route is either behind the guard,
//! which makes a caller of a key, or in the short public list of [`router`].

mod address;
mod app;
mod audit;
mod body;
mod browser;
mod caller;
mod configuration;
mod connection;
mod credential;
pub mod door;
mod extract;
mod failures;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod keys;
mod life;
pub mod limits;
mod listen;
mod metrics;
mod objects;
mod openapi;
mod page;
mod public;
mod reply;
mod route;
mod site;
mod strict;
mod tls;
mod wire;

use axum::{Router, middleware};
use moongate_protocol::ErrorCode;

pub use crate::{
    address::Network,
    app::{App, AppConfig},
    configuration::{ChangeFault, Configuration, Effect, Setting, SettingChange, SettingValue},
    door::{DoorRoute, Doors, door_routes},
    keys::AdminKey,
    limits::ServerLimits,
    listen::{BindError, Server, ServerConfig},
    openapi::document,
    tls::Tls,
};
use crate::{reply::Failure, route::Route};

/// The settings of WebSockets, for programs that show them to others' suites.
pub mod websocket {
    pub use crate::door::native::ws::settings::{close_code, config};
}

/// All routes of an app.
pub fn router(app: App) -> Router {
    let guarded = mount(door::native::routes())
        .fallback(|| async { Failure::new(ErrorCode::NotFound, "there is no such route") })
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guarded));
    let public = mount(public::routes().into_iter().chain(page::routes()).collect())
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), guard::public));
    let doors = app.clone();
    let main = guarded.merge(public).with_state(app);
    doors.doors().mount(main, &doors)
}

fn mount(routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(&route.path, route.handler))
}

async fn no_such_method() -> Failure {
    Failure::new(ErrorCode::MethodNotAllowed, "the route does not have this method")
}
