//! The wall between tenants, between owners, and around narrowed keys.

use moongate_core::{Caller, CallerLimits, ListQuery, NewSession, Refusal, Scope};
use moongate_protocol::{Alias, ErrorCode, SessionId};
use moongate_testkit::{Setup, TestGateway, admin, bob, caller, narrowed, says};

/// A session of bob's in `user:bob`, with an alias, a conversation and the answer of a stranger who looks for it.
async fn bobs_session(kit: &TestGateway) -> SessionId {
    let new = NewSession {
        alias: Some("diary".parse().unwrap()),
        title: Some("zebra".into()),
        ..NewSession::default()
    };
    let id = kit.gateway().create(&bob(), "native", new).await.unwrap().view.id;
    let mut client = kit.client(id).await;
    kit.open(id).await.submit(says("walrus")).await.unwrap();
    client.until_turn_ends().await;
    id
}

/// What somebody who may not see a session gets when they ask for it in every way there is.
async fn ask(kit: &TestGateway, who: &Caller, id: SessionId) -> Vec<Refusal> {
    let gateway = kit.gateway();
    let alias: Alias = "diary".parse().unwrap();
    let mut refused = vec![
        gateway.session(who, id).await.err().unwrap(),
        gateway.by_alias(who, "native", &alias).await.err().unwrap(),
    ];
    for text in [None, Some("zebra"), Some("walrus")] {
        let query = ListQuery { limit: 10, text: text.map(str::to_owned), ..ListQuery::default() };
        match gateway.list(who, query).await {
            Ok(page) => assert_eq!((page.items, page.more), (vec![], false), "{text:?}"),
            Err(refusal) => refused.push(refusal),
        }
    }
    let mine = ListQuery { limit: 10, owner: Some("bob".parse().unwrap()), ..ListQuery::default() };
    if let Ok(page) = gateway.list(who, mine).await {
        assert_eq!(page.items, []);
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ones_own_is_not_there() {
    let kit = Setup::default().start().await;
    let id = bobs_session(&kit).await;
    let everything = [Scope::Admin];
    let rights = [Scope::SessionsRead, Scope::SessionsWrite];
    let agents = CallerLimits { agents: vec!["other".parse().unwrap()], ..CallerLimits::default() };
    let beside = CallerLimits {
        namespaces: vec!["user:bo".parse().unwrap(), "user:bob:x".parse().unwrap()],
        ..CallerLimits::default()
    };
    let strangers = [
        ("another owner", caller("default", "eve")),
        ("the same name in another tenant", caller("acme", "bob")),
        ("the administrator of another tenant", narrowed("acme", "admin", &everything, Default::default())),
        ("a key narrowed to another agent", narrowed("default", "bob", &rights, agents.clone())),
        ("an admin key narrowed to another agent", narrowed("default", "admin", &everything, agents)),
        ("a key narrowed to other namespaces", narrowed("default", "bob", &rights, beside.clone())),
        ("an admin key narrowed to other namespaces", narrowed("default", "admin", &everything, beside)),
    ];
    let nowhere = SessionId::from_bits(id.bits() ^ 1);
    for (who, stranger) in strangers {
        for refused in ask(&kit, &stranger, id).await {
            assert_eq!(refused.code, ErrorCode::NotFound, "{who}");
            let missing = kit.gateway().session(&stranger, nowhere).await.err().unwrap();
            assert_eq!(refused, missing, "{who} cannot tell it from one that does not exist");
        }
    }
    let rightless = narrowed("default", "bob", &[Scope::UsageRead], Default::default());
    for refused in ask(&kit, &rightless, id).await {
        assert_eq!(refused.code, ErrorCode::Forbidden);
    }
    assert_eq!(kit.gateway().session(&admin(), id).await.unwrap().id(), id);
}

#[tokio::test(start_paused = true)]
async fn a_narrowed_key_works_where_it_may_and_makes_nothing_elsewhere() {
    let kit = Setup::default().start().await;
    let rights = [Scope::SessionsRead, Scope::SessionsWrite];
    let limits = CallerLimits {
        namespaces: vec!["project:moon".parse().unwrap()],
        agents: vec!["main".parse().unwrap()],
        ..CallerLimits::default()
    };
    let bot = narrowed("default", "bot", &rights, limits);
    let within =
        |namespace: &str| NewSession { namespace: Some(namespace.parse().unwrap()), ..NewSession::default() };
    for namespace in ["project:moon", "project:moon:crater"] {
        let id = kit.gateway().create(&bot, "native", within(namespace)).await.unwrap().view.id;
        kit.gateway().session(&bot, id).await.unwrap().submit(says("hi")).await.unwrap();
    }
    for new in [within("project"), within("project:moonshine"), NewSession::default()] {
        let refused = kit.gateway().create(&bot, "native", new).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Forbidden);
    }
    let page = kit.gateway().list(&bot, ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap();
    assert_eq!(page.items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_import_stays_within_what_a_narrowed_key_may_see() {
    let kit = Setup::default().start().await;
    let id = bobs_session(&kit).await;
    let log = kit.log(id).await;
    let imported = kit.gateway().import(&caller("acme", "eve"), log).await.unwrap().view;
    assert_eq!(imported.owner.as_str(), "eve");
    assert!(imported.alias.is_none());
    assert!(kit.gateway().session(&bob(), imported.id).await.is_err(), "it is behind eve's wall");
    let found = kit.disk().search(&"acme".parse().unwrap(), "walrus", 10).await.unwrap();
    assert!(found.iter().all(|hit| hit.session == imported.id));
}

/// A caller with a key that was granted these namespaces.
fn granted(principal: &str, namespaces: &[&str]) -> Caller {
    let namespaces = namespaces.iter().map(|name| name.parse().unwrap()).collect();
    let limits = CallerLimits { namespaces, ..CallerLimits::default() };
    narrowed("default", principal, &[Scope::SessionsRead, Scope::SessionsWrite], limits)
}

#[tokio::test(start_paused = true)]
async fn a_shared_session_belongs_to_whoever_was_granted_its_namespace() {
    let kit = Setup::default().start().await;
    let gateway = kit.gateway();
    let new = |namespace: &str| NewSession {
        namespace: Some(namespace.parse().unwrap()),
        alias: Some(format!("shared/{namespace}").parse().unwrap()),
        shared: true,
        ..NewSession::default()
    };
    let ann = granted("ann", &["tenant:acme"]);
    let id = gateway.create(&ann, "orra", new("tenant:acme:x")).await.unwrap().view.id;
    gateway.session(&ann, id).await.unwrap().submit(says("hi")).await.unwrap();
    for who in [
        granted("ben", &["tenant:acme"]),
        granted("eve", &["other", "*"]),
        granted("joe", &["tenant:acme:x"]),
    ] {
        let found = gateway.create(&who, "orra", new("tenant:acme:x")).await.unwrap();
        assert!(found.existed && found.view.id == id, "{}", who.principal());
        gateway.session(&who, id).await.unwrap().submit(says("hi")).await.unwrap();
    }
    // Neither a key that is granted nothing, nor one beside it, above it or of another tenant.
    let strangers = [
        bob(),
        granted("ann", &["tenant:acme2", "tenant:beta"]),
        granted("ann", &["tenant:acme:x:y"]),
        narrowed(
            "elsewhere",
            "ann",
            &[Scope::SessionsRead],
            CallerLimits { namespaces: vec!["*".parse().unwrap()], ..CallerLimits::default() },
        ),
    ];
    for who in strangers {
        assert_eq!(gateway.session(&who, id).await.err().unwrap().code, ErrorCode::NotFound, "{who:?}");
        assert!(gateway.create(&who, "orra", new("tenant:acme:x")).await.is_err(), "{who:?}");
    }
}
