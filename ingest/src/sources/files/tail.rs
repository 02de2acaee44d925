//! Reading on in a file of lines, from where it was left to its last whole line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use keytrail_model::{Place, Reject};

use super::identity;
use crate::{Chunk, Limits, Span};

/// As much of a file's first line as tells it from others.
const HEAD: usize = 1024;
/// How much is handed over at once.
const PIECE: usize = 4 << 20;
/// What packed files begin with.
const PACKED: [&[u8]; 3] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"];

/// How a file begins.
pub struct Begins {
    device: u64,
    inode: u64,
    made: u128,
    head: Vec<u8>,
    pub bytes: u64,
    /// Whether it is lines, to be followed; else it is read whole.
    pub lines: bool,
}

impl Begins {
    /// `None` while too little of it is there to tell.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        let mut head = vec![0; HEAD];
        let mut got = 0;
        while let Some(rest) = head.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                more => got += more,
            }
        }
        head.truncate(got);
        let packed = PACKED.iter().any(|mark| head.starts_with(mark));
        let line = memchr::memchr(b'\n', &head);
        let lines = !packed && is_line(&head, line, about.len() > got as u64);
        if lines {
            head.truncate(line.unwrap_or(HEAD));
        }
        let ended = line.is_some() || head.len() == HEAD || packed || !lines;
        // An inode is used again; when it was made says that it is another file.
        let made = about.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        let made = made.map_or(0, |made| made.as_nanos());
        let begins = Self { device: about.dev(), inode: about.ino(), made, head, bytes: about.len(), lines };
        Ok((got > 0 && ended).then_some(begins))
    }

    /// Two contents of one place are two files; of packed ones the size tells them apart too.
    pub fn id(&self) -> String {
        let size = if self.lines { 0 } else { self.bytes };
        format!("{}-{size:x}", identity(self.device, self.inode, self.made, &self.head))
    }
}

/// A line that opens an object and closes it, or is too long to see its end.
fn is_line(head: &[u8], end: Option<usize>, more: bool) -> bool {
    let first = head.get(..end.unwrap_or(head.len())).unwrap_or_default().trim_ascii();
    let opens = first.starts_with(b"{") && first.len() > 1;
    let envelope = [&b"{\"Records\":["[..], b"{\"records\":["].iter().any(|start| first.starts_with(start));
    opens && !envelope && (first.ends_with(b"}") || (end.is_none() && more))
}

/// Line breaks before a position.
pub fn lines_before(path: &Path, position: u64) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let mut rest = file.take(position);
    let mut buffer = vec![0; 1 << 16];
    let mut lines = 0;
    while let Ok(got @ 1..) = rest.read(&mut buffer) {
        lines += memchr::memchr_iter(b'\n', buffer.get(..got).unwrap_or_default()).count() as u64;
    }
    lines
}

/// Whole lines from one position to another.
pub struct Piece {
    pub to: u64,
    pub lines: u64,
    pub chunks: Vec<Result<Chunk, Reject>>,
}

impl Piece {
    /// `None` while no line is whole. In a file that rests, the last line needs no end.
    pub fn read(path: &Path, from: u64, lines: u64, limits: &Limits, rests: bool) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        let mut wanted = PIECE;
        let (end, ended) = loop {
            let got = file.by_ref().take(wanted as u64).read_to_end(&mut bytes)?;
            let ended = got < wanted;
            match memchr::memrchr(b'\n', &bytes) {
                Some(last) => break (last + 1, ended),
                None if ended && rests && !bytes.is_empty() => break (bytes.len(), true),
                None if ended => return Ok(None),
                None if bytes.len() > limits.record_bytes_max => {
                    return too_long(&mut file, path, (from, lines), bytes);
                }
                None => wanted = PIECE,
            }
        };
        let end = if ended && rests { bytes.len() } else { end };
        bytes.truncate(end);
        let broken = memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let chunk = cut(path, bytes, from, lines);
        Ok(Some(Self { to: from + end as u64, lines: broken, chunks: vec![Ok(chunk)] }))
    }
}

fn cut(path: &Path, bytes: Vec<u8>, from: u64, lines: u64) -> Chunk {
    let mut spans = Vec::new();
    let (mut start, mut line) = (0, lines);
    while start < bytes.len() {
        let rest = bytes.get(start..).unwrap_or_default();
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        line += 1;
        if !rest.get(..len).unwrap_or_default().trim_ascii().is_empty() {
            let place = Place { part: 0, line: Some(line), record: None, byte: from + start as u64 };
            spans.push(Span { start, end: start + len, place });
        }
        start += len + 1;
    }
    Chunk::of(path.display().to_string().as_str(), bytes, spans)
}

/// A line beyond the limit is passed by, to its end if that is there, and told of.
fn too_long(file: &mut File, path: &Path, (from, lines): (u64, u64), bytes: Vec<u8>) -> io::Result<Option<Piece>> {
    let mut to = from + bytes.len() as u64;
    drop(bytes);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = file.read(&mut buffer)?;
        let Some(end) = memchr::memchr(b'\n', buffer.get(..got).unwrap_or_default()) else {
            if got == 0 {
                return Ok(None);
            }
            to += got as u64;
            continue;
        };
        to += end as u64 + 1;
        let place = Place { part: 0, line: Some(lines + 1), record: None, byte: from };
        let position = place.within(path.display().to_string());
        let reason = "the line is longer than limits.record_bytes_max; raise it if the record is genuine".to_owned();
        let reject = Reject { position, reason, record: String::new() };
        return Ok(Some(Piece { to, lines: 1, chunks: vec![Err(reject)] }));
    }
}
