//! The data folder: the administrator's key, and where the running server is.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use moongate_core::Ids;
use moongate_server::AdminKey;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    config::{OVERLAY, Server},
    exit::{Failure, Outcome},
};

/// The administrator's key, one line.
const ADMIN_KEY: &str = "admin.key";
/// Where the running server listens.
const RUNNING: &str = "server.json";
/// What was typed at the chat prompt.
const HISTORY: &str = "chat_history";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Rights that nobody but the owner may have.
const OTHERS: u32 = 0o077;

/// A data folder.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder(PathBuf);

/// A server that runs, as it left word in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Where it can be reached.
    pub(crate) url: String,
    /// Its certificate, where it encrypts: DER in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// It is a chat's own and ends with it.
    pub(crate) is_a_chat_s: bool,
}

impl DataFolder {
    /// The folder at a path; it need not be there.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes the folder when it is missing, closed to others.
    ///
    /// # Errors
    /// When it cannot be made, or others may enter it.
    pub(crate) fn create(&self) -> Outcome {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.0);
        made.map_err(|error| cannot("make the data folder", &self.0, &error))?;
        let read = |error: io::Error| cannot("read the data folder", &self.0, &error);
        // Nobody has put anything into an empty folder yet: closing it surprises nobody.
        if self.check_rights().is_err() && fs::read_dir(&self.0).map_err(read)?.next().is_none() {
            let closed = fs::set_permissions(&self.0, Permissions::from_mode(FOLDER_MODE));
            closed.map_err(|error| cannot("close the data folder to others", &self.0, &error))?;
        }
        self.check_rights().map_err(Failure::Usage)
    }

    /// Whether the folder is closed to others.
    ///
    /// # Errors
    /// In words, with what to do.
    pub(crate) fn check_rights(&self) -> Result<(), String> {
        closed(&self.0, "700")
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the administrator's key lies.
    pub(crate) fn admin_key_path(&self) -> PathBuf {
        self.0.join(ADMIN_KEY)
    }

    /// Where the chat keeps what was typed.
    pub(crate) fn history_path(&self) -> PathBuf {
        self.0.join(HISTORY)
    }

    /// The administrator's key; makes one in a folder that has none.
    ///
    /// # Errors
    /// When the file is open to others, or holds no key.
    pub(crate) fn admin_key(&self, ids: &Ids) -> Outcome<AdminKey> {
        let path = self.admin_key_path();
        if path.try_exists().map_err(|error| cannot("read", &path, &error))? {
            let text = read_key(&path)?;
            return AdminKey::parse(&text).map_err(|error| {
                Failure::Usage(format!(
                    "{}: {error}; move it away and start again to get a new one",
                    path.display()
                ))
            });
        }
        let (text, key) = AdminKey::generate(ids);
        let line = format!("{}\n", text.expose_secret());
        self.write(ADMIN_KEY, line.as_bytes()).map_err(|error| cannot("write", &path, &error))?;
        Ok(key)
    }

    /// Writes what clients changed of the configuration, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; what was there before still is.
    pub(crate) fn write_overlay(&self, text: &str) -> io::Result<()> {
        self.write(OVERLAY, text.as_bytes()).map(drop)
    }

    /// Leaves word where the server listens, for as long as the value lives.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn announce(
        &self,
        server: &Server,
        address: SocketAddr,
        is_a_chat_s: bool,
    ) -> Outcome<Announced> {
        let certificate = server.tls.as_ref().and_then(|tls| CertificateDer::from_pem_file(&tls.cert).ok());
        let url = reachable(address, server.tls.is_some());
        let certificate = certificate.map(|der| STANDARD.encode(der));
        let running = Running { url, certificate, is_a_chat_s };
        let path = self.0.join(RUNNING);
        let text = serde_json::to_vec(&running)?;
        let lock = self.write(RUNNING, &text).map_err(|error| cannot("write", &path, &error))?;
        Ok(Announced { path, running, _lock: lock })
    }

    /// The server that runs on this folder, by the word it left. What a process left that is gone does not
    /// count: somebody else may listen there now.
    pub(crate) fn running(&self) -> Option<Running> {
        let mut file = fs::File::open(self.0.join(RUNNING)).ok()?;
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes a file whole or not at all, closed to others; it is locked as long as it stays open.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<fs::File> {
        let part = self.0.join(format!("{name}.new"));
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&part)?;
        file.lock()?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, self.0.join(name))?;
        fs::File::open(&self.0)?.sync_all()?;
        Ok(file)
    }
}

/// Word of a running server, as long as it lives: whoever finds the file unlocked knows that it is gone.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
    running: Running,
    _lock: fs::File,
}

impl Announced {
    /// What was left.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // What stays behind is not locked any more, and says nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// Reads a key from a file that only its owner can read.
///
/// # Errors
/// When it cannot be read, or others could.
pub(crate) fn read_key(path: &Path) -> Outcome<SecretString> {
    closed(path, "600").map_err(Failure::Usage)?;
    let text = fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

fn closed(path: &Path, mode: &str) -> Result<(), String> {
    let found = fs::metadata(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if found.mode() & OTHERS == 0 {
        return Ok(());
    }
    let (shown, has) = (path.display(), found.mode() & 0o777);
    Err(format!("{shown} is open to others (mode {has:03o}): run `chmod {mode} {shown}`"))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot {what} {}: {error}", path.display()))
}

/// How this machine reaches an address that is listened on.
fn reachable(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}
