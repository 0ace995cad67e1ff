//! What each door costs beside the native one, in the same run and of the same server.

use super::{
    figure::{Figure, Goal},
    load::{self, Door, FOLLOWED, Run, Transport},
    measures::Rounds,
    stage::{MODEL, Stage},
};
use crate::shell::Failed;

/// What a door may cost of what the native one does.
const ALLOWED: Goal = Goal::RatioAtMost(1.3);
/// Clients of the measure with many.
const MANY: usize = 64;
/// Rounds of each door, and how much of a measure's time each has: there are many doors.
const ROUNDS_MOST: usize = 3;
const SHARE: f64 = 0.5;
/// Followers of one session.
const FOLLOWERS: usize = 2_000;
/// Tokens of the answers that those who do not read are sent: twelve of them are more than all that may wait.
const LONG: usize = 50_000;

/// A way in.
struct Way {
    name: &'static str,
    door: Door,
    transport: Transport,
}

/// The one the others are held against.
const NATIVE: Way = Way { name: "native, SSE", door: Door::Native, transport: Transport::Sse };

const OTHERS: [Way; 7] = [
    Way { name: "native, WebSocket", door: Door::Native, transport: Transport::Ws },
    Way { name: "Oxios, WebSocket", door: Door::Oxios, transport: Transport::Ws },
    Way { name: "Construct, WebSocket", door: Door::Construct, transport: Transport::Ws },
    Way { name: "orra, WebSocket", door: Door::Orra, transport: Transport::Ws },
    Way { name: "chat completions, SSE", door: Door::Chat, transport: Transport::Sse },
    Way { name: "responses, SSE", door: Door::Responses, transport: Transport::Sse },
    Way { name: "responses, WebSocket", door: Door::Responses, transport: Transport::Ws },
];

/// The doors' sockets besides the native one's.
const SOCKETS: [(&str, Door); 4] = [
    ("Oxios", Door::Oxios),
    ("Construct", Door::Construct),
    ("orra", Door::Orra),
    ("responses", Door::Responses),
];

/// The time to the first token and the processor time of a turn through each door, beside the native one's.
pub(super) fn turns(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let (moongate, _) = stage.moongate(None, None)?;
    let mut figures = Vec::new();
    for clients in [1, MANY] {
        let ways: Vec<&Way> = [&NATIVE].into_iter().chain(&OTHERS).collect();
        let mut rounds: Vec<Rounds> = ways.iter().map(|_| Rounds::default()).collect();
        for _ in 0..stage.effort.rounds.min(ROUNDS_MOST) {
            for (way, rounds) in ways.iter().zip(&mut rounds) {
                let (seconds, model) = (stage.effort.seconds * SHARE, MODEL);
                let (door, transport) = (way.door, way.transport);
                let run = Run { clients, seconds, transport, door, model, flush_count: None };
                rounds.0.push(load::turns(stage, &moongate, run)?);
            }
        }
        for (way, door) in ways.iter().zip(&rounds).skip(1) {
            // Among many the time is that of waiting for the processor, which the other figure has.
            let (name, unit, of): (_, _, fn(&load::Turns) -> Option<f64>) = match clients {
                1 => ("added time to first token, p50", "ms", load::Turns::first_ms),
                _ => ("CPU a turn, 64 sessions", "ms", load::Turns::cpu_ms),
            };
            let figure =
                Figure::new(format!("{name}, {} (beside: {})", way.name, NATIVE.name), unit, door.middle(of));
            figures.push(figure.beside(rounds[0].middle(of)).wanted(ALLOWED));
        }
    }
    Ok(figures)
}

/// Memory of each door's sockets to whom nothing happens.
pub(super) fn idle(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (name, door) in SOCKETS {
        let (moongate, _) = stage.moongate(None, None)?;
        let clients = stage.effort.idle_clients;
        let idle = load::idle(stage, &moongate, (door, Transport::Ws), clients)?;
        let figure =
            Figure::new(format!("memory of an idle socket, {name}"), "KiB", Some(idle.kib_per_client));
        figures.push(figure.wanted(Goal::AtMost(12.0)));
    }
    Ok(figures)
}

/// Memory of each door's sockets that do not read what they are sent, and what another one notices of them.
pub(super) fn slow(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    let doors = [
        ("native", Door::Native),
        ("Oxios", Door::Oxios),
        ("Construct", Door::Construct),
        ("orra", Door::Orra),
    ];
    for (name, door) in doors {
        let (moongate, _) = stage.moongate_with(&format!("mock-{LONG}t-0ms"), None, None)?;
        let slow = load::slow(stage, &moongate, door, LONG)?;
        let sent = format!("{:.0} MB sent", slow.sent_mb);
        let memory = Figure::new(
            format!("memory of a socket that does not read, {name}, {sent}"),
            "MiB",
            Some(slow.mib_per_socket),
        );
        let time = Figure::new(
            format!("a turn beside 16 that do not read, {name} (beside: alone)"),
            "ms",
            Some(slow.beside_ms),
        );
        figures.push(memory.wanted(Goal::AtMost(4.0)));
        figures.push(time.beside(Some(slow.alone_ms)).wanted(ALLOWED));
    }
    Ok(figures)
}

/// Whether many followers of one session see the same, and what one more of them costs.
pub(super) fn followers(stage: &Stage) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (name, door) in [("native", Door::Native), ("Construct", Door::Construct), ("orra", Door::Orra)] {
        let (moongate, _) = stage.moongate_with(FOLLOWED, None, None)?;
        let seen = load::followers(stage, &moongate, door, FOLLOWERS)?;
        if seen.alike < seen.followers {
            let (alike, all) = (seen.alike, seen.followers);
            return Err(Failed::new(format!("{name}: of {all} followers {alike} saw every frame once")));
        }
        let name = format!("CPU of one more follower a frame, {name}, {FOLLOWERS} on one session");
        figures.push(Figure::new(name, "µs", Some(seen.cpu_us_per_frame)).wanted(Goal::AtMost(20.0)));
    }
    Ok(figures)
}
