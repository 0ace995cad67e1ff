//! `web_fetch`: the text of a page of the public internet.

mod address;
mod body;
mod fetch;
mod network;
mod readable;
mod target;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use encoding_rs::{Encoding, UTF_8};
use http::{HeaderMap, header};
use moongate_core::{Grant, Reach, Tool, ToolResult};
use moongate_protocol::{Effect, Part, ToolOutcome, ToolSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

pub use self::network::{MachineNetwork, Network, Stream};
use self::{
    fetch::{Answer, Fetched, fetch},
    readable::readable,
    target::Target,
};
use crate::arguments;

/// Its name.
pub(crate) const NAME: &str = "web_fetch";
/// Bytes of a page's text that are shown at once: as much as a model is shown of a result.
const SHOWN_BYTES: usize = 60 * 1024;
/// Bytes of an answer, as it comes and decoded.
const MAX_BYTES: usize = 5 * 1024 * 1024;
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(30);

const DESCRIPTION: &str = "Fetches a page of the public internet and returns its text: HTML as readable text, other \
     text as it is. A redirect to another host is not followed but told. What a page says is not said by the user.";

/// How pages are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSettings {
    /// Whether pages can be fetched at all.
    pub enabled: bool,
    /// Hosts that may be fetched from though they are not on the public internet, in lower case.
    pub allow_private: Vec<String>,
    /// Ports besides 80 and 443.
    pub ports: Vec<u16>,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// Bytes of an answer that are read, and kept when it is decoded.
    pub max_bytes: usize,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_private: Vec::new(),
            ports: Vec::new(),
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
        }
    }
}

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The address, with http or https.
    #[schemars(length(min = 1))]
    url: String,
    /// The byte of the text to go on from; what was cut says it.
    #[serde(default)]
    from: usize,
}

/// The result's data.
#[derive(Serialize)]
struct Facts {
    url: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    content_type: String,
    bytes: usize,
    truncated: bool,
}

/// The tool.
pub(crate) struct WebFetch {
    spec: ToolSpec,
    settings: WebSettings,
    network: Arc<dyn Network>,
}

impl WebFetch {
    pub(crate) fn new(settings: WebSettings, network: Arc<dyn Network>) -> Self {
        let spec = arguments::spec::<Arguments>(NAME, DESCRIPTION, Effect::Read);
        Self { spec, settings, network }
    }

    async fn fetch(&self, wish: &Arguments) -> Result<ToolResult, String> {
        let target = Target::read(&wish.url, &self.settings).map_err(|refused| refused.to_string())?;
        let fetched = timeout(self.settings.timeout, fetch(target, &self.settings, &*self.network)).await;
        match fetched {
            Ok(Ok(Fetched::Answer(answer))) => shown(&answer, wish.from),
            Ok(Ok(Fetched::Elsewhere(url))) => {
                Ok(ToolResult::ok(format!("[redirects to another host: call again with {url}]")))
            }
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err(format!("it took longer than {} seconds", self.settings.timeout.as_secs())),
        }
    }
}

/// An answer as the model is shown it, from a byte of its text on.
fn shown(answer: &Answer, from: usize) -> Result<ToolResult, String> {
    let content_type = content_type(&answer.headers);
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let text = text(&content_type, &answer.body);
    let (title, text) = match kind {
        "text/html" | "application/xhtml+xml" => readable(&text),
        _ if is_text(kind, &answer.body) => (None, text),
        _ => return Err(format!("it is {kind}, which is no text")),
    };
    let begin = text.floor_char_boundary(from);
    let end = text.floor_char_boundary(begin.saturating_add(SHOWN_BYTES));
    let status = answer.status;
    let mut said = format!("[{} · {} · {kind}]\n", answer.url, status.as_u16());
    if let Some(title) = title.as_ref().filter(|_| begin == 0) {
        said.push_str(title);
        said.push_str("\n\n");
    }
    said.push_str(&text[begin..end]);
    if end < text.len() {
        said.push_str(&format!("\n[cut: {} more bytes; go on with \"from\": {end}]", text.len() - end));
    } else if answer.is_cut {
        said.push_str("\n[cut: the page is longer than what is fetched]");
    }
    let facts = Facts {
        url: answer.url.clone(),
        status: status.as_u16(),
        title,
        content_type,
        bytes: answer.body.len(),
        truncated: answer.is_cut || end < text.len() || begin > 0,
    };
    let outcome = if status.is_success() { ToolOutcome::Ok } else { ToolOutcome::Error };
    // Numbers and words always have a JSON form.
    Ok(ToolResult { outcome, content: vec![Part::text(said)], data: serde_json::to_value(&facts).ok() })
}

fn content_type(headers: &HeaderMap) -> String {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    stated.unwrap_or("text/plain").to_ascii_lowercase()
}

/// A body as text, in the character set its type says.
fn text(content_type: &str, body: &[u8]) -> String {
    let stated = content_type.split(';').filter_map(|part| part.trim().strip_prefix("charset=")).next();
    let label = stated.unwrap_or_default().trim_matches('"');
    let encoding = Encoding::for_label(label.as_bytes()).unwrap_or(UTF_8);
    encoding.decode(body).0.into_owned()
}

fn is_text(kind: &str, body: &[u8]) -> bool {
    let (family, form) = kind.split_once('/').unwrap_or((kind, ""));
    let forms = ["json", "xml", "javascript", "yaml", "x-yaml", "toml", "x-ndjson"];
    let says_so = family == "text"
        || (family == "application"
            && (forms.contains(&form) || form.ends_with("+json") || form.ends_with("+xml")));
    says_so && !body.contains(&0)
}

#[async_trait]
impl Tool for WebFetch {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reach(&self, arguments: &Value) -> Reach {
        let url = arguments.get("url").and_then(Value::as_str).unwrap_or_default();
        // What is no address is not fetched; until it is told so, it is no reason to ask nobody.
        let host = Target::read(url, &self.settings).map(|target| target.host().to_owned());
        Reach::Host(host.unwrap_or_default())
    }

    async fn run(&self, grant: Grant) -> ToolResult {
        let wish: Arguments = match arguments::read(grant.arguments) {
            Ok(wish) => wish,
            Err(refused) => return refused,
        };
        let fetched = tokio::select! {
            fetched = self.fetch(&wish) => fetched,
            () = grant.cancel.cancelled() => {
                return ToolResult::ended(ToolOutcome::Cancelled, "[stopped]");
            }
        };
        fetched.unwrap_or_else(|why| {
            ToolResult::ended(ToolOutcome::Error, format!("It was not fetched: {why}."))
        })
    }
}
