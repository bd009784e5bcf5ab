//! A thread that writes log lines, so that no worker ever waits for a disk or a terminal.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Stderr, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::logs::line;
use crate::settings::LogFormat;

/// The file of lines that belong to no role.
const PROCESS: &str = "openorder";

pub(crate) struct LogWriterSettings {
    pub(crate) stderr: bool,
    /// One file a role is appended to here.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) queue_max: usize,
    pub(crate) format: LogFormat,
}

enum Command {
    Line {
        role: Option<&'static str>,
        line: Vec<u8>,
    },
    /// Answer once all lines before this one are written.
    Flush(SyncSender<()>),
}

/// The sending side. Lines beyond the queue's bound are dropped and counted; the count is logged.
pub(crate) struct LogWriter {
    commands: SyncSender<Command>,
    lost: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread. Fails when the directory or its first file cannot be made.
    pub(crate) fn start(settings: LogWriterSettings) -> io::Result<Self> {
        let (commands, received) = sync_channel(settings.queue_max.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let mut sinks = Sinks::open(settings.stderr, settings.directory)?;
        let (thread_lost, format) = (Arc::clone(&lost), settings.format);
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || run(&received, &mut sinks, &thread_lost, format))?;
        Ok(Self { commands, lost })
    }

    /// Queues a line; never waits.
    pub(crate) fn write(&self, role: Option<&'static str>, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.commands.try_send(Command::Line { role, line }) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines queued so far are written, at most `bound` long: a disk that hangs does not hold the
    /// process.
    pub(crate) fn flush(&self, bound: Duration) {
        const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);
        let until = Instant::now() + bound;
        let (done, wait) = sync_channel(1);
        let mut command = Command::Flush(done);
        while let Err(TrySendError::Full(back)) = self.commands.try_send(command) {
            if Instant::now() >= until {
                return;
            }
            // Nobody answers before the wish is queued: this is a pause.
            let _ = wait.recv_timeout(FULL_QUEUE_PAUSE);
            command = back;
        }
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn run(commands: &Receiver<Command>, sinks: &mut Sinks, lost: &AtomicU64, format: LogFormat) {
    loop {
        let command = match commands.try_recv() {
            Ok(command) => command,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                sinks.flush();
                match commands.recv() {
                    Ok(command) => command,
                    Err(_) => break,
                }
            }
        };
        match command {
            Command::Line { role, line } => sinks.write(role, &line),
            Command::Flush(done) => {
                sinks.flush();
                let _ = done.send(());
            }
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            sinks.write(None, &line::of_lost_lines(count, format));
        }
    }
    sinks.flush();
}

/// Where lines go. A sink that fails loses its lines and nothing else: there is nowhere to report it.
struct Sinks {
    stderr: Option<BufWriter<Stderr>>,
    directory: Option<PathBuf>,
    files: HashMap<&'static str, Option<BufWriter<File>>>,
}

impl Sinks {
    fn open(stderr: bool, directory: Option<PathBuf>) -> io::Result<Self> {
        let mut files = HashMap::new();
        if let Some(directory) = &directory {
            fs::create_dir_all(directory)?;
            files.insert(PROCESS, Some(append(directory, PROCESS)?));
        }
        Ok(Self { stderr: stderr.then(|| BufWriter::new(io::stderr())), directory, files })
    }

    fn write(&mut self, role: Option<&'static str>, line: &[u8]) {
        if let Some(stderr) = &mut self.stderr {
            let _ = stderr.write_all(line);
        }
        if let Some(directory) = &self.directory {
            let name = role.unwrap_or(PROCESS);
            let file = self.files.entry(name).or_insert_with(|| append(directory, name).ok());
            if let Some(file) = file {
                let _ = file.write_all(line);
            }
        }
    }

    fn flush(&mut self) {
        if let Some(stderr) = &mut self.stderr {
            let _ = stderr.flush();
        }
        for file in self.files.values_mut().flatten() {
            let _ = file.flush();
        }
    }
}

fn append(directory: &Path, name: &str) -> io::Result<BufWriter<File>> {
    let path = directory.join(format!("{name}.log"));
    OpenOptions::new().create(true).append(true).open(path).map(BufWriter::new)
}
