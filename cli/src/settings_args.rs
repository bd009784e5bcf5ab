//! Where the settings of a command come from, as it is given on the command line.

use std::path::PathBuf;

use clap::Args;

/// Where settings come from besides defaults and environment. Every command takes them, and so does the program itself:
/// clap's global arguments would lose what stands before the command when more stands behind it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// TOML file of settings, instead of OPENORDER_CONFIG or ./openorder.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting, above file and environment; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SettingsArgs {
    /// These, and above them those that came later.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let config = later.config.as_ref().or(self.config.as_ref());
        Self { config: config.cloned(), set: [self.set.as_slice(), later.set.as_slice()].concat() }
    }
}
