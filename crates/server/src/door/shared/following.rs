//! Several sessions followed at once, each under the door's own name for it.

use std::{collections::HashMap, hash::Hash, mem, pin::Pin, sync::Arc};

use futures_util::{
    StreamExt as _,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use moongate_core::{Follower, Frame, StoreError};

type Step<K> = Pin<Box<dyn Future<Output = (Following<K>, Result<(), StoreError>)> + Send>>;

/// Sessions that are followed.
pub(crate) struct Followings<K> {
    waiting: FuturesUnordered<Abortable<Step<K>>>,
    handles: HashMap<K, AbortHandle>,
}

struct Following<K> {
    key: K,
    follower: Follower,
    frames: Vec<Arc<Frame>>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Followings<K> {
    pub(crate) fn new() -> Self {
        Self { waiting: FuturesUnordered::new(), handles: HashMap::new() }
    }

    /// Follows one more, in the place of the one of the same name.
    pub(crate) fn follow(&mut self, key: K, follower: Follower) {
        self.stop(&key);
        self.wait(Following { key, follower, frames: Vec::new() });
    }

    /// Follows it no longer.
    pub(crate) fn stop(&mut self, key: &K) {
        if let Some(handle) = self.handles.remove(key) {
            handle.abort();
        }
    }

    /// How many are followed.
    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// The next frames of any of them, in its order; never, when none is followed. One that cannot be read is
    /// not followed any more. Cancel-safe.
    pub(crate) async fn next(&mut self) -> (K, Result<Vec<Arc<Frame>>, StoreError>) {
        loop {
            let Some(step) = self.waiting.next().await else { std::future::pending().await };
            let Ok((mut following, result)) = step else { continue };
            let key = following.key.clone();
            if let Err(error) = result {
                self.handles.remove(&key);
                return (key, Err(error));
            }
            let frames = mem::take(&mut following.frames);
            self.wait(following);
            return (key, Ok(frames));
        }
    }

    fn wait(&mut self, mut following: Following<K>) {
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(following.key.clone(), handle);
        let step: Step<K> = Box::pin(async move {
            let result = following.follower.next(&mut following.frames).await;
            (following, result)
        });
        self.waiting.push(Abortable::new(step, registration));
    }
}
