//! One address in front of the instances of a role: a new connection goes to the next instance that takes it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) struct Balancer {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl Balancer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free address");
        let address = listener.local_addr().expect("a bound address");
        let targets = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&targets)));
        Self { address, targets, accepting }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set_targets(&self, targets: Vec<SocketAddr>) {
        *self.targets.lock().expect("nobody panics with it") = targets;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, targets: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut turn = 0_usize;
    while let Ok((caller, _)) = listener.accept().await {
        let known = targets.lock().expect("nobody panics with it").clone();
        turn += 1;
        tokio::spawn(join(caller, known, turn));
    }
}

async fn join(mut caller: TcpStream, targets: Vec<SocketAddr>, turn: usize) {
    for number in 0..targets.len() {
        let target = targets[(turn + number) % targets.len()];
        if let Ok(mut service) = TcpStream::connect(target).await {
            drop(caller.set_nodelay(true));
            drop(service.set_nodelay(true));
            // Ends when one of the two does.
            drop(tokio::io::copy_bidirectional(&mut caller, &mut service).await);
            return;
        }
    }
    // Nobody is there: the caller sees its connection closed.
}
