//! Finds the server to talk to.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::SecretString;

use super::{Client, Http, trust};
use crate::{
    cli::Remote,
    data::{DataFolder, Running, read_key},
    exit::{Failure, Outcome},
};

/// The server the person named, or the one that uses the data folder.
///
/// # Errors
/// `NoServer` when there is none.
pub(crate) async fn connect(remote: &Remote, data: &DataFolder) -> Outcome<Client> {
    if let Some(url) = &remote.server {
        return named(url, remote, data);
    }
    find_running(remote, data).await?.ok_or_else(|| {
        let folder = data.path().display();
        Failure::NoServer(format!(
            "no server runs on {folder}: start one with `moongate serve`, or name one with --server URL"
        ))
    })
}

/// The server that uses the data folder, if one does and answers.
///
/// # Errors
/// When its key cannot be read.
pub(crate) async fn find_running(remote: &Remote, data: &DataFolder) -> Outcome<Option<Client>> {
    let Some(running) = data.running() else { return Ok(None) };
    let client = announced(&running, key(remote, data)?)?;
    Ok(client.is_alive().await.then_some(client))
}

/// The server that left this word in the data folder.
///
/// # Errors
/// When its address cannot be read.
pub(crate) fn announced(running: &Running, key: SecretString) -> Outcome<Client> {
    let certificate = running.certificate.as_deref().and_then(|text| STANDARD.decode(text).ok());
    let trust = || certificate.map_or_else(trust::machine, |der| trust::only(der.into()));
    Ok(Client::new(Http::new(&running.url, key, trust)?))
}

/// A server by its address. The key of this machine's own server is not shown to others.
fn named(url: &str, remote: &Remote, data: &DataFolder) -> Outcome<Client> {
    let host =
        url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if remote.key_file.is_none() && !is_local {
        return Err(Failure::Usage(format!(
            "say with --key-file which key to show {url}: admin.key is for the server on this machine only"
        )));
    }
    Ok(Client::new(Http::new(url, key(remote, data)?, trust::machine)?))
}

fn key(remote: &Remote, data: &DataFolder) -> Outcome<SecretString> {
    let path = remote.key_file.clone().unwrap_or_else(|| data.admin_key_path());
    if !path.exists() {
        let folder = path.display();
        return Err(Failure::NoServer(format!("there is no key at {folder}: name one with --key-file")));
    }
    read_key(&path)
}
