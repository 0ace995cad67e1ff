//! The newest events of one key, for subscribers that are behind or come back. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

/// Events kept: a subscriber further behind starts anew.
pub(super) const KEPT: usize = 1_024;

/// The newest events, each with its number on the wire.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<(u64, Bytes)>,
    /// Events that were dropped or missed before the first kept one.
    gone: u64,
}

/// What a subscriber is told next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing yet.
    None,
    /// These events.
    Events(Vec<Bytes>),
    /// So many were missed; the newest come next.
    Missed(u64),
}

/// Where a subscriber stands: events before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Ring {
    /// Adds an event.
    pub(super) fn push(&mut self, seq: u64, event: Bytes) {
        self.events.push_back((seq, event));
        if self.events.len() > KEPT {
            self.events.pop_front();
            self.gone += 1;
        }
    }

    /// So many events never got here.
    pub(super) fn miss(&mut self, count: u64) {
        self.gone += self.events.len() as u64 + count;
        self.events.clear();
    }

    /// The place after everything.
    pub(super) fn end(&self) -> Place {
        Place(self.gone + self.events.len() as u64)
    }

    /// The place after an event, if it is still kept.
    pub(super) fn after(&self, seq: u64) -> Option<Place> {
        let at = self.events.binary_search_by_key(&seq, |(known, _)| *known).ok()?;
        Some(Place(self.gone + at as u64 + 1))
    }

    /// What comes at a place; it moves on.
    pub(super) fn read(&self, place: &mut Place) -> News {
        if place.0 < self.gone {
            let missed = self.gone - place.0;
            *place = Place(self.gone);
            return News::Missed(missed);
        }
        let from = usize::try_from(place.0 - self.gone).unwrap_or(usize::MAX);
        let events: Vec<_> = self.events.iter().skip(from).map(|(_, event)| event.clone()).collect();
        if events.is_empty() {
            return News::None;
        }
        *place = self.end();
        News::Events(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Bytes {
        Bytes::from(seq.to_string())
    }

    fn filled(count: u64) -> Ring {
        let mut ring = Ring::default();
        (1..=count).for_each(|seq| ring.push(seq, event(seq)));
        ring
    }

    #[test]
    fn a_subscriber_gets_each_event_once_and_a_word_when_it_missed_some() {
        let mut ring = filled(3);
        let mut place = ring.end();
        assert_eq!(ring.read(&mut place), News::None);
        ring.push(4, event(4));
        assert_eq!(ring.read(&mut place), News::Events(vec![event(4)]));
        assert_eq!(ring.read(&mut place), News::None);
        (5..=4 + KEPT as u64 + 2).for_each(|seq| ring.push(seq, event(seq)));
        assert_eq!(ring.read(&mut place), News::Missed(2));
        assert!(matches!(ring.read(&mut place), News::Events(events) if events.len() == KEPT));
        ring.miss(7);
        ring.push(9_999, event(9_999));
        assert_eq!(ring.read(&mut place), News::Missed(7));
        assert_eq!(ring.read(&mut place), News::Events(vec![event(9_999)]));
    }

    #[test]
    fn coming_back_goes_on_after_the_last_event_or_not_at_all() {
        let ring = filled(KEPT as u64 + 10);
        let mut place = ring.after(KEPT as u64 + 8).unwrap();
        assert!(matches!(ring.read(&mut place), News::Events(events) if events.len() == 2));
        assert_eq!(ring.after(3), None);
        assert_eq!(ring.after(99_999), None);
    }
}
