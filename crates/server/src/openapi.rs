//! The OpenAPI 3.1 document, made from the same list of routes as the router.

use std::collections::BTreeMap;

use moongate_protocol::{
    ApprovalId, BlobHash, Delta, Envelope, ErrorCode, InputId, KeyId, Notice, QuestionId, SessionId,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, HttpMethod, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
        OpenApiVersion, PathItem, Paths, Ref, RefOr, Required, ResponseBuilder,
        header::HeaderBuilder,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{
    door, page, public,
    reply::ErrorBody,
    route::{Doc, Route, Shape, Typed},
};

/// Name of the one way to authenticate.
const KEY: &str = "key";
/// What every route behind the guard may answer.
const GUARDED: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::Unauthorized,
    ErrorCode::Forbidden,
    ErrorCode::Misdirected,
    ErrorCode::RateLimited,
    ErrorCode::HeadersTooLarge,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];
/// What every public route may answer.
const PUBLIC: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::Forbidden,
    ErrorCode::Misdirected,
    ErrorCode::HeadersTooLarge,
    ErrorCode::Internal,
];

/// The document as JSON text.
///
/// # Errors
/// When a type's schema is not JSON.
pub fn document() -> Result<String, serde_json::Error> {
    build().to_pretty_json()
}

fn build() -> OpenApi {
    let mut types: Vec<Typed> =
        vec![Typed::of::<ErrorBody>(), Typed::of::<Envelope>(), Typed::of::<Delta>(), Typed::of::<Notice>()];
    let mut paths = Paths::new();
    let guarded = door::native::routes().into_iter().map(|route| (route, GUARDED));
    let public = public::routes().into_iter().chain(page::routes()).map(|route| (route, PUBLIC));
    for (route, common) in guarded.chain(public) {
        types.extend(route.doc.types());
        let method = route.method.clone();
        let operation = operation(&route, common);
        // Routes of one path come one after another.
        let path = paths.paths.entry(route.path).or_default();
        path.merge_operations(PathItem::new(method, operation));
    }
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("mg_…").build();
    let mut components = Components::new();
    components.add_security_scheme(KEY, SecurityScheme::Http(key));
    for typed in types {
        let mut schemas = vec![((typed.name)().into_owned(), (typed.schema)())];
        (typed.collect)(&mut schemas);
        components.schemas.extend(schemas);
    }
    let info = InfoBuilder::new()
        .title("Moongate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(LicenseBuilder::new().name("Apache-2.0 OR MIT").build()))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .openapi(OpenApiVersion::Version31)
        .paths(paths)
        .components(Some(components))
        .build()
}

const INTRODUCTION: &str = "Sessions are append-only logs of numbered events. Clients submit inputs and follow \
events; nothing hangs on a connection. Every reply that is not a success has the body `ErrorBody`.\n\n\
`GET /api/v1/ws` (subprotocol `moongate.v1`) carries the same over one WebSocket for many sessions. Client frames: \
`subscribe{session, after?}`, `unsubscribe{session}`, `input{session, …}`, `cancel{session, …}`, \
`approve{approval, …}`, `answer{question, …}`, `ping`; each with an optional `ref` that is echoed. Server frames: \
`ack{ref, …}`, `error{ref?, error}`, `event{event}`, `delta{delta}`, `notice{notice}`, `reset{session, epoch, seq}`, \
`pong`. Close codes: 4001 the key ended, 4008 too slow, 1012 the server goes away; come back and subscribe after the last position.";

fn operation(route: &Route, common: &[ErrorCode]) -> Operation {
    let doc = &route.doc;
    let mut operation = OperationBuilder::new()
        .summary(Some(doc.summary))
        .operation_id(Some(operation_id(route)))
        .parameters(Some(parameters(route)));
    if std::ptr::eq(common, GUARDED) {
        operation = operation.security(SecurityRequirement::new(KEY, [] as [&str; 0]));
    }
    if let Some(shape) = doc.body {
        // Also where it may be empty: its media type has to be sent all the same.
        let mut body = RequestBodyBuilder::new().required(Some(Required::True));
        for (media_type, content) in shape.contents() {
            body = body.content(media_type, content);
        }
        operation = operation.request_body(Some(body.build()));
    }
    for (status, shape) in &doc.replies {
        let mut response = ResponseBuilder::new().description(if *status < 300 { "Done" } else { "Not now" });
        for (media_type, content) in shape.contents() {
            response = response.content(media_type, content);
        }
        operation = operation.response(status.to_string(), response.build());
    }
    let has_id = route.path.contains('{');
    let missing = has_id.then_some(ErrorCode::NotFound);
    let mut refusals: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in common.iter().chain(&doc.refusals).copied().chain(missing) {
        let codes = refusals.entry(code.status()).or_default();
        if !codes.contains(&code.as_str()) {
            codes.push(code.as_str());
        }
    }
    for (status, codes) in refusals {
        if !doc.replies.iter().any(|(reply, _)| *reply == status) {
            operation = operation.response(status.to_string(), refusal(status, &codes));
        }
    }
    operation.build()
}

fn refusal(status: u16, codes: &[&str]) -> utoipa::openapi::Response {
    let content = Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(ErrorBody::name()))));
    let mut response =
        ResponseBuilder::new().description(codes.join(", ")).content("application/json", content);
    if [413, 429, 503].contains(&status) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
        let header =
            HeaderBuilder::new().description(Some("Seconds to wait, where known")).schema(Some(seconds));
        response = response.header("Retry-After", header.build());
    }
    response.build()
}

