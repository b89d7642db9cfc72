//! Files that are whole at any moment: written under another name, then renamed.
use crate::error::Error;
use std::path::Path;

/// Writes a file, or leaves what was there.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&new);
        Error::file(path, e)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("rla-whole-{}", std::process::id()));
        let taken = folder.join("taken");
        std::fs::create_dir_all(taken.join("inside")).unwrap();
        super::write(&folder.join("file"), "one").unwrap();
        super::write(&folder.join("file"), "two").unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("file")).unwrap(), "two");
        assert!(super::write(&taken, "text").is_err());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
