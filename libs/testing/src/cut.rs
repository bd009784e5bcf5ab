//! A cable to a server that can be cut and mended.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes connections on to a server until it is cut.
pub struct Cut {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Cut {
    /// A cable to a server at `host:port`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn to(server: &str) -> Self {
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, mut state) = (server.clone(), state.clone());
                tokio::spawn(async move {
                    if *state.borrow_and_update() {
                        tokio::select! {
                            () = pass(near, &server) => {}
                            _ = state.wait_for(|whole| !whole) => {}
                        }
                    }
                });
            }
        });
        Self { address, whole }
    }

    /// Its near end.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn pass(mut near: TcpStream, server: &str) {
    if let Ok(mut far) = TcpStream::connect(server).await {
        // A broken connection is what a cable is for.
        drop(copy_bidirectional(&mut near, &mut far).await);
    }
}
