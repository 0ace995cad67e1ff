//! `view_image`.

use moongate_core::{PromptMessage, blob_hash};
use moongate_protocol::{Event, Part};
use moongate_testkit::{Script, says};
use serde_json::json;

use crate::World;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

#[tokio::test(start_paused = true)]
async fn the_model_is_shown_an_image_and_its_bytes_are_kept() {
    let world = World::new().await;
    world.put("shot.dat", PNG);
    let session = world.kit.session().await;
    let mut client = world.kit.client(session.id()).await;
    world.kit.model().push([Script::calls(&[("view_image", json!({"path": "shot.dat"}))])]);
    session.submit(says("go")).await.unwrap();
    let finished = client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    client.until_turn_ends().await;
    let Event::ToolFinished(finished) = finished.event else { unreachable!("it was asked for") };
    let [Part::Text { text }, Part::Image { blob }] = &finished.content[..] else { panic!("{finished:?}") };
    assert_eq!(text, "shot.dat: image/png, 18 bytes");
    assert_eq!((blob.hash, &*blob.media_type, blob.bytes), (blob_hash(PNG), "image/png", 18));
    // The next model call has it, with its bytes.
    let requests = world.kit.model().requests();
    let last = requests.last().unwrap();
    assert_eq!(last.attachments.get(&blob.hash).map(|bytes| &bytes[..]), Some(PNG));
    let shown = last.messages.iter().any(|message| {
        matches!(&***message, PromptMessage::ToolResult { content, .. } if content.contains(&finished.content[1]))
    });
    assert!(shown, "the result holds the image");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_image_is_not_shown() {
    let world = World::new().await;
    world.put("lies.png", "<svg onload=alert(1)>");
    let refused = world.refused("view_image", json!({"path": "lies.png"})).await;
    assert_eq!(refused, "Not done: lies.png is no PNG, JPEG, GIF or WebP image.");
    let mut large = PNG.to_vec();
    large.resize(3_750_001, 0);
    world.put("large.png", large);
    let refused = world.refused("view_image", json!({"path": "large.png"})).await;
    assert!(refused.contains("3750001 bytes"), "{refused}");
}
