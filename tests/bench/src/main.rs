//! The yardstick: parses every line of a file into a sonic-rs DOM and does nothing else. `run` measures it.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};

use sonic_rs::Value;

/// As much at a time as Keytrail reads.
const CHUNK: usize = 4 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("give a file of JSON lines")?;
    let mut file = BufReader::with_capacity(CHUNK, File::open(path)?);
    let mut line = Vec::new();
    let mut count = 0_u64;
    while file.read_until(b'\n', &mut line)? > 0 {
        black_box(sonic_rs::from_slice::<Value>(&line)?);
        line.clear();
        count += 1;
    }
    writeln!(std::io::stdout(), "{count}")?;
    Ok(())
}
