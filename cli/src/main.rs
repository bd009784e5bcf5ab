//! The `openorder` program.

use std::process::ExitCode;

use clap::Parser;
use openorder::args::Cli;
use openorder::verify::CouldNotCheck;
use openorder::{StartError, output};
use openorder_config::ConfigErrors;

/// Exit code of wrong arguments (clap's own), wrong settings, and of a question that could not be answered.
const NO_ANSWER: u8 = 2;

fn main() -> ExitCode {
    openorder_allocator::keep_freed_memory();
    match openorder::run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::error(format_args!("{error:#}"));
            let settings = error.is::<ConfigErrors>() || matches!(error.downcast_ref(), Some(StartError::Settings(_)));
            let no_answer = settings || error.is::<CouldNotCheck>();
            if no_answer { ExitCode::from(NO_ANSWER) } else { ExitCode::FAILURE }
        }
    }
}
