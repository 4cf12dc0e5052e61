//! Texts that are compared with a file. After a wanted change: `UPDATE_GOLDEN=1 cargo test --test report`, and read the
//! difference.

use std::path::Path;

pub fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if text != wanted {
        for (number, (line, wanted)) in text.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(line, wanted, "{name}, line {}; the whole text:\n{text}", number + 1);
        }
        panic!("{name} has {} lines, not {}:\n{text}", text.lines().count(), wanted.lines().count());
    }
}
