//! Programs that the lab runs beside its own: from the folder that tests/all installs them in, or else from the path.

use std::env;
use std::path::{Path, PathBuf};

pub fn find(program: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut files = [installed].into_iter().chain(env::split_paths(&path)).map(|folder| folder.join(program));
    files.find(|file| file.exists())
}
