//! F12: clients follow running turns as event streams and over WebSockets, drop off at random moments and come
//! back. None misses or repeats anything.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::{
    Campaign, Outcome, Verdict,
    api::{Api, Frame, Stream},
    ledger::Ledger,
    place::Place,
    socket::Socket,
    view::View,
    wait::Chance,
};
use crate::shell::Failed;

const SESSIONS: usize = 8;
const TURN: &str = "/slow 4\n/long 150";
const TURNS: usize = 4;
/// Most frames a client reads before it drops off.
const FRAMES: u64 = 120;
const PATIENCE: Duration = Duration::from_secs(90);

/// How a client follows.
#[derive(Clone, Copy)]
enum Way {
    Stream,
    Socket,
}

/// A connection that follows.
enum Link {
    Stream(Stream),
    Socket(Socket),
}

impl Link {
    fn open(way: Way, api: &Api, session: &str, after: Option<&str>) -> io::Result<Self> {
        match way {
            Way::Stream => api.follow(session, after).map(Self::Stream),
            Way::Socket => Socket::follow(api, session, after).map(Self::Socket),
        }
    }

    fn next(&mut self) -> io::Result<Option<Frame>> {
        match self {
            Self::Stream(stream) => stream.next(),
            Self::Socket(socket) => socket.next(),
        }
    }
}

pub(super) fn reconnecting_misses_nothing(campaign: &Campaign) -> Outcome {
    let place = Place::new(campaign)?;
    let (server, api) = place.serve()?;
    let (mut ledger, mut sessions) = (Ledger::default(), Vec::new());
    for number in 0..SESSIONS {
        let session = api.create_session().map_err(|e| Failed::new(e.to_string()))?;
        for turn in 0..TURNS {
            ledger.say(&api, &session, &format!("{number}-{turn}"), TURN)?;
        }
        sessions.push(session);
    }
    let count = campaign.rounds(200, 1000);
    let mut chance = Chance::new(campaign.seed);
    let clients: Vec<Result<(View, usize), Failed>> = thread::scope(|scope| {
        let start = |number: usize| {
            let (api, session) = (&api, &sessions[number % SESSIONS]);
            let chance = Chance::new(chance.below(u64::MAX));
            // Sessions and ways change at different paces: each session is followed both ways.
            let way = if (number / SESSIONS).is_multiple_of(2) { Way::Stream } else { Way::Socket };
            scope.spawn(move || follow(way, api, session, chance))
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Failed::new("a panic"))))
            .collect()
    });
    let tally = ledger.verify(&api)?;
    let logs: Result<Vec<_>, _> = sessions.iter().map(|session| api.log(session)).collect();
    let logs = logs.map_err(|e| Failed::new(e.to_string()))?;
    let (mut connections, mut deltas) = (0, 0);
    for (number, client) in clients.into_iter().enumerate() {
        let (view, times) = client?;
        let log = &logs[number % SESSIONS];
        view.verify(log)?;
        if view.events.len() != log.len() {
            return Err(Failed::new("a client stopped before the end"));
        }
        connections += times;
        deltas += view.deltas;
    }
    server.stop()?;
    Ok(Verdict::Passed(format!(
        "{count} clients, streams and sockets, over {connections} connections, {deltas} deltas: no gap, no repeat; {tally}"
    )))
}

/// Follows a session to the end of its turns, over as many connections as chance wants.
fn follow(way: Way, api: &Api, session: &str, mut chance: Chance) -> Result<(View, usize), Failed> {
    let (mut view, mut connections) = (View::default(), 0);
    let began = Instant::now();
    while view.ended_turns < TURNS {
        if began.elapsed() > PATIENCE {
            return Err(Failed::new(format!("{} turns ended in {PATIENCE:?}", view.ended_turns)));
        }
        connections += 1;
        let frames = chance.below(FRAMES);
        let link = Link::open(way, api, session, view.position().as_deref());
        let read = link.and_then(|link| some_frames(link, &mut view, frames));
        read.map_err(|e| Failed::new(format!("connection {connections}: {e}")))?;
    }
    Ok((view, connections))
}

fn some_frames(mut link: Link, view: &mut View, count: u64) -> io::Result<()> {
    for _ in 0..=count {
        let Some(frame) = link.next()? else { return Ok(()) };
        view.take(frame);
        if view.ended_turns == TURNS {
            return Ok(());
        }
    }
    Ok(())
}
