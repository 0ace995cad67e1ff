//! How sockets read and write, and how they answer a client that breaks the protocol.

use tokio_tungstenite::tungstenite::{
    Error,
    error::ProtocolError,
    protocol::{WebSocketConfig, frame::coding::CloseCode},
};

use crate::limits::{WS_FRAME_BYTES, WS_MESSAGE_BYTES, WS_READ_BUFFER, WS_WRITE_BUFFER};

/// How every socket reads and writes.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(WS_READ_BUFFER)
        .write_buffer_size(WS_WRITE_BUFFER)
        .max_message_size(Some(WS_MESSAGE_BYTES))
        .max_frame_size(Some(WS_FRAME_BYTES))
}

/// What a socket is closed with after this error; `None` when nobody is there any more.
pub fn close_code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}
