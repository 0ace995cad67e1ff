//! What makes a door this door: where it is, who may come, and the shape of its refusals.

use std::{net::SocketAddr, ops::Deref, sync::Arc};

use axum::response::Response;
use http::{HeaderMap, Method, Uri};

use super::{Carriers, Cors, Path};
use crate::{
    App,
    caller::Authenticated,
    reply::{Answer, Failure},
};

/// A door's own words for what all doors do. One value of it lives as long as the app and is shared by both
/// its mounts: what a door keeps in memory is in here.
pub(crate) trait Dialect: Send + Sync + Sized + 'static {
    /// What the configuration and the store call it.
    const NAME: &'static str;

    /// The setting that lists the pages that may talk to it.
    const ORIGINS_KEY: &'static str = "allowed_origins";

    /// Where it is, and who may come.
    fn place(&self) -> Place;

    /// What is wrong with its own settings: the key, as `limits.inputs_per_minute`, and what to do.
    fn faults(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Every route, without the prefix.
    fn paths(&self) -> Vec<Path<Door<Self>>>;

    /// A refusal of the guard, or of a path or method there is not, in the door's shape. `WWW-Authenticate`,
    /// `Retry-After` and `Allow` are added where they belong.
    fn refuse(&self, refused: &Refused) -> Response;

    /// What pages of listed origins may send.
    fn cors(&self) -> Cors;

    /// A credential only this door knows, looked at before any other. `None` when the request has none.
    fn ticket(&self, _head: &Head<'_>) -> Option<Answer<Authenticated>> {
        None
    }
}

/// The beginning of a request, for a door that looks for its own credential.
pub(crate) struct Head<'a> {
    /// Its target, without the prefix.
    pub(crate) uri: &'a Uri,
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
}

/// Where a door is, and who may come.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Beneath which path of the main listener.
    pub(crate) prefix: String,
    /// Its own listener, where the routes are at the root.
    pub(crate) listen: Option<SocketAddr>,
    /// Names it answers to, besides loopback's and the server's.
    pub(crate) hosts: Vec<String>,
    /// Pages that may talk to it, besides its own.
    pub(crate) origins: Vec<String>,
    /// How keys may come.
    pub(crate) carriers: Carriers,
}

/// Why the guard refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The head is too large.
    Size,
    /// Meant for another name.
    Host,
    /// A page that is not allowed.
    Origin,
    /// No valid key.
    Credential,
    /// A credential in a URL.
    CredentialInUrl,
    /// The key may not be used from there.
    Address,
    /// Too many bad keys from this address.
    Guessing,
    /// There is no such path.
    NoRoute,
    /// The path has no such method.
    NoMethod,
    /// The store cannot say who it is.
    Unready,
    /// Something failed inside.
    Panic,
}

/// A refusal, and what it is about.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) cause: Cause,
    pub(crate) failure: Failure,
    pub(crate) method: Method,
    /// Without the prefix.
    pub(crate) path: String,
}

impl Refused {
    /// A refusal of a request with this beginning.
    pub(crate) fn new(cause: Cause, failure: Failure, method: &Method, head: &Head<'_>) -> Self {
        Self { cause, failure, method: method.clone(), path: head.uri.path().to_owned() }
    }
}

/// The state of a door's routes: the app, and what the door itself keeps. Cheap to clone.
pub(crate) struct Door<D> {
    app: App,
    it: Arc<D>,
}

impl<D> Door<D> {
    pub(crate) fn new(app: &App, it: &Arc<D>) -> Self {
        Self { app: app.clone(), it: Arc::clone(it) }
    }

    /// The app behind all doors.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }
}

impl<D> Clone for Door<D> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), it: Arc::clone(&self.it) }
    }
}

impl<D> Deref for Door<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.it
    }
}
