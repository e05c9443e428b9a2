//! Arguments to paths: files as they are, folders walked in order of names, `-` for a list on standard input.

use std::{
    io::{self, BufRead, Read},
    iter,
    path::{Path, PathBuf},
};
use walkdir::{DirEntry, WalkDir};

/// Longest line of a list.
const MAX_LINE: u64 = 64 << 10;

/// A path to a file that may be a picture, or a place where there is none.
pub type Input = Result<PathBuf, InputError>;

/// A place that can't be read.
#[derive(Debug, PartialEq, Eq)]
pub struct InputError {
    /// The place.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// The files that `args` mean, found one by one as the iterator is asked for them.
pub fn inputs(args: &[PathBuf]) -> impl Iterator<Item = Input> {
    args.iter().flat_map(|arg| -> Box<dyn Iterator<Item = Input>> {
        if arg.as_os_str() == "-" { Box::new(lines(io::stdin().lock()).flat_map(of_line)) } else { files(arg) }
    })
}

fn of_line(line: Input) -> Box<dyn Iterator<Item = Input>> {
    match line {
        Ok(path) => files(&path),
        Err(error) => Box::new(iter::once(Err(error))),
    }
}

/// `path` itself, or the files in it and in its folders. A path that leads nowhere is left to the reader of the picture.
fn files(path: &Path) -> Box<dyn Iterator<Item = Input>> {
    if !path.is_dir() {
        return Box::new(iter::once(Ok(path.to_owned())));
    }
    let mut files = walk(path).peekable();
    if files.peek().is_none() {
        let message = "found no files in this folder, expected pictures".to_owned();
        return Box::new(iter::once(Err(InputError { path: path.to_owned(), message })));
    }
    Box::new(files)
}

/// The files in `folder` and in its folders, links followed, in order of names. Hidden files and folders are left out.
pub fn walk(folder: &Path) -> impl Iterator<Item = Input> + use<> {
    let is_hidden = |entry: &DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
    let root = folder.to_owned();
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    entries.filter_entry(move |entry| !is_hidden(entry)).filter_map(move |entry| match entry {
        Ok(entry) if entry.file_type().is_dir() => None,
        Ok(entry) if entry.file_type().is_file() => Some(Ok(entry.into_path())),
        // Opening a pipe would wait for somebody who writes to it.
        Ok(entry) => Some(Err(InputError {
            path: entry.into_path(),
            message: "found no regular file, expected a picture".to_owned(),
        })),
        Err(error) => {
            let message = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
            Some(Err(InputError { path: error.path().unwrap_or(&root).to_owned(), message }))
        }
    })
}

/// The paths of a list, one on each line, read as they are asked for. Empty lines are left out.
fn lines(mut list: impl BufRead) -> impl Iterator<Item = Input> {
    let mut ended = false;
    iter::from_fn(move || {
        while !ended {
            let mut line = Vec::new();
            let message = match list.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(length) if length as u64 == MAX_LINE => {
                    format!("found a line of {MAX_LINE} bytes or more, expected a path")
                }
                Ok(_) => {
                    let line = line.strip_suffix(b"\n").unwrap_or(&line);
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if line.is_empty() {
                        continue;
                    }
                    return Some(Ok(path_of(line)));
                }
                Err(error) => error.to_string(),
            };
            ended = true;
            return Some(Err(InputError { path: "-".into(), message }));
        }
        None
    })
}

/// A path from its bytes, which need not be UTF-8.
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

/// A path from its bytes.
#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lists() {
        let paths: Vec<_> = lines(&b"a.png\n\r\n\nb c.png\r\nlast"[..]).map(Result::unwrap).collect();
        assert_eq!(paths, [Path::new("a.png"), Path::new("b c.png"), Path::new("last")]);
        let endless = io::BufReader::new(io::repeat(b'x'));
        let found: Vec<_> = lines(endless).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].as_ref().is_err_and(|error| error.message.contains("65536")));
    }

    #[test]
    fn folders_are_walked_in_order_without_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/10.png", "a.png", "c.png", ".hidden.png", ".git/x.png"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        let args = [folder.path().to_owned(), folder.path().join("empty"), "missing.png".into()];
        let found: Vec<_> = inputs(&args).collect();
        let expected = ["a.png", "b/10.png", "b/2.png", "c.png"].map(|name| Ok(folder.path().join(name)));
        assert_eq!(found[..4], expected);
        assert!(found[4].as_ref().is_err_and(|error| error.path == args[1]));
        assert_eq!(found[5..], [Ok("missing.png".into())]);
    }
}
