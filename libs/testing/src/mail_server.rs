//! An SMTP server on loopback by the `mailin` library: takes mail into memory, and answers as a test wants it to.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mailin::{Action, AuthMechanism, Handler, Response, Session, SessionBuilder, response};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::free_address;

/// What the server says to a message.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Takes it.
    Accept,
    /// Takes it, and says so when the test lets it ([`MailServer::answer`]).
    AcceptLater,
    /// Takes it, and closes the connection without having said so.
    AcceptAndHangUp,
    /// This line instead of taking the recipient.
    Recipient(&'static str),
    /// This line instead of taking the message.
    Message(&'static str),
    /// Closes the connection instead of taking the message.
    HangUp,
    /// Never says anything about the message, and does not take it.
    Hang,
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The recipient's address.
    pub to: String,
    /// Headers and text, as they came.
    pub text: String,
}

impl Mail {
    /// The value of a header.
    ///
    /// # Panics
    /// When there is no such header.
    pub fn header(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no header {name} in {}", self.text))
    }
}

/// What the server asks of its callers.
#[derive(Clone, Default)]
pub struct Rules {
    /// STARTTLS with this certificate.
    pub starttls: Option<TlsAcceptor>,
    /// Name and password; without them nothing is taken.
    pub login: Option<(&'static str, &'static str)>,
}

type Policy = Arc<dyn Fn(&str, usize) -> Answer + Send + Sync>;

/// The server; it stands until it is stopped or dropped.
pub struct MailServer {
    address: SocketAddr,
    shared: Shared,
    /// Everything that runs for it, connections too.
    running: Arc<Mutex<Vec<AbortHandle>>>,
}

#[derive(Clone)]
struct Shared {
    taken: Arc<Mutex<Vec<Mail>>>,
    tries: Arc<AtomicUsize>,
    policy: Policy,
    rules: Rules,
    /// Answers that the test has let go.
    answers: Arc<Semaphore>,
}

impl MailServer {
    /// Takes everything.
    pub async fn start() -> Self {
        Self::start_with(|_, _| Answer::Accept).await
    }

    /// Answers by recipient and number of the try, from 1.
    pub async fn start_with(policy: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let server = Self::stopped(policy);
        server.resume().await;
        server
    }

    /// Takes everything by these rules.
    pub async fn start_by(rules: Rules) -> Self {
        let mut server = Self::stopped(|_, _| Answer::Accept);
        server.shared.rules = rules;
        server.resume().await;
        server
    }

    /// A server that is not there yet.
    pub fn stopped(policy: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            taken: Arc::default(),
            tries: Arc::default(),
            policy: Arc::new(policy),
            rules: Rules::default(),
            answers: Arc::new(Semaphore::new(0)),
        };
        Self { address: free_address(), shared, running: Arc::default() }
    }

    /// Comes back on the same port.
    ///
    /// # Panics
    /// When the port is taken by somebody else.
    pub async fn resume(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (shared, running) = (self.shared.clone(), Arc::clone(&self.running));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, remote)) = listener.accept().await {
                let shared = shared.clone();
                let talk = tokio::spawn(async move {
                    // A client that goes is nobody's fault.
                    drop(talk(stream, remote, shared).await);
                });
                running.lock().unwrap().push(talk.abort_handle());
            }
        });
        self.running.lock().unwrap().push(accepting.abort_handle());
    }

    /// Breaks all connections and refuses new ones.
    pub fn stop(&self) {
        for running in self.running.lock().unwrap().drain(..) {
            running.abort();
        }
    }

    /// Lets one [`Answer::AcceptLater`] go.
    pub fn answer(&self) {
        self.shared.answers.add_permits(1);
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Messages that were taken, in their order.
    pub fn taken(&self) -> Vec<Mail> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// How often a message was tried, taken or not.
    pub fn tries(&self) -> usize {
        self.shared.tries.load(Ordering::SeqCst)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One connection's decisions.
struct Decisions {
    shared: Shared,
    logged_in: bool,
    mail: Mail,
    answer: Answer,
    /// What is to happen instead of the next answer.
    instead: Arc<Mutex<Option<Answer>>>,
}

impl Handler for Decisions {
    fn mail(&mut self, _: std::net::IpAddr, _: &str, _: &str) -> Response {
        match self.shared.rules.login {
            Some(_) if !self.logged_in => response::AUTHENTICATION_REQUIRED,
            _ => response::OK,
        }
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.mail = Mail { to: to.trim_matches(['<', '>']).to_owned(), text: String::new() };
        let number = self.shared.tries.fetch_add(1, Ordering::SeqCst) + 1;
        self.answer = (self.shared.policy)(&self.mail.to, number);
        match self.answer {
            Answer::Recipient(line) => say(line),
            _ => response::OK,
        }
    }

    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        self.mail.text.push_str(&String::from_utf8_lossy(line));
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        if matches!(self.answer, Answer::Accept | Answer::AcceptLater | Answer::AcceptAndHangUp) {
            self.shared.taken.lock().unwrap().push(self.mail.clone());
        }
        // Refused from outside: the library waits for the rest of a message that it has refused here.
        *self.instead.lock().unwrap() = Some(self.answer);
        response::OK
    }

    fn auth_plain(&mut self, _: &str, name: &str, password: &str) -> Response {
        self.logged_in = self.shared.rules.login == Some((name, password));
        if self.logged_in { response::AUTH_OK } else { response::INVALID_CREDENTIALS }
    }
}

/// A response of a line such as "451 try again".
fn say(line: &str) -> Response {
    let (code, text) = line.split_once(' ').unwrap();
    Response::custom(code.parse().unwrap(), text.to_owned())
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn talk(stream: TcpStream, remote: SocketAddr, shared: Shared) -> io::Result<()> {
    let mut builder = SessionBuilder::new("mail.test");
    if shared.rules.starttls.is_some() {
        builder.enable_start_tls();
    }
    if shared.rules.login.is_some() {
        // Offered once the connection is protected.
        builder.enable_auth(AuthMechanism::Plain);
    }
    let instead = Arc::new(Mutex::new(None));
    let mail = Mail { to: String::new(), text: String::new() };
    let decisions = Decisions {
        shared: shared.clone(),
        logged_in: false,
        mail,
        answer: Answer::Accept,
        instead: Arc::clone(&instead),
    };
    let mut session = builder.build(remote.ip(), decisions);
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(stream));
    stream.write_all(&session.greeting().buffer()?).await?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let mut answer = session.process(&line);
        let instead = instead.lock().unwrap().take();
        match instead {
            Some(Answer::Message(line)) => answer = say(line),
            Some(Answer::HangUp | Answer::AcceptAndHangUp) => return Ok(()),
            Some(Answer::Hang) => std::future::pending().await,
            Some(Answer::AcceptLater) => shared.answers.acquire().await.unwrap().forget(),
            _ => {}
        }
        if answer.action != Action::NoReply {
            stream.write_all(&answer.buffer()?).await?;
            stream.flush().await?;
        }
        match answer.action {
            Action::Close => return Ok(()),
            Action::UpgradeTls => stream = upgrade(stream, &mut session, &shared).await?,
            _ => {}
        }
    }
}

async fn upgrade(
    stream: BufReader<Box<dyn Stream>>,
    session: &mut Session<Decisions>,
    shared: &Shared,
) -> io::Result<BufReader<Box<dyn Stream>>> {
    let acceptor = shared.rules.starttls.clone().unwrap();
    let protected = acceptor.accept(stream.into_inner()).await?;
    session.tls_active();
    Ok(BufReader::new(Box::new(protected)))
}
