//! Sessions nobody came back to.

use std::time::Duration;

use moongate_core::{NewSession, Prune, SessionHandle};
use moongate_protocol::SessionId;
use moongate_testkit::{Gate, Script, Setup, TestGateway, bob, caller, says};
use tokio::runtime::Handle;

fn rule(is_spared: &(dyn Fn(SessionId) -> bool + Sync)) -> Prune<'_> {
    Prune { door: "oxios".into(), most: 1, before: None, is_spared }
}

async fn opened(kit: &TestGateway, who: &str, door: &str) -> SessionHandle {
    kit.clock().advance(Duration::from_secs(1));
    let who = caller("default", who);
    let made = kit.gateway().create(&who, door, NewSession::default()).await.unwrap();
    kit.gateway().session(&who, made.view.id).await.unwrap()
}

async fn is_there(kit: &TestGateway, session: &SessionHandle) -> bool {
    kit.gateway().store().session(session.id()).await.unwrap().is_some()
}

#[tokio::test]
async fn what_is_too_old_or_too_many_goes_and_what_somebody_needs_stays() {
    let kit = Setup::default().start().await;
    let busy = opened(&kit, "bob", "oxios").await;
    let spared = opened(&kit, "bob", "oxios").await;
    let native = opened(&kit, "bob", "native").await;
    let hers = opened(&kit, "eve", "oxios").await;
    let old = opened(&kit, "bob", "oxios").await;
    let new = opened(&kit, "bob", "oxios").await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    kit.clock().advance(Duration::from_secs(1));
    busy.submit(says("hi")).await.unwrap();
    gate.reached().await;
    let is_spared = |session| session == spared.id();
    // The busy one is the newest now: it is the one that may stay anyway.
    assert_eq!(kit.gateway().prune(&bob(), &rule(&is_spared)).await.unwrap(), 2);
    for (session, stays) in
        [(&busy, true), (&spared, true), (&native, true), (&hers, true), (&old, false), (&new, false)]
    {
        assert_eq!(is_there(&kit, session).await, stays);
    }
    kit.clock().advance(Duration::from_secs(60));
    let nobody = |_| false;
    let before = Some(kit.gateway().ids().now());
    let all = Prune { most: 0, before, ..rule(&nobody) };
    // Everybody's now, and still not what runs.
    assert_eq!(kit.gateway().prune_everybodys(&all).await.unwrap(), 2);
    assert!(is_there(&kit, &busy).await && is_there(&kit, &native).await && !is_there(&kit, &hers).await);
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_used_while_it_is_looked_at_stays() {
    let kit = Setup::default().start().await;
    let old = opened(&kit, "bob", "oxios").await;
    opened(&kit, "bob", "oxios").await;
    let handle = Handle::current();
    // Asked about a session that was found idle, and before it is removed.
    let used_meanwhile = |session| {
        if session == old.id() {
            // On a thread of its own: the one that asks waits for the answer.
            let uses = async {
                kit.clock().advance(Duration::from_secs(1));
                old.submit(says("still here")).await.unwrap();
                kit.client(old.id()).await.until_turn_ends().await;
            };
            std::thread::scope(|threads| threads.spawn(|| handle.block_on(uses)).join().unwrap());
        }
        false
    };
    assert_eq!(kit.gateway().prune(&bob(), &rule(&used_meanwhile)).await.unwrap(), 0);
    assert!(is_there(&kit, &old).await);
}
