//! Migrations as part of the program. sqlx has a macro for it, but that one builds the client for PostgreSQL, with its
//! runtime and its TLS, a second time, for the compiler to run: minutes of every first build. This one needs nothing.

use std::path::{Path, PathBuf};

use proc_macro::TokenStream;

/// A migration: its version, its description, its file.
type File = (i64, String, PathBuf);

/// The migrations of a folder of the crate (`migrations!("tests/migrations")`; `migrations!()`: of `migrations`), as a
/// `LazyLock<Migrator>`. Every file is `<version>_<description>.sql`; another one does not compile.
#[proc_macro]
pub fn migrations(input: TokenStream) -> TokenStream {
    let named = input.to_string();
    let folder = match named.trim().trim_matches('"') {
        "" => "migrations",
        named => named,
    };
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let code = match files_of(&root.join(folder)) {
        Ok(files) => migrator(&files),
        Err(problem) => format!("::core::compile_error!({problem:?})"),
    };
    code.parse().unwrap_or_default()
}

fn migrator(files: &[File]) -> String {
    // `include_str!` has the compiler watch the file as well.
    let migration = |(version, description, path): &File| {
        format!("({version}_i64, {description:?}, ::core::include_str!({:?}))", path.display().to_string())
    };
    let migrations: Vec<String> = files.iter().map(migration).collect();
    format!("::std::sync::LazyLock::new(|| ::openorder_messaging::migrator(&[{}]))", migrations.join(", "))
}

/// In the order of their versions.
fn files_of(folder: &Path) -> Result<Vec<File>, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        let (version, description) = path
            .file_name()
            .and_then(|name| parse(name.to_str()?))
            .ok_or_else(|| format!("{} is not named like a migration, <version>_<description>.sql", path.display()))?;
        files.push((version, description, path));
    }
    files.sort();
    match files.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(two) => Err(format!("{} and {} have one version", two[0].2.display(), two[1].2.display())),
        None => Ok(files),
    }
}

/// Version and description of a file name, as sqlx reads them.
fn parse(name: &str) -> Option<(i64, String)> {
    let (version, rest) = name.strip_suffix(".sql")?.split_once('_')?;
    // `.up.sql` and `.down.sql` are migrations that can be undone; ours only go on.
    (!rest.is_empty() && !rest.contains('.')).then_some((version.parse().ok()?, rest.replace('_', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_version_and_a_description() {
        assert_eq!(parse("1001_order.sql"), Some((1001, "order".to_owned())));
        assert_eq!(parse("0002_compensation_failed.sql"), Some((2, "compensation failed".to_owned())));
        for name in ["order.sql", "x_order.sql", "1001_.sql", "1001_order.up.sql", "1001_order.txt", ""] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
