//! `openorder logs`: the end of a role's log file, and what is added to it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value};

use crate::block_on::block_on;
use crate::config;
use crate::output::{self, Format};
use crate::roles::Role;
use crate::settings_args::SettingsArgs;

/// Time between two looks at a file that is followed.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes read at once.
const CHUNK_LENGTH: u64 = 64 << 10;
/// Bytes that are read back from the end at most, however long the lines are.
const TAIL_LENGTH_MAX: u64 = 64 << 20;

const LOGS_HELP: &str = "\
Examples:
  openorder logs order                         the last 50 lines
  openorder logs payment --follow
  openorder logs inventory --lines 500 --output json | jq 'select(.level == \"WARN\")'

Roles write files when telemetry.log_directory is set; lines that belong to no role stand in openorder.log.";

/// Arguments of `openorder logs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOGS_HELP)]
pub struct LogsArgs {
    /// Whose log.
    #[arg(value_name = "ROLE", value_parser = log_names())]
    pub role: String,
    /// Stay and print what is added, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// Lines from the end of the file to begin with.
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: u32,
    /// Directory of the files [default: telemetry.log_directory of the settings, or of the running server].
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// `text` for eyes; `json` for the lines as they stand in the file.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The file names of the log writer: the roles, and `openorder` for lines of none.
fn log_names() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Role::ALL.iter().map(|role| role.name()).chain(["openorder"]))
}

/// Runs the command; with `--follow` until interrupted.
///
/// # Errors
/// No directory is known, or the role has no file there.
pub fn run(settings: &SettingsArgs, args: &LogsArgs) -> anyhow::Result<()> {
    let path = directory(settings, args)?.join(format!("{}.log", args.role));
    let mut file = File::open(&path).with_context(|| {
        format!("{} cannot be read; does a process with the role {} write its logs there?", path.display(), args.role)
    })?;
    let length = file.metadata()?.len();
    let start = start_of_last_lines(&mut file, length, args.lines as usize)?;
    let mut follower = Follower { path, file, position: start, rest: Vec::new() };
    for line in follower.added()? {
        output::line(shown(&line, args.output));
    }
    if !args.follow {
        follower.unfinished().into_iter().for_each(|line| output::line(shown(&line, args.output)));
        return Ok(());
    }
    block_on(async {
        loop {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            for line in follower.added()? {
                output::line(shown(&line, args.output));
            }
        }
    })?
}

fn directory(settings: &SettingsArgs, args: &LogsArgs) -> anyhow::Result<PathBuf> {
    if let Some(directory) = &args.directory {
        return Ok(directory.clone());
    }
    let settings = config::load(settings, &[])?.settings;
    let directory = settings.telemetry.log_directory;
    if !directory.is_empty() {
        return Ok(PathBuf::from(directory));
    }
    // This shell need not know what the server was given.
    let admin = settings.admin.listen_address;
    match config::ask(&admin) {
        Ok(running) => match running.value("telemetry.log_directory") {
            Some(directory) if !directory.is_empty() => Ok(PathBuf::from(directory)),
            _ => bail!(
                "the server at {admin} writes no log files: give it telemetry.log_directory \
                 (OPENORDER_TELEMETRY_LOG_DIRECTORY); otherwise its log is on its standard error"
            ),
        },
        Err(error) => bail!(
            "no directory of log files is known: neither do the settings of this shell name one (telemetry.log_directory, \
             OPENORDER_TELEMETRY_LOG_DIRECTORY), nor does a server ({error:#}); name it with --directory"
        ),
    }
}

/// Where the last `lines` lines begin, looking backwards from the end.
fn start_of_last_lines(file: &mut (impl Read + Seek), length: u64, lines: usize) -> io::Result<u64> {
    let mut position = length;
    let mut missing = lines;
    // The line feed at the very end closes the last line and begins none.
    let mut before_last = length.saturating_sub(1);
    while position > 0 && length - position < TAIL_LENGTH_MAX {
        let start = position.saturating_sub(CHUNK_LENGTH);
        let mut chunk = Vec::with_capacity(CHUNK_LENGTH as usize);
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(position - start).read_to_end(&mut chunk)?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            let place = start + index as u64;
            if *byte == b'\n' && place < before_last {
                if missing <= 1 {
                    return Ok(if missing == 0 { length } else { place + 1 });
                }
                missing -= 1;
                before_last = place;
            }
        }
        position = start;
    }
    Ok(if lines == 0 { length } else { position })
}

