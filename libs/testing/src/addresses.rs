//! Addresses that no other test, process or connection takes.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use rand::Rng;
use tokio::net::TcpSocket;

/// What was given out: bound until this process ends, never listened on. A connection to it is refused, and whoever was
/// given it listens on it all the same, as servers set `SO_REUSEADDR`.
static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// An address on loopback, below the ephemeral range, that nobody listens on until the caller does.
///
/// # Panics
/// When 200 ports were tried in vain.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_ports(&[0])))
}

/// A port on loopback for which all of `port + offset` are free, as [`free_address`] means it.
///
/// # Panics
/// When 200 ports were tried in vain.
pub fn free_ports(offsets: &[u16]) -> u16 {
    for _ in 0..200 {
        let port = rand::rng().random_range(20_000..32_000);
        let sockets: io::Result<Vec<_>> = offsets.iter().map(|offset| reserve(port + offset)).collect();
        if let Ok(sockets) = sockets {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).extend(sockets);
            return port;
        }
    }
    panic!("no free port between 20000 and 32000");
}

/// Fails when anybody has the port, be it only reserved as here.
fn reserve(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(false)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    // Only now: before, it would also have been given what others have reserved.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        process::Command,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    /// A process that is being started has copies of this one's sockets for a moment.
    #[test]
    fn an_address_is_free_also_while_processes_are_started() {
        let (started, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().unwrap();
                        started.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let mut taken = 0;
            // So often, and beside so many: a listener that is closed again before it is given out fails here.
            for count in 0..500 {
                taken += usize::from(TcpListener::bind(free_address()).is_err());
                while started.load(Ordering::Relaxed) < count / 4 {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
            assert_eq!(taken, 0, "of 500");
        });
    }

    #[test]
    fn an_address_is_given_once_refuses_until_it_is_taken_and_again_afterwards() {
        let address = free_address();
        assert!(reserve(address.port()).is_err(), "another process would not be given it");
        for _ in 0..2 {
            assert!(TcpStream::connect(address).is_err(), "nobody listens");
            let listener = TcpListener::bind(address).unwrap();
            TcpStream::connect(address).unwrap();
            assert!(reserve(address.port()).is_err(), "also while somebody listens");
            drop(listener);
        }
    }

    #[test]
    fn ports_that_belong_together_are_free_together() {
        let port = free_ports(&[0, 1, 10]);
        for offset in [0, 1, 10] {
            assert!(reserve(port + offset).is_err());
            TcpListener::bind(("127.0.0.1", port + offset)).unwrap();
        }
    }
}
