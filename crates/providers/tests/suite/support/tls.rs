//! A provider behind TLS.

use std::sync::Arc;

use moongate_providers::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Act,
    wires::{answer, stream},
};

/// A provider behind TLS that says `hi` on whichever wire it is asked; its port.
pub(crate) async fn tls_server(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key.into())
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = vec![0; 4096];
            let n = socket.read(&mut request).await.unwrap();
            let path = String::from_utf8_lossy(&request[..n]).into_owned();
            let wire = Wire::ALL.into_iter().find(|wire| {
                let route = match wire {
                    Wire::OpenAiChat => "/chat/completions",
                    Wire::OpenAiResponses => "/responses",
                    Wire::Anthropic => "/messages",
                };
                path.contains(route)
            });
            for act in stream(answer(wire.unwrap(), "hi")) {
                if let Act::Send(bytes) = act {
                    socket.write_all(&bytes).await.unwrap();
                }
            }
            socket.shutdown().await.ok();
        }
    });
    port
}
