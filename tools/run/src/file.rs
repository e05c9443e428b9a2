//! Files that are written whole or not at all.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

/// Writes `bytes` beside the file at `path` and then takes its place: whatever fails, the old one stays.
///
/// # Errors
/// If it can't be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // A temporary file is private, this becomes an ordinary one: the umask has the last word.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(".flgc-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // A disk may tell only now that it is full.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
