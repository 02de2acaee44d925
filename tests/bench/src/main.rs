//! The yardstick: parses every line of a file into a sonic-rs DOM and does nothing else. `run` measures it.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;

use sonic_rs::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("give a file of JSON lines")?;
    let bytes = std::fs::read(path)?;
    let mut count = 0_u64;
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        black_box(sonic_rs::from_slice::<Value>(line)?);
        count += 1;
    }
    writeln!(std::io::stdout(), "{count}")?;
    Ok(())
}
