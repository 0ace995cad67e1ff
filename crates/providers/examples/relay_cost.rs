//! Measures what relaying one answer costs: calls at a fixed concurrency against a server that speaks the three
//! wires (`mockllm` of the benchmark folder), and the CPU time of this process per call.
//!
//! `relay_cost ADDRESS [CALLS] [CONCURRENCY] [MODEL] [HISTORY]`
#![expect(clippy::print_stdout, reason = "a program that prints its result")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use moongate_core::{Model, ModelRequest, Models, Piece, PromptMessage};
use moongate_protocol::Part;
use moongate_providers::{PriceTable, ProviderConfig, Registry, Wire};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address =
        arguments.next().ok_or("usage: relay_cost ADDRESS [CALLS] [CONCURRENCY] [MODEL] [HISTORY]")?;
    let calls: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let concurrency: usize = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let model = arguments.next().unwrap_or_else(|| "mock-20t-0ms".to_owned());
    let history: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        for wire in Wire::ALL {
            let endpoint = format!("http://{address}/v1").parse()?;
            let config = ProviderConfig::new("mock", wire, endpoint);
            let registry =
                Registry::new([config], PriceTable::default()).map_err(|faults| faults[0].clone())?;
            let model = registry.get(&format!("mock/{model}").parse()?).ok_or("no model")?;
            run(&model, concurrency, concurrency, history).await?;
            let (cpu, wall) = (cpu_micros()?, Instant::now());
            let pieces = run(&model, calls, concurrency, history).await?;
            let (cpu, wall) = (cpu_micros()? - cpu, wall.elapsed());
            let per_call = cpu / f64::from(u32::try_from(calls)?);
            let rate = f64::from(u32::try_from(calls)?) / wall.as_secs_f64();
            println!(
                "{:17} {per_call:6.1} µs CPU a call, {rate:7.0} calls/s, {:.2} pieces a call",
                wire.as_str(),
                f64::from(u32::try_from(pieces)?) / f64::from(u32::try_from(calls)?),
            );
        }
        Ok(())
    }))
}

async fn run(
    model: &Arc<dyn Model>,
    calls: usize,
    concurrency: usize,
    history: usize,
) -> Result<usize, Box<dyn Error>> {
    let left = Arc::new(AtomicUsize::new(calls));
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (model, left) = (Arc::clone(model), Arc::clone(&left));
            tokio::task::spawn_local(async move {
                let mut count = 0;
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    count += call(&model, history).await?;
                }
                Ok::<_, String>(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count)
}

async fn call(model: &Arc<dyn Model>, history: usize) -> Result<usize, String> {
    let text = "zq0 zq1 zq2 zq3 zq4 zq5 zq6 zq7 zq8 zq9 zq10 zq11 zq12 zq13 zq14 zq15 zq16 zq17 zq18 zq19";
    let messages = (0..history).map(|n| match n % 2 {
        0 => PromptMessage::User(vec![Part::text(text)]),
        _ => PromptMessage::Assistant(vec![Part::text(text)]),
    });
    let request = ModelRequest {
        system: "You are helpful.".into(),
        messages: Arc::new(messages.map(|message| Arc::new(message.into())).collect()),
        ..ModelRequest::default()
    };
    let mut stream = model.call(request.into());
    let mut pieces = Vec::new();
    let mut count = 0;
    loop {
        stream.next(&mut pieces).await;
        count += pieces.len();
        match pieces.pop() {
            Some(Piece::Finish(_)) => return Ok(count),
            Some(Piece::Fault(fault)) => return Err(fault.message),
            _ => pieces.clear(),
        }
    }
}

/// User and system time of this process, from `/proc`.
fn cpu_micros() -> Result<f64, Box<dyn Error>> {
    /// Linux counts in hundredths of a second.
    const TICK_MICROS: f64 = 10_000.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").ok_or("stat has no name")?.1;
    let mut fields = after_name.split(' ').skip(11);
    let mut ticks = || fields.next().ok_or("stat is too short").map(str::parse::<f64>);
    Ok((ticks()?? + ticks()??) * TICK_MICROS)
}
