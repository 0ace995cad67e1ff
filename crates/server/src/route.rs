//! A route with its documentation: the router and the OpenAPI document are made from the same list.

use axum::routing::MethodRouter;
use moongate_protocol::ErrorCode;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        HttpMethod, Ref, RefOr,
        path::{Parameter, ParameterIn},
        schema::Schema,
    },
};

use crate::App;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: HttpMethod,
    pub(crate) path: String,
    pub(crate) handler: MethodRouter<App>,
    pub(crate) doc: Doc,
}

/// What is written down about a route.
#[derive(Default)]
pub(crate) struct Doc {
    pub(crate) summary: &'static str,
    pub(crate) query: Option<fn() -> Vec<Parameter>>,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: Option<Shape>,
    pub(crate) replies: Vec<(u16, Shape)>,
    pub(crate) refusals: Vec<ErrorCode>,
}

/// The form of a body.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Nothing.
    Empty,
    /// JSON of a type.
    Json(Typed),
    /// A JSON object whose fields are documented elsewhere.
    AnyJson,
    /// Another media type.
    Text(&'static str),
    /// JSON, or the media type where the request's `Accept` asks for it.
    JsonOr(Typed, &'static str),
}

/// A type's schema, by name.
#[derive(Clone, Copy)]
pub(crate) struct Typed {
    pub(crate) name: fn() -> std::borrow::Cow<'static, str>,
    pub(crate) schema: fn() -> RefOr<Schema>,
    pub(crate) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Typed {
    pub(crate) fn of<T: ToSchema>() -> Self {
        Self { name: T::name, schema: T::schema, collect: T::schemas }
    }

    pub(crate) fn reference(&self) -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name((self.name)()))
    }
}

impl Route {
    pub(crate) fn get(path: &str, handler: MethodRouter<App>) -> Self {
        Self::new(HttpMethod::Get, path, handler)
    }

    pub(crate) fn post(path: &str, handler: MethodRouter<App>) -> Self {
        Self::new(HttpMethod::Post, path, handler)
    }

    pub(crate) fn patch(path: &str, handler: MethodRouter<App>) -> Self {
        Self::new(HttpMethod::Patch, path, handler)
    }

    pub(crate) fn delete(path: &str, handler: MethodRouter<App>) -> Self {
        Self::new(HttpMethod::Delete, path, handler)
    }

    fn new(method: HttpMethod, path: &str, handler: MethodRouter<App>) -> Self {
        Self { method, path: path.to_owned(), handler, doc: Doc::default() }
    }

    /// The same route beneath a prefix.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        self.path = format!("{prefix}{}", self.path);
        self
    }

    /// What it is for.
    pub(crate) fn says(mut self, summary: &'static str) -> Self {
        self.doc.summary = summary;
        self
    }

    /// Its query parameters.
    pub(crate) fn query<T: IntoParams>(mut self) -> Self {
        self.doc.query = Some(|| T::into_params(|| Some(ParameterIn::Query)));
        self
    }

    /// Its optional headers, each with a pattern.
    pub(crate) fn headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.doc.headers = headers;
        self
    }

    /// Its JSON body.
    pub(crate) fn json<T: ToSchema>(self) -> Self {
        self.body(Shape::Json(Typed::of::<T>()))
    }

    /// Its body.
    pub(crate) fn body(mut self, shape: Shape) -> Self {
        self.doc.body = Some(shape);
        self.refuses(&[ErrorCode::TooLarge, ErrorCode::UnsupportedMediaType])
    }

    /// A JSON reply.
    pub(crate) fn ok<T: ToSchema>(self, status: u16) -> Self {
        self.answers(status, Shape::Json(Typed::of::<T>()))
    }

    /// Any reply.
    pub(crate) fn answers(mut self, status: u16, shape: Shape) -> Self {
        self.doc.replies.push((status, shape));
        self
    }

    /// Codes it refuses with, besides those of every route.
    pub(crate) fn refuses(mut self, codes: &[ErrorCode]) -> Self {
        self.doc.refusals.extend_from_slice(codes);
        self
    }

    /// It writes to the store.
    pub(crate) fn writes(self) -> Self {
        self.refuses(&[ErrorCode::StoreReadOnly, ErrorCode::DiskFull, ErrorCode::Conflict])
    }
}