/// A file that grows, and may be moved away or cut.
struct Follower {
    path: PathBuf,
    file: File,
    position: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Whole lines that were added since the last look.
    fn added(&mut self) -> io::Result<Vec<String>> {
        self.file.seek(SeekFrom::Start(self.position))?;
        let mut lines = Vec::new();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_LENGTH as usize);
            let read = self.file.by_ref().take(CHUNK_LENGTH).read_to_end(&mut chunk)?;
            self.position += read as u64;
            self.rest.extend_from_slice(&chunk);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if read == 0 && !self.reopened() {
                return Ok(lines);
            }
        }
    }

    /// What stands after the last line feed.
    fn unfinished(self) -> Option<String> {
        (!self.rest.is_empty()).then(|| String::from_utf8_lossy(&self.rest).into_owned())
    }

    /// Goes on with a new file in the old one's place, or at the beginning of one that was cut.
    fn reopened(&mut self) -> bool {
        let Ok(there) = fs::metadata(&self.path) else { return false };
        let is_another = self.file.metadata().is_ok_and(|open| (open.dev(), open.ino()) != (there.dev(), there.ino()));
        if !is_another && there.len() >= self.position {
            return false;
        }
        if let Ok(file) = File::open(&self.path) {
            *self = Self { path: std::mem::take(&mut self.path), file, position: 0, rest: Vec::new() };
            return true;
        }
        false
    }
}

/// A line of the log writer for eyes; what is no JSON stays as it is.
fn shown(line: &str, format: Format) -> String {
    match (format, serde_json::from_str::<Map<String, Value>>(line)) {
        (Format::Text, Ok(event)) => output::one_line(&for_eyes(&event)).into_owned(),
        (Format::Json, Ok(_)) => output::json_printable(line).into_owned(),
        (_, Err(_)) => line.to_owned(),
    }
}

fn for_eyes(event: &Map<String, Value>) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    // 2026-11-21T08:40:14.123Z: the date is the same for most of what is looked at.
    let time = text("timestamp").split_once('T').map_or("", |(_, time)| time.trim_end_matches('Z'));
    let mut shown = format!("{time} {:>5} {}: {}", text("level"), text("target"), text("message"));
    if let Some(fields) = event.get("fields").and_then(Value::as_object) {
        for (name, value) in fields {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            shown.push_str(&format!(" {name}={value}"));
        }
    }
    if !text("trace_id").is_empty() {
        shown.push_str(&format!(" trace={}", text("trace_id")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn last(text: &str, lines: usize) -> &str {
        let start = start_of_last_lines(&mut Cursor::new(text), text.len() as u64, lines).unwrap();
        &text[start as usize..]
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc", 2), "b\nc");
        assert_eq!(last("a\n\n\n", 2), "\n\n");
        assert_eq!(last("a\nb\n", 5), "a\nb\n");
        assert_eq!(last("a\nb\n", 0), "");
        assert_eq!(last("a", 0), "");
        assert_eq!(last("", 3), "");
    }

    #[test]
    fn lines_longer_than_a_chunk_are_found_too() {
        let long = "x".repeat(CHUNK_LENGTH as usize * 2 + 17);
        let text = format!("first\n{long}\nlast\n");
        assert_eq!(last(&text, 1), "last\n");
        assert_eq!(last(&text, 2), format!("{long}\nlast\n"));
        assert_eq!(last(&text, 3), text);
    }

    #[test]
    fn a_file_is_followed_over_half_lines_cuts_and_replacements() {
        let directory = std::env::temp_dir().join(format!("openorder-logs-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("order.log");
        let mut written = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        let mut follower = Follower { path: path.clone(), file, position: 0, rest: Vec::new() };
        written.write_all(b"one\ntw").unwrap();
        assert_eq!(follower.added().unwrap(), ["one"]);
        written.write_all(b"o\n").unwrap();
        assert_eq!(follower.added().unwrap(), ["two"]);
        fs::rename(&path, directory.join("order.log.1")).unwrap();
        written.write_all(b"late\n").unwrap();
        fs::write(&path, "new\n").unwrap();
        assert_eq!(follower.added().unwrap(), ["late", "new"]);
        fs::write(&path, "c\n").unwrap();
        assert_eq!(follower.added().unwrap(), ["c"]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn json_lines_are_for_eyes_unless_asked_otherwise() {
        let line = r#"{"timestamp":"2026-11-21T08:40:14.123Z","level":"WARN","role":"order","target":"t","message":"m","fields":{"a":"x","n":3},"trace_id":"ab"}"#;
        assert_eq!(shown(line, Format::Text), "08:40:14.123  WARN t: m a=x n=3 trace=ab");
        assert_eq!(shown(line, Format::Json), line);
        assert_eq!(shown("plain", Format::Text), "plain");
        let line = r#"{"level":"WARN","message":"a\u001b[2Jb\nc\u202e"}"#;
        assert!(shown(line, Format::Text).ends_with(r"a\u{1b}[2Jb\u{a}c\u{202e}"), "{}", shown(line, Format::Text));
    }
}
