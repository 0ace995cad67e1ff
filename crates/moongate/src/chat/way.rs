//! The way to a server: the named one, the one that uses the data folder, or one of our own.

use crate::{
    cli::Remote,
    client::{Client, connect, find_running},
    context::Context,
    data::DataFolder,
    exit::Outcome,
    serve::Local,
};

/// The way to a server, and how it is found again.
pub(crate) struct Way<'a> {
    remote: Remote,
    data: DataFolder,
    context: &'a Context,
    /// Our own server, where there was none.
    local: Option<Local>,
    /// The server is another chat's own and ends with it.
    is_a_chat_s: bool,
}

impl<'a> Way<'a> {
    /// The way as the command line says.
    ///
    /// # Errors
    /// When no data folder is known.
    pub(crate) fn new(remote: Remote, context: &'a Context) -> Outcome<Self> {
        Ok(Self { remote, data: context.data()?, context, local: None, is_a_chat_s: false })
    }

    /// Finds a server, or starts one.
    ///
    /// # Errors
    /// When none can be found and none started.
    pub(crate) async fn first(&mut self) -> Outcome<Client> {
        if self.remote.server.is_some() {
            let client = connect(&self.remote, &self.data).await?;
            // A server that was never there is not waited for.
            client.get_root("/healthz").await?;
            return Ok(client);
        }
        match self.running().await? {
            Some(client) => Ok(client),
            None => self.own().await,
        }
    }

    /// Finds the server again after it went away; it may have another address now. A server that was another
    /// chat's is replaced by our own.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub(crate) async fn again(&mut self) -> Outcome<Option<Client>> {
        if self.remote.server.is_some() || self.local.is_some() {
            return Ok(None);
        }
        let found = self.running().await?;
        if found.is_some() || !self.is_a_chat_s || self.data.running().is_some() {
            return Ok(found);
        }
        // Another chat may be faster; then its server is found next time.
        Ok(self.own().await.ok())
    }

    /// Ends our own server, where there is one. What is unfinished goes on at its next start.
    pub(crate) async fn leave(self) {
        if let Some(local) = self.local {
            local.stop().await;
        }
    }

    async fn running(&mut self) -> Outcome<Option<Client>> {
        let announced = self.data.running();
        let found = find_running(&self.remote, &self.data).await?;
        if found.is_some() {
            self.is_a_chat_s = announced.is_some_and(|running| running.is_a_chat_s);
        }
        Ok(found)
    }

    async fn own(&mut self) -> Outcome<Client> {
        let local = Local::start(self.context).await?;
        let client = local.client()?;
        self.local = Some(local);
        Ok(client)
    }
}
