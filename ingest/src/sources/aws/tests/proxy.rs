//! A way to a server that a test can close, or cut in the middle of an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Proxy {
    pub(super) port: u16,
    pub(super) state: Arc<State>,
}

pub(super) struct State {
    pub(super) to: AtomicU16,
    pub(super) closed: AtomicBool,
    /// Answers are cut after so many bytes, and so many times.
    pub(super) after: AtomicUsize,
    pub(super) cuts: AtomicI64,
}

impl Proxy {
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (to, closed, after, cuts) = (to.into(), false.into(), usize::MAX.into(), 0.into());
        let state = Arc::new(State { to, closed, after, cuts });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }
}

async fn join(client: TcpStream, state: Arc<State>) {
    if state.closed.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.to.load(Ordering::SeqCst))).await else { return };
    let ((mut asks, mut hears), (mut answers, mut told)) = (client.into_split(), server.into_split());
    let up = async { drop(tokio::io::copy(&mut asks, &mut told).await) };
    let down = async {
        let (mut sent, mut piece) = (0, vec![0; 16 << 10]);
        while let Ok(count) = answers.read(&mut piece).await {
            sent += count;
            let cut = sent > state.after.load(Ordering::SeqCst) && state.cuts.fetch_sub(1, Ordering::SeqCst) > 0;
            if count == 0 || cut || state.closed.load(Ordering::SeqCst) {
                return;
            }
            if hears.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}
