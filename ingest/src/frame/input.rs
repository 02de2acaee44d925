//! Bytes of a file, decompressed; and telling from the first of them what kind of file it is.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

pub(super) const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

const GZIP: &[u8] = b"\x1F\x8B";
const ZSTD: &[u8] = b"\x28\xB5\x2F\xFD";

/// So much may come of anything, however small.
const RATIO_FREE: u64 = 16 << 20;

/// Beginnings of files that are not what we read, and what to do with them.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\xFF\xFE\0\0", "UTF-32 text; convert it with `iconv -f UTF-32 -t UTF-8`"),
    (b"\0\0\xFE\xFF", "UTF-32 text; convert it with `iconv -f UTF-32 -t UTF-8`"),
    (b"\xFF\xFE", "UTF-16 text; convert it with `iconv -f UTF-16 -t UTF-8`"),
    (b"\xFE\xFF", "UTF-16 text; convert it with `iconv -f UTF-16 -t UTF-8`"),
    (b"{\0\0\0", "UTF-32 text; convert it with `iconv -f UTF-32LE -t UTF-8`"),
    (b"\0\0\0{", "UTF-32 text; convert it with `iconv -f UTF-32BE -t UTF-8`"),
    (b"{\0", "UTF-16 text; convert it with `iconv -f UTF-16LE -t UTF-8`"),
    (b"[\0", "UTF-16 text; convert it with `iconv -f UTF-16LE -t UTF-8`"),
    (b"\0{", "UTF-16 text; convert it with `iconv -f UTF-16BE -t UTF-8`"),
    (b"\0[", "UTF-16 text; convert it with `iconv -f UTF-16BE -t UTF-8`"),
    (b"PK\x03\x04", "a zip archive; unpack it and name the folder"),
    (b"BZh", "bzip2; unpack it with `bunzip2`"),
    (b"\xFD7zXZ", "xz; unpack it with `unxz`"),
    (b"PAR1", "Parquet; export the records as JSON lines"),
    (b"Obj\x01", "Avro; export the records as JSON lines"),
    (b"SQLite format 3", "an SQLite database; export the records as JSON lines"),
    (GZIP, "gzip inside gzip; unpack it once with `gunzip`"),
];

pub(super) struct Input {
    source: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
    pub(super) size: u64,
}

impl Input {
    pub(super) fn open(path: &Path, ratio_max: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Self::new(BufReader::with_capacity(128 << 10, file), size, ratio_max)
    }

    pub(super) fn over(bytes: Vec<u8>, ratio_max: u64) -> io::Result<Self> {
        let size = bytes.len() as u64;
        Self::new(Cursor::new(bytes), size, ratio_max)
    }

    pub(super) fn new(source: impl Read + Send + 'static, size: u64, ratio_max: u64) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let mut source = Counted { source, read: Arc::clone(&read) };
        let mut first = Vec::new();
        (&mut source).take(4).read_to_end(&mut first)?;
        let (gzip, zstd) = (first.starts_with(GZIP), first.starts_with(ZSTD));
        let source = Cursor::new(first).chain(source);
        let bounded = |source| Unpacked { source, packed: Arc::clone(&read), bytes: 0, ratio_max };
        let source: Box<dyn Read + Send> = if gzip {
            Box::new(bounded(Box::new(MultiGzDecoder::new(source))))
        } else if zstd {
            Box::new(bounded(Box::new(zstd::Decoder::new(source)?)))
        } else {
            Box::new(source)
        };
        Ok(Self { source, read, size })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Appends up to `want` bytes; true at the end. What came before a fault is in the buffer.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, want: usize) -> io::Result<bool> {
        buffer.reserve(want);
        let got = self.source.by_ref().take(want as u64).read_to_end(buffer)?;
        Ok(got < want)
    }
}

struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read(into)?;
        self.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// Ends where it becomes far larger than what it is unpacked from.
struct Unpacked {
    source: Box<dyn Read + Send>,
    packed: Arc<AtomicU64>,
    bytes: u64,
    ratio_max: u64,
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read(into)?;
        self.bytes += got as u64;
        let most = self.packed.load(Ordering::Relaxed).saturating_mul(self.ratio_max).max(RATIO_FREE);
        if self.bytes > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(got) }
    }
}

/// Why a file that begins like this is not read at all.
pub(super) fn foreign(head: &[u8]) -> Option<String> {
    let known = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| *what);
    let binary = || memchr::memchr(0, head.get(..1024).unwrap_or(head)).map(|_| "a binary file; leave it out");
    known.or_else(binary).map(|what| format!("not JSON: {what}"))
}

/// What a read fault means to who has the file.
pub(super) fn remedy(fault: &io::Error) -> String {
    match fault.kind() {
        io::ErrorKind::UnexpectedEof => {
            "truncated: the compressed file ends in the middle; fetch it again, what came before was read".to_owned()
        }
        io::ErrorKind::FileTooLarge => {
            "unpacks to far more than its size, as no log does; what came before was read, `limits.inflate_ratio_max` \
             says how much may come"
                .to_owned()
        }
        _ => format!("cannot be read further ({fault}); fetch the file again, what came before was read"),
    }
}
