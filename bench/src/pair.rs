//! The other program of a pair: built out of a revision, beside this tree, or built already.
//!
//! All revisions share one work tree and one target folder below `target/pair`: the dependencies are compiled once, and
//! what two revisions have in common is compiled once. The program of each revision is kept.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::args::Args;
use crate::output::say;
use crate::stack::without_settings;

const BUILD_BOUND: Duration = Duration::from_secs(45 * 60);
const GIT_BOUND: Duration = Duration::from_secs(120);

/// A program that this one is compared with.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) program: PathBuf,
    /// What was asked for, and the commit that it is.
    pub(crate) description: String,
}

/// The base that was asked for; none when there is no pair.
pub(crate) async fn base(repository: &Path, args: &Args) -> anyhow::Result<Option<Base>> {
    if let Some(program) = &args.pair_program {
        let program = program.canonicalize().with_context(|| format!("{} is missing", program.display()))?;
        return Ok(Some(Base { description: program.display().to_string(), program }));
    }
    let Some(revision) = &args.pair else { return Ok(None) };
    let commit = commit(repository, revision).await?;
    let description = format!("{revision} ({})", commit.get(..12).unwrap_or(&commit));
    let program = built(repository, &commit).await?;
    Ok(Some(Base { program, description }))
}

async fn commit(repository: &Path, revision: &str) -> anyhow::Result<String> {
    let revision = format!("{revision}^{{commit}}");
    git(repository, &["rev-parse", "--verify", "--quiet", "--end-of-options", &revision])
        .await
        .with_context(|| format!("{revision} is no revision of {}", repository.display()))
}

/// The program of that commit; it is built when it is not there yet.
async fn built(repository: &Path, commit: &str) -> anyhow::Result<PathBuf> {
    let folder = repository.join("target/pair");
    let program = folder.join(commit).join("openorder");
    if program.exists() {
        say(format_args!("{} is built already", program.display()));
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let source = folder.join("source");
    check_out(repository, &source, commit).await?;
    say(format_args!("building {commit} in {}; its program is kept for later runs", source.display()));
    let target = folder.join("target");
    let mut command = Command::new("cargo");
    without_settings(&mut command);
    command.args(["build", "--release", "--locked", "--package", "openorder"]).env("CARGO_TARGET_DIR", &target);
    run(command.current_dir(&source).stdout(Stdio::null()), BUILD_BOUND).await?;
    // Under its name only once it is whole.
    let part = folder.join(format!("{commit}.part"));
    fs::copy(target.join("release/openorder"), &part).context("the program that was built")?;
    fs::create_dir_all(folder.join(commit))?;
    fs::rename(&part, &program)?;
    Ok(program)
}

/// The work tree of the pair, at that commit. What somebody changed in it is thrown away: it is nobody's to work in.
async fn check_out(repository: &Path, source: &Path, commit: &str) -> anyhow::Result<()> {
    let path = source.to_str().context("the repository's path is no text")?;
    if source.join(".git").exists() {
        return git(source, &["checkout", "--quiet", "--force", "--detach", commit]).await.map(drop);
    }
    // Git may still know one that was removed with the target folder.
    git(repository, &["worktree", "prune"]).await?;
    git(repository, &["worktree", "add", "--quiet", "--force", "--detach", path, commit]).await.map(drop)
}

/// What Git prints, without the line's end.
async fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(GIT_BOUND, command.output()).await.context("git takes too long")??;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn run(command: &mut Command, bound: Duration) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let program = Path::new(command.as_std().get_program()).file_name().unwrap_or(OsStr::new("?")).to_owned();
    let status = tokio::time::timeout(bound, command.status()).await;
    let status = status.with_context(|| format!("{} takes more than {bound:?}", program.display()))??;
    ensure!(status.success(), "{} failed", program.display());
    Ok(())
}
