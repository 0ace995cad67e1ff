//! `moongate pair`.

use moongate_protocol::Timestamp;
use serde::{Deserialize, Serialize};

use super::{confirm, print_json, print_line};
use crate::{cli::PairArgs, client::connect, context::Context, exit::Outcome};

/// What is asked of the door.
#[derive(Serialize)]
struct Asked {
    admin: bool,
}

/// A code that lets one device in.
#[derive(Deserialize)]
struct Code {
    pairing_code: String,
    expires_at: Timestamp,
}

/// Asks the running server for a code and shows it.
///
/// # Errors
/// When there is no server, or it says no.
pub(crate) async fn pair(args: PairArgs, context: &Context) -> Outcome {
    let prefix = context.config()?.file.doors.construct.prefix;
    let client = connect(&args.remote, &context.data()?).await?;
    let path = format!("{prefix}/api/pairing/initiate");
    let body = client.send_root(&path, &Asked { admin: args.admin }).await?;
    if args.print.json {
        return print_json(&body);
    }
    let code: Code = serde_json::from_slice(&body)?;
    print_line(&code.pairing_code)?;
    confirm(&format!("It lets one device in, until {}.", code.expires_at))
}
