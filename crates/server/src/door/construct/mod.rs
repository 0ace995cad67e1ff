//! The Construct door.

mod settings;

use axum::response::Response;
use http::StatusCode;

pub use self::settings::Settings;
use super::shared::{Carriers, Cors, Dialect, Door, Path, Place, Refused};
use crate::reply::json;

/// What the door keeps.
pub(crate) struct Construct {
    settings: Settings,
}

impl Construct {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

/// The body of a refusal.
#[derive(serde::Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl Dialect for Construct {
    const NAME: &'static str = "construct";

    fn place(&self) -> Place {
        Place {
            prefix: self.settings.prefix.clone(),
            listen: self.settings.listen,
            hosts: self.settings.allowed_hosts.clone(),
            origins: self.settings.allowed_origins.clone(),
            carriers: Carriers::default(),
        }
    }

    fn paths(&self) -> Vec<Path<Door<Self>>> {
        Vec::new()
    }

    fn refuse(&self, refused: &Refused) -> Response {
        let status = StatusCode::from_u16(refused.failure.code().status());
        json(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &Body { error: refused.failure.message() })
    }

    fn cors(&self) -> Cors {
        Cors { methods: "GET, POST, PUT, PATCH, DELETE", headers: "Authorization, Content-Type", exposes: "" }
    }
}
