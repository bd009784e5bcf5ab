//! Compiles `proto/` in Rust alone: no protoc to install.

mod events;
mod secrets;

use std::error::Error;
use std::path::{Path, PathBuf};

/// Where the contract stands, as seen from this crate.
const PROTO_ROOT: &str = "../../proto";
/// What OpenOrder's own processes alone ask of each other.
const INTERNAL: &str = "openorder/internal";

#[expect(clippy::print_stdout, reason = "how Cargo is answered")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO_ROOT}");
    let mut files = Vec::new();
    collect(&Path::new(PROTO_ROOT).join("openorder"), &mut files)?;
    files.sort();

    let internal = Path::new(PROTO_ROOT).join(INTERNAL);
    let public: Vec<_> = files.iter().filter(|file| !file.starts_with(&internal)).cloned().collect();

    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let compiler = compile(files)?;
    std::fs::write(out_dir.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    std::fs::write(out_dir.join("public_descriptors.bin"), compile(public)?.encode_file_descriptor_set())?;

    std::fs::write(out_dir.join("events.rs"), events::table(&compiler.descriptor_pool())?)?;

    let pool = compiler.descriptor_pool();
    let secrets = secrets::of(&pool)?;
    std::fs::write(out_dir.join("secrets.rs"), secrets::table(&secrets)?)?;
    std::fs::write(out_dir.join("secret_debugs.rs"), secrets::debugs(&pool, &secrets)?)?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    config.skip_debug(secrets.keys().map(|message| format!(".{message}")));
    // Sorted, so that equal messages are equal bytes.
    config.btree_map(["."]);
    // Handed on as they are.
    config.bytes([".openorder.internal.rpc"]);
    config.include_file("contract.rs");
    tonic_prost_build::configure().compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}

/// Reads these files, what they import, and their comments.
fn compile(files: Vec<PathBuf>) -> Result<protox::Compiler, protox::Error> {
    let mut compiler = protox::Compiler::new([PROTO_ROOT])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    Ok(compiler)
}

/// Adds every `.proto` file below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
