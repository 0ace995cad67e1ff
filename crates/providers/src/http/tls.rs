//! TLS to providers: rustls with ring and the machine's trusted roots.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::CertificateDer;

/// Makes the machine's usual client configuration, once: reading all roots takes milliseconds, and an install
/// that only talks to a local engine never needs them. Blocks on files.
pub(super) fn system_config() -> Option<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    CONFIG.get_or_init(|| config(rustls_native_certs::load_native_certs().certs)).clone()
}

/// A client that trusts these roots.
pub(super) fn config(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Arc<ClientConfig>> {
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
