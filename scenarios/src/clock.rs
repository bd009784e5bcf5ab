//! Wall clocks that can be set, one a role: a small library that is preloaded into its processes (`clock/shifted_clock.c`).

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clock/shifted_clock.c");

/// The clocks of a fleet's roles.
pub(crate) struct Clocks {
    folder: PathBuf,
    library: PathBuf,
}

impl Clocks {
    /// Compiles the library with the system's C compiler, into `folder`.
    pub(crate) async fn new(folder: &Path) -> Self {
        let library = folder.join("shifted_clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-Wall", "-shared", "-fPIC", SOURCE, "-o"]).arg(&library).arg("-ldl");
        let output = compiler.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder: folder.to_owned(), library }
    }

    /// What a process of this role has to have in its environment; its clock is right at first.
    pub(crate) fn variables(&self, role: &str) -> [(&'static str, String); 2] {
        self.shift(role, 0);
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        [("LD_PRELOAD", path(&self.library)), ("SHIFTED_CLOCK_FILE", path(&self.file(role)))]
    }

    /// Sets the clock of a role's processes at once, by so many seconds ahead of the right time.
    pub(crate) fn shift(&self, role: &str, seconds: i64) {
        // Not truncated: the processes have it mapped.
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(self.file(role));
        file.expect("a file for a clock").write_all_at(&seconds.to_ne_bytes(), 0).expect("the clock is set");
    }

    fn file(&self, role: &str) -> PathBuf {
        self.folder.join(format!("{role}.clock"))
    }
}
