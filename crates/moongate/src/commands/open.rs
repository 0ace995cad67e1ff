//! `moongate open`.

use http::Method;
use moongate_protocol::Timestamp;
use serde::{Deserialize, Serialize};

use super::{confirm, print_json, print_line};
use crate::{cli::ListArgs, client::connect, context::Context, exit::Outcome};

/// What is asked of the server: there is nothing to choose.
#[derive(Serialize)]
struct Asked {}

/// A link that signs one browser in.
#[derive(Deserialize)]
struct Link {
    path: String,
    expires_at: Timestamp,
}

/// Asks the running server for a link to its page and shows it.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn open(args: &ListArgs, context: &Context) -> Outcome {
    let client = connect(&args.remote, &context.data()?).await?;
    let body = client.send_bytes(Method::POST, "/signin-links", &Asked {}).await?;
    if args.print.json {
        return print_json(&body);
    }
    let link: Link = serde_json::from_slice(&body)?;
    print_line(&format!("{}{}", client.base(), link.path))?;
    confirm(&format!("It signs one browser in, until {}.", link.expires_at))
}
