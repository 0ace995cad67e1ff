//! One method of one path of a door, and who may ask it.

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, any, on},
};

/// One method of one path.
pub(crate) struct Path<S> {
    /// `None` for all methods.
    pub(crate) method: Option<&'static str>,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) handler: MethodRouter<S>,
}

/// Who may ask a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody: a short, frozen list.
    Public,
    /// Whoever has a key in a header.
    Key,
    /// As `Key`; a WebSocket, whose key may come as its subprotocol and, where the door allows it, in the URL.
    Socket,
}

impl<S: Clone + Send + Sync + 'static> Path<S> {
    /// `GET`, and with it `HEAD`.
    pub(crate) fn get<H: Handler<T, S>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::one("GET", MethodFilter::GET, path, handler)
    }

    /// `POST`.
    pub(crate) fn post<H: Handler<T, S>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::one("POST", MethodFilter::POST, path, handler)
    }

    /// `PUT`.
    pub(crate) fn put<H: Handler<T, S>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::one("PUT", MethodFilter::PUT, path, handler)
    }

    /// `PATCH`.
    pub(crate) fn patch<H: Handler<T, S>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::one("PATCH", MethodFilter::PATCH, path, handler)
    }

    /// `DELETE`.
    pub(crate) fn delete<H: Handler<T, S>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::one("DELETE", MethodFilter::DELETE, path, handler)
    }

    /// Every method.
    pub(crate) fn any<H: Handler<T, S>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self { method: None, path, access: Access::Key, handler: any(handler) }
    }

    fn one<H: Handler<T, S>, T: 'static>(
        method: &'static str,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
    ) -> Self {
        Self { method: Some(method), path, access: Access::Key, handler: on(filter, handler) }
    }

    /// Needs no key. Each is in the frozen list of the tests.
    pub(crate) fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    /// Becomes a WebSocket.
    pub(crate) fn socket(mut self) -> Self {
        self.access = Access::Socket;
        self
    }
}
