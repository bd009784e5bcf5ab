//! A tiny SMTP server on loopback: takes mail into memory, and answers as a test wants it to.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use openorder_testing::free_address;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// What the server says to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Takes it.
    Accept,
    /// This line instead of taking the recipient.
    Recipient(&'static str),
    /// This line instead of taking the message.
    Message(&'static str),
    /// Closes the connection in the middle of the message.
    HangUp,
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Mail {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no header {name} in {}", self.text))
    }
}

type Policy = Arc<dyn Fn(&str, usize) -> Answer + Send + Sync>;

/// The server; it stands until it is stopped or dropped.
pub(crate) struct MailServer {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Mail>>>,
    tries: Arc<AtomicUsize>,
    policy: Policy,
    /// Everything that runs for it, connections too.
    running: Arc<Mutex<Vec<AbortHandle>>>,
}

impl MailServer {
    /// Takes everything.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_, _| Answer::Accept).await
    }

    /// Answers by recipient and number of the try, from 1.
    pub(crate) async fn start_with(policy: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let server = Self::stopped(policy);
        server.resume().await;
        server
    }

    /// A server that is not there yet.
    pub(crate) fn stopped(policy: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            address: free_address(),
            taken: Arc::default(),
            tries: Arc::default(),
            policy: Arc::new(policy),
            running: Arc::default(),
        }
    }

    /// Comes back on the same port.
    pub(crate) async fn resume(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (taken, tries, policy) = (Arc::clone(&self.taken), Arc::clone(&self.tries), Arc::clone(&self.policy));
        let running = Arc::clone(&self.running);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session =
                    Session { taken: Arc::clone(&taken), tries: Arc::clone(&tries), policy: Arc::clone(&policy) };
                let session = tokio::spawn(async move {
                    // A client that goes is nobody's fault.
                    let _ = session.talk(stream).await;
                });
                running.lock().unwrap().push(session.abort_handle());
            }
        });
        self.running.lock().unwrap().push(accepting.abort_handle());
    }

    /// Breaks all connections and refuses new ones.
    pub(crate) fn stop(&self) {
        for running in self.running.lock().unwrap().drain(..) {
            running.abort();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Messages that were taken, in their order.
    pub(crate) fn taken(&self) -> Vec<Mail> {
        self.taken.lock().unwrap().clone()
    }

    /// How often a message was tried, taken or not.
    pub(crate) fn tries(&self) -> usize {
        self.tries.load(Ordering::SeqCst)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Session {
    taken: Arc<Mutex<Vec<Mail>>>,
    tries: Arc<AtomicUsize>,
    policy: Policy,
}

impl Session {
    async fn talk(self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 mail.test\r\n").await?;
        let (mut to, mut answer) = (String::new(), Answer::Accept);
        while let Some(line) = lines.next_line().await? {
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" => "250-mail.test\r\n250 8BITMIME",
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    answer = (self.policy)(&to, self.tries.fetch_add(1, Ordering::SeqCst) + 1);
                    match answer {
                        Answer::Recipient(refusal) => refusal,
                        _ => "250 OK",
                    }
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut text = String::new();
                    while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                        text.push_str(&line);
                        text.push('\n');
                    }
                    match answer {
                        Answer::Message(refusal) => refusal,
                        Answer::HangUp => return Ok(()),
                        _ => {
                            self.taken.lock().unwrap().push(Mail { to: std::mem::take(&mut to), text });
                            "250 queued"
                        }
                    }
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                // MAIL, NOOP, RSET
                _ => "250 OK",
            };
            write.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        Ok(())
    }
}
