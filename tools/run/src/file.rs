//! Files that are written whole or not at all.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

/// What the names of temporary files begin with. An interrupted write may leave one.
pub const PREFIX: &str = ".flgc-";

/// Writes `bytes` to a temporary file beside `path`, which then takes its place: whatever fails, the old file stays. What is there and is no file, as a pipe or
/// `/dev/stdout`, is written to.
///
/// # Errors
/// If it can't be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Through links, so that they stay.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return fs::File::options().write(true).open(path)?.write_all(bytes);
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // A temporary file is private, this becomes an ordinary one: the umask has the last word.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(PREFIX).tempfile_in(folder)?;
    file.write_all(bytes)?;
    // A disk may tell only now that it is full.
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}
