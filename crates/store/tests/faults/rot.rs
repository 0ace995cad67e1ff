//! Bits that turn on the disk: noticed, and nobody else's business.

use std::fs;

use moongate_core::{Store, StoreAdmin, StoreError};
use moongate_protocol::Seq;
use moongate_store::{OpenError, SqliteStore};

use crate::{copy_as_after_a_crash, database, stranger, talk, tenant};

/// Bits turned, one after the other, in the short form of the test.
const FLIPS: u64 = 400;

#[tokio::test]
async fn a_damaged_append_is_its_own_sessions_trouble_only() {
    for damage in [
        "UPDATE log SET body = replace(body, 'answer', 'Answer') WHERE id = ?1",
        "UPDATE log SET body = body || ' ' WHERE id = ?1",
        "UPDATE log SET sum = sum + 1 WHERE id = ?1",
        "UPDATE log SET first = first - 1 WHERE id = ?1",
        "UPDATE log SET first = first + 1 WHERE id = ?1",
        "UPDATE log SET last = last + 100 WHERE id = ?1",
        "UPDATE log SET session = session + 1000 WHERE id = ?1",
        "DELETE FROM log WHERE id = ?1",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).unwrap();
        let scribes = talk(&store, &tenant(), 4, 3).await;
        let hurt = &scribes[1];
        let raw = stranger(folder.path());
        let row: i64 = raw
            .query_row(
                "SELECT l.id FROM log l JOIN session s ON s.no = l.session WHERE s.id = ?1 \
                 AND l.body LIKE '%answer%' LIMIT 1",
                [hurt.id.bits().to_be_bytes()],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(raw.execute(damage, [row]).unwrap(), 1);
        let read = store.read(hurt.id, Seq::ZERO, usize::MAX).await;
        assert!(matches!(read, Err(StoreError::Damaged(_))), "{damage}: {read:?}");
        let others: Vec<_> = scribes.iter().filter(|scribe| scribe.id != hurt.id).collect();
        let last = others[2];
        for other in &others[..2] {
            assert_eq!(other.read_all(&*store).await, other.written, "{damage}");
        }
        let report = store.check().await.unwrap();
        let named: Vec<_> = report.faults.iter().filter_map(|(session, _)| *session).collect();
        assert!(named.contains(&hurt.id), "{damage}: {report:?}");
        assert!(named.iter().all(|id| *id == hurt.id || *id == last.id), "{damage}: {report:?}");
        // What is still to be said is not lost.
        let mut hurt = hurt.clone();
        crate::say(&store, &mut hurt).await;
    }
}

#[tokio::test]
async fn a_turned_bit_is_noticed_or_harmless_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let scribes = talk(&store, &tenant(), 12, 6).await;
    store.close().await;
    drop(store);
    let clean = fs::read(database(folder.path())).unwrap();
    let (mut refused, mut damaged, mut harmless) = (0, 0, 0);
    for flip in 0..FLIPS {
        // A multiplicative hash spreads the places over the file, the same ones on every run.
        let bit = flip.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (clean.len() as u64 * 8);
        let mut bytes = clean.clone();
        bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        let copy = tempfile::tempdir().unwrap();
        copy_as_after_a_crash(folder.path(), copy.path());
        fs::write(database(copy.path()), bytes).unwrap();
        let store = match SqliteStore::open(copy.path()) {
            Ok(store) => store,
            Err(OpenError::Locked { .. }) => panic!("nobody else has it"),
            Err(_) => {
                refused += 1;
                continue;
            }
        };
        let mut hurt = false;
        for scribe in &scribes {
            match store.read(scribe.id, Seq::ZERO, usize::MAX).await {
                Ok(records) => {
                    let texts: Vec<_> = records.iter().map(|record| said(record.json())).collect();
                    let written: Vec<_> = scribe.written.iter().map(|text| said(text.as_bytes())).collect();
                    assert_eq!(texts, written, "bit {bit} changed a log and nobody noticed");
                }
                Err(_) => hurt = true,
            }
        }
        if hurt { damaged += 1 } else { harmless += 1 }
    }
    assert!(damaged > 0 && harmless > 0, "{refused} refused, {damaged} noticed, {harmless} harmless");
}

/// An event without its epoch: another epoch makes followers start over, which harms nobody.
fn said(event: &[u8]) -> String {
    let event = std::str::from_utf8(event).unwrap();
    event.split_once(",\"seq\"").map(|(_, rest)| rest.to_owned()).unwrap()
}