fn operation_id(route: &Route) -> String {
    let method = match route.method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Patch => "patch",
        HttpMethod::Delete => "delete",
        _ => "call",
    };
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

fn parameters(route: &Route) -> Vec<Parameter> {
    let names = route.path.split('/').filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(path_schema(name)))
            .build()
    });
    let in_headers = route.doc.headers.iter().map(|(name, pattern)| {
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(*pattern)).build();
        ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .schema(Some(schema))
            .build()
    });
    let in_query = route.doc.query.map(|query| query()).unwrap_or_default();
    in_path.chain(in_query).chain(in_headers).collect()
}

/// The grammar of a path's parameter: every name a route uses has one.
fn path_schema(name: &str) -> RefOr<Schema> {
    match name {
        "session" => SessionId::schema(),
        "input" => InputId::schema(),
        "approval" => ApprovalId::schema(),
        "question" => QuestionId::schema(),
        "key" => KeyId::schema(),
        "hash" => BlobHash::schema(),
        _ => ObjectBuilder::new().schema_type(Type::String).into(),
    }
}

impl Doc {
    fn types(&self) -> impl Iterator<Item = Typed> {
        let shapes = self.replies.iter().map(|(_, shape)| *shape).chain(self.body);
        shapes.filter_map(|shape| match shape {
            Shape::Json(typed) | Shape::JsonOr(typed, _) => Some(typed),
            Shape::Empty | Shape::Text(_) | Shape::AnyJson => None,
        })
    }
}

impl Shape {
    fn contents(self) -> Vec<(&'static str, Content)> {
        let json = |typed: Typed| ("application/json", Content::new(Some(typed.reference())));
        match self {
            Self::Empty => Vec::new(),
            Self::Json(typed) => vec![json(typed)],
            Self::AnyJson => {
                let object = ObjectBuilder::new().schema_type(Type::Object).build();
                vec![("application/json", Content::new(Some(object)))]
            }
            Self::Text(media_type) => vec![(media_type, text(media_type))],
            Self::JsonOr(typed, media_type) => vec![json(typed), (media_type, text(media_type))],
        }
    }
}

fn text(media_type: &str) -> Content {
    let format =
        (media_type == "application/octet-stream").then_some(SchemaFormat::KnownFormat(KnownFormat::Binary));
    Content::new(Some(ObjectBuilder::new().schema_type(Type::String).format(format).build()))
}
