//! What each wire looks like when it says the same thing.

use moongate_providers::Wire;

use super::Act;

/// An answer's head.
pub(crate) fn head(status: u16, headers: &str) -> Act {
    Act::Send(format!("HTTP/1.1 {status} X\r\n{headers}\r\n").into_bytes())
}

/// The head of a stream in chunks.
pub(crate) fn stream_head() -> Act {
    head(200, "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n")
}

/// One chunk.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Act {
    let bytes = bytes.as_ref();
    Act::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// The end of all chunks.
pub(crate) fn last_chunk() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

/// A whole answer that is no stream.
pub(crate) fn whole(status: u16, headers: &str, body: &str) -> Vec<Act> {
    vec![head(status, &format!("content-length: {}\r\n{headers}", body.len())), Act::Send(body.into())]
}

/// A whole stream.
pub(crate) fn stream(body: impl AsRef<[u8]>) -> Vec<Act> {
    vec![stream_head(), chunk(body), last_chunk()]
}

/// A stream that says `body` and is cut.
pub(crate) fn cut(body: impl AsRef<[u8]>) -> Vec<Act> {
    vec![stream_head(), chunk(body), Act::Close]
}

fn chat(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n")
}

fn named(kind: &str, rest: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{rest}}}\n\n")
}

/// The beginning of every answer, up to and without text.
pub(crate) fn begin(wire: Wire) -> String {
    match wire {
        Wire::OpenAiChat => chat(r#"{"role":"assistant","content":""}"#),
        Wire::OpenAiResponses => named("response.created", r#""response":{"status":"in_progress"}"#),
        Wire::Anthropic => {
            named("message_start", r#""message":{"usage":{"input_tokens":11,"output_tokens":1}}"#)
        }
    }
}

/// A text block that says this, given as the inside of a JSON string.
pub(crate) fn text(wire: Wire, text: &str) -> String {
    match wire {
        Wire::OpenAiChat => chat(&format!(r#"{{"content":"{text}"}}"#)),
        Wire::OpenAiResponses => {
            let item = r#""output_index":0,"item":{"type":"message","id":"m"}"#;
            let delta = format!(r#""output_index":0,"delta":"{text}""#);
            named("response.output_item.added", item) + &named("response.output_text.delta", &delta)
        }
        Wire::Anthropic => {
            let start = r#""index":0,"content_block":{"type":"text","text":""}"#;
            let delta = format!(r#""index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#);
            named("content_block_start", start)
                + &named("content_block_delta", &delta)
                + &named("content_block_stop", r#""index":0"#)
        }
    }
}

/// The beginning of a tool call.
pub(crate) fn begin_call(wire: Wire, index: u32, id: &str, name: &str) -> String {
    match wire {
        Wire::OpenAiChat => chat(&format!(
            r#"{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":""}}}}]}}"#
        )),
        Wire::OpenAiResponses => named(
            "response.output_item.added",
            &format!(
                r#""output_index":{index},"item":{{"type":"function_call","id":"fc_{index}","call_id":"{id}","name":"{name}","arguments":""}}"#
            ),
        ),
        Wire::Anthropic => named(
            "content_block_start",
            &format!(
                r#""index":{index},"content_block":{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}"#
            ),
        ),
    }
}

/// More of a tool call's arguments, given as the inside of a JSON string.
pub(crate) fn arguments(wire: Wire, index: u32, text: &str) -> String {
    match wire {
        Wire::OpenAiChat => {
            chat(&format!(r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"{text}"}}}}]}}"#))
        }
        Wire::OpenAiResponses => named(
            "response.function_call_arguments.delta",
            &format!(r#""output_index":{index},"item_id":"fc_{index}","delta":"{text}""#),
        ),
        Wire::Anthropic => named(
            "content_block_delta",
            &format!(r#""index":{index},"delta":{{"type":"input_json_delta","partial_json":"{text}"}}"#),
        ),
    }
}

/// A whole tool call.
pub(crate) fn tool_call(wire: Wire, index: u32, id: &str, name: &str, json: &str) -> String {
    begin_call(wire, index, id, name) + &arguments(wire, index, json)
}

/// A good end, with these figures.
pub(crate) fn end_with_usage(wire: Wire, input: &str, output: &str) -> String {
    match wire {
        Wire::OpenAiChat => format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n\
             data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}}}\n\n\
             data: [DONE]\n\n"
        ),
        Wire::OpenAiResponses => named(
            "response.completed",
            &format!(
                r#""response":{{"status":"completed","usage":{{"input_tokens":{input},"output_tokens":{output}}}}}"#
            ),
        ),
        Wire::Anthropic => {
            let usage = format!(
                r#""delta":{{"stop_reason":"end_turn"}},"usage":{{"input_tokens":{input},"output_tokens":{output}}}"#
            );
            named("message_delta", &usage) + &named("message_stop", r#""x":0"#)
        }
    }
}

/// A good end.
pub(crate) fn end(wire: Wire) -> String {
    end_with_usage(wire, "11", "7")
}

/// A whole answer that says this.
pub(crate) fn answer(wire: Wire, said: &str) -> String {
    begin(wire) + &text(wire, said) + &end(wire)
}

/// An error event in a stream: the provider has too much to do.
pub(crate) fn overloaded(wire: Wire) -> String {
    let event = match wire {
        Wire::OpenAiChat => r#"data: {"error":{"message":"busy","type":"overloaded_error","code":503}}"#,
        Wire::OpenAiResponses => {
            "event: error\ndata: {\"type\":\"error\",\"code\":\"server_overloaded\",\"message\":\"busy\"}"
        }
        Wire::Anthropic => {
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}"
        }
    };
    format!("{event}\n\n")
}

/// Something to keep the stream alive.
pub(crate) fn ping(wire: Wire) -> &'static str {
    match wire {
        Wire::Anthropic => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        _ => ": keep-alive\n\n",
    }
}

/// An error reply's body.
pub(crate) fn error(wire: Wire, kind: &str, code: &str) -> String {
    match wire {
        Wire::Anthropic => format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{code}"}}}}"#),
        _ => format!(r#"{{"error":{{"message":"m","type":"{kind}","param":null,"code":"{code}"}}}}"#),
    }
}
