//! The same submission sent again.

use moongate_core::Accepted;
use moongate_protocol::{ErrorCode, Event, Idempotency, KeySpace, NewInput};
use moongate_testkit::{Gate, Script, Setup, says};

fn keyed(text: &str, key: &str) -> NewInput {
    let mut body_hash = [0; 32];
    body_hash[..text.len()].copy_from_slice(text.as_bytes());
    let idempotency = Some(Idempotency {
        key: key.parse().unwrap(),
        body_hash,
        space: KeySpace::Session,
        instead_of: None,
    });
    NewInput { idempotency, ..says(text) }
}

/// What a submission that was made before is answered, given what it was answered then.
fn again(first: &Accepted) -> Accepted {
    Accepted { again: true, ..first.clone() }
}

#[tokio::test(start_paused = true)]
async fn a_submission_sent_again_gets_the_same_answer_and_changes_nothing() {
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    let mut answers: Vec<(NewInput, Accepted)> = Vec::new();
    for (text, key) in [("one", "a"), ("two", "b"), ("three", "c")] {
        let input = keyed(text, key);
        answers.push((input.clone(), session.submit(input).await.unwrap()));
    }
    assert_eq!(answers.iter().map(|(_, answer)| answer.queue_length).collect::<Vec<_>>(), [0, 1, 2]);
    for (input, answer) in &answers {
        assert_eq!(session.submit(input.clone()).await.unwrap(), again(answer), "while the turn runs");
    }
    gate.open();
    client.until_turns_end(3).await;
    for (input, answer) in &answers {
        assert_eq!(
            session.submit(input.clone()).await.unwrap(),
            again(answer),
            "when the queue is empty again"
        );
    }
    kit.restart().await;
    let session = kit.open(session.id()).await;
    for (input, answer) in &answers {
        assert_eq!(session.submit(input.clone()).await.unwrap(), again(answer), "after a restart");
    }
    let log = kit.log(session.id()).await;
    assert_eq!(log.len(), client.view.events.len());
    assert_eq!(log.iter().filter(|e| matches!(e.event, Event::InputAccepted(_))).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_used_for_another_body_is_refused() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    session.submit(keyed("one", "a")).await.unwrap();
    let refused = session.submit(keyed("other", "a")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::IdempotencyMismatch);
    let other = kit.session().await;
    other.submit(keyed("other", "a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_many_copies_sent_at_once_one_is_carried_out() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let copies = (0..50).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { session.submit(keyed("hi", "same")).await })
    });
    let mut answers = Vec::new();
    for copy in copies.collect::<Vec<_>>() {
        answers.push(copy.await.unwrap().unwrap());
    }
    assert!(answers.windows(2).all(|pair| again(&pair[0]) == again(&pair[1])), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.again).count(), 1, "{answers:?}");
    client.until_turn_ends().await;
    let accepted = client.view.kinds().into_iter().filter(|kind| *kind == "input.accepted").count();
    assert_eq!((accepted, kit.model().requests().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_submission_may_be_sent_again_under_its_key() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    kit.store().refuse(Some(|| moongate_core::StoreError::DiskFull));
    let refused = session.submit(keyed("hi", "a")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskFull);
    kit.store().refuse(None);
    session.submit(keyed("hi", "a")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_reached_the_disk_unanswered_is_found_after_the_restart() {
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    kit.store().die_at(2, moongate_testkit::Death::After);
    let unanswered = tokio::spawn({
        let session = session.clone();
        async move { session.submit(keyed("hi", "a")).await }
    });
    kit.store().died().await;
    kit.restart().await;
    unanswered.abort();
    let session = kit.open(session.id()).await;
    let mut client = kit.client(session.id()).await;
    session.submit(keyed("hi", "a")).await.unwrap();
    client.until_turn_ends().await;
    let accepted = client.view.kinds().into_iter().filter(|kind| *kind == "input.accepted").count();
    assert_eq!(accepted, 1);
}
