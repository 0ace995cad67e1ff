//! TLS to providers: rustls with ring and the machine's trusted roots.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::CertificateDer;

/// Which certificates are trusted, and how to encrypt.
pub(crate) type Trust = Arc<ClientConfig>;

/// Makes the machine's usual client configuration, once: reading all roots takes milliseconds, and an install
/// that only talks to a local engine never needs them. Blocks on files.
pub(super) fn machine() -> Option<Trust> {
    static CONFIG: OnceLock<Option<Trust>> = OnceLock::new();
    CONFIG.get_or_init(|| trust(rustls_native_certs::load_native_certs().certs)).clone()
}

/// Trusts these roots only.
pub(crate) fn trust(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Trust> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}
