//! A folder of segments that are appended to, synced before anybody is told, and removed once they are read and committed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

/// Beyond this a new segment begins.
const SEGMENT: u64 = 16 << 20;
/// Bodies that wait for the disk before senders are told to wait.
const WAITING: usize = 64;

pub enum Told {
    Kept,
    /// The disk is full or does not keep up.
    Full,
}

struct Put {
    lines: Vec<u8>,
    told: oneshot::Sender<bool>,
}

pub struct Spool {
    puts: SyncSender<Put>,
    bytes: Arc<AtomicU64>,
    /// The segment that is written to.
    current: Arc<Mutex<PathBuf>>,
}

impl Spool {
    pub fn open(folder: &Path) -> io::Result<Self> {
        // What comes is not redacted yet: for nobody else to read.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder)? {
            bytes += entry?.metadata()?.len();
        }
        let (puts, taken) = sync_channel(WAITING);
        let bytes = Arc::new(AtomicU64::new(bytes));
        let current = Arc::new(Mutex::new(PathBuf::new()));
        let writer = Writer { folder: folder.to_owned(), bytes: Arc::clone(&bytes), current: Arc::clone(&current) };
        thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(&taken))?;
        Ok(Self { puts, bytes, current })
    }

    /// What stands in it.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Kept means on the disk.
    pub async fn put(&self, lines: Vec<u8>) -> Told {
        let (told, kept) = oneshot::channel();
        match self.puts.try_send(Put { lines, told }) {
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Told::Full,
            Ok(()) if kept.await.unwrap_or(false) => Told::Kept,
            Ok(()) => Told::Full,
        }
    }

    /// A segment that was read so far; the one that is written to stays, and one that grew since it was read.
    pub fn remove(&self, path: &Path, read: u64) {
        // Held while it is removed: a segment does not become the current one again, and only that one grows.
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let size = path.metadata().map_or(0, |about| about.len());
        if *current != path && size == read && std::fs::remove_file(path).is_ok() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
    }
}

struct Writer {
    folder: PathBuf,
    bytes: Arc<AtomicU64>,
    current: Arc<Mutex<PathBuf>>,
}

impl Writer {
    /// Those who come together share one sync.
    fn run(self, puts: &Receiver<Put>) {
        let mut open: Option<(File, u64)> = None;
        while let Ok(first) = puts.recv() {
            let together: Vec<Put> = std::iter::once(first).chain(puts.try_iter().take(WAITING)).collect();
            let kept = self.write(&mut open, &together);
            if let Err(fault) = &kept {
                tracing::error!("the spool `{}` cannot be written: {fault}", self.folder.display());
                // What stands behind a failed write may be half a line: the next segment is whole.
                open = None;
            }
            for put in together {
                put.told.send(kept.is_ok()).ok();
            }
        }
    }

    fn write(&self, open: &mut Option<(File, u64)>, together: &[Put]) -> io::Result<()> {
        if open.as_ref().is_none_or(|(_, size)| *size >= SEGMENT) {
            *open = Some((self.segment()?, 0));
        }
        let Some((file, size)) = open else { return Ok(()) };
        for put in together {
            file.write_all(&put.lines)?;
            *size += put.lines.len() as u64;
            self.bytes.fetch_add(put.lines.len() as u64, Ordering::Relaxed);
        }
        file.sync_data()
    }

    /// Its name was never used before, so that the ledger cannot take it for another.
    fn segment(&self) -> io::Result<File> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(format!("{hex}.jsonl"));
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&path);
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path)?;
        // The name must last as well as what stands under it.
        File::open(&self.folder)?.sync_all()?;
        Ok(file)
    }
}
