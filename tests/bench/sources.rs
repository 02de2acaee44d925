//! What a source gives without the service around it: `bare` reads and acknowledges, `decoded` also decodes, looks for what
//! immediate rules find and packs, as the service does, but commits nothing.
//!
//! usage: sources CONFIG SOURCE EVENTS bare|decoded — says `seconds S cpu S events N`, from the first delivery on

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement goes by the clock on the wall, and says it"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keytrail::cli::Global;
use keytrail::config::Config;
use keytrail::pack::Pack;
use keytrail::service::{Reading, sources, stages::Stages, taker::TOGETHER};
use keytrail_ingest::Chunk;
use keytrail_ingest::sources::Part;
use keytrail_model::Micros;

/// How long nothing comes where all has come.
const QUIET: Duration = Duration::from_secs(3);
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> Result<()> {
    let said: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [config, name, events, how] = said.as_slice() else {
        bail!("usage: sources CONFIG SOURCE EVENTS bare|decoded")
    };
    let global = Global { config: Some(PathBuf::from(config)), output: None, quiet: true };
    let config = Config::load(&global)?;
    let mut source = sources(&config, "bench").await?.remove(name).context("no such source")?;
    let pack = Pack::with(&config.rule_set(&keytrail::cli::RuleSet::default()))?;
    let mut reading = match how.as_str() {
        "decoded" => Some(Reading::over(&Stages::build(&pack, config.limits.limits())?)?),
        _ => None,
    };
    let wanted: u64 = events.parse()?;
    let (mut documents, mut began, mut last) = (0, None, (Instant::now(), 0.0));
    // An object is one document, whatever it holds: so it is over when nothing comes any more.
    while began.is_none() || last.0.elapsed() < QUIET {
        ensure!(last.0.elapsed() < PATIENCE, "nothing came");
        let Some(delivery) = source.next(Duration::from_secs(1)).await? else { continue };
        began.get_or_insert_with(|| (Instant::now(), cpu()));
        documents += tokio::task::block_in_place(|| read(delivery.parts, &mut reading))?;
        source.ack(delivery.receipt).await?;
        last = (Instant::now(), cpu());
    }
    ensure!(documents <= wanted, "{documents} documents came, and {wanted} events are there");
    let (began, before) = began.unwrap_or(last);
    let seconds = last.0.duration_since(began).as_secs_f64();
    println!("seconds {seconds:.3} cpu {:.3} events {wanted}", last.1 - before);
    Ok(())
}

/// How many documents there are in these parts. Pulling may block.
fn read(parts: Vec<Part>, reading: &mut Option<Reading>) -> Result<u64> {
    let (mut came, mut together, mut bytes) = (0, Vec::new(), 0);
    for chunk in parts.into_iter().flat_map(|part| part.chunks).flatten() {
        came += chunk.spans.len() as u64;
        bytes += chunk.bytes.len();
        together.push(chunk);
        if bytes >= TOGETHER {
            decode(reading, &mut together)?;
            bytes = 0;
        }
    }
    decode(reading, &mut together)?;
    Ok(came)
}

fn decode(reading: &mut Option<Reading>, together: &mut Vec<Chunk>) -> Result<()> {
    let chunks = std::mem::take(together);
    if let (Some(reading), false) = (reading, chunks.is_empty()) {
        reading.chunk(Chunk::joined(chunks), "", Micros(i64::MAX / 2))?;
    }
    Ok(())
}

/// Seconds that this process has used, user and system, as the kernel counts them in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum::<f64>() / 100.0
}
