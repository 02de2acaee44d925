//! What a source gives without the service around it: `bare` reads and acknowledges, `decoded` also decodes, looks for what
//! immediate rules find and packs, as the service does, but commits nothing.
//!
//! usage: sources CONFIG SOURCE EVENTS bare|decoded — says `seconds S events N`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keytrail::cli::Global;
use keytrail::config::Config;
use keytrail::pack::Pack;
use keytrail::service::{Reading, sources, stages::Stages};
use keytrail_model::Micros;

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let (mut came, mut began, mut last) = (0, None, Instant::now());
    while came < wanted {
        ensure!(last.elapsed() < PATIENCE, "only {came} of {wanted} came");
        let Some(delivery) = source.next(Duration::from_secs(1)).await? else { continue };
        began.get_or_insert_with(Instant::now);
        for part in delivery.parts {
            for chunk in part.chunks {
                let Ok(chunk) = chunk else { continue };
                came += chunk.spans.len() as u64;
                if let Some(reading) = &mut reading {
                    reading.chunk(chunk, &part.lane, Micros(i64::MAX / 2))?;
                }
            }
        }
        source.ack(delivery.receipt).await?;
        last = Instant::now();
    }
    println!("seconds {:.3} events {came}", began.map_or(0.0, |began| began.elapsed().as_secs_f64()));
    Ok(())
}
