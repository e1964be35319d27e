//! Files that appear complete or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::{Builder, NamedTempFile};

/// A file under way, written beside the place that it takes when it is finished; without [`NewFile::finish`] nothing is left of it.
///
/// What was there before stays until then and hands on its mode; a symbolic link stays one, and its target is replaced. What is no
/// regular file (a pipe, a terminal, the null device) is written to as it is.
#[derive(Debug)]
pub struct NewFile {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Device(File),
    Beside { file: NamedTempFile, place: PathBuf, _listed: Listed },
}

impl NewFile {
    /// # Errors
    /// A directory; a file or a folder that may not be written to; a folder that is not there.
    pub fn create(path: impl AsRef<Path>) -> io::Result<NewFile> {
        let path = path.as_ref();
        let writable = || File::options().write(true).open(path);
        let before = match fs::metadata(path) {
            Ok(m) if m.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(m) if !m.is_file() => return Ok(NewFile { sink: Sink::Device(writable()?) }),
            // Whoever may not write to a file is not to replace it either.
            Ok(m) => writable().map(|_| Some(m.permissions()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let place = follow(path);
        let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = Builder::new();
        builder.prefix(".acerust-").suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask, as of any new file
        let file = match builder.tempfile_in(folder) {
            // A file that may be written to in a folder that may not: it is copied over in the end.
            Err(e)
                if before.is_some()
                    && matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                builder.tempfile()?
            }
            file => file?,
        };
        let _listed = Listed::new(file.path());
        if let Some(mode) = before {
            file.as_file().set_permissions(mode)?;
        }
        Ok(NewFile { sink: Sink::Beside { file, place, _listed } })
    }

    /// Does it take its place in the end? Otherwise it is a device, which has what was written at once.
    pub fn is_file(&self) -> bool {
        matches!(self.sink, Sink::Beside { .. })
    }

    /// The file, complete and on the disk, takes its place.
    ///
    /// # Errors
    /// A disk that is full or fails; what was there before stays then.
    pub fn finish(self) -> io::Result<()> {
        let Sink::Beside { file, place, _listed } = self.sink else { return Ok(()) };
        file.as_file().sync_all()?;
        match file.persist(&place) {
            Ok(_) => Ok(()),
            // What is a mount point, as files in containers are, or on another disk than its folder is written to in place.
            Err(e) if matches!(e.error.kind(), ErrorKind::ResourceBusy | ErrorKind::CrossesDevices) => {
                let mut file = e.file;
                let mut target = File::options().write(true).truncate(true).open(place)?;
                file.rewind()?;
                io::copy(&mut file, &mut target)?;
                target.sync_all()
            }
            Err(e) => Err(e.error),
        }
    }

    fn file(&mut self) -> &mut File {
        match &mut self.sink {
            Sink::Device(file) => file,
            Sink::Beside { file, .. } => file.as_file_mut(),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file().seek(to)
    }
}

/// Where a chain of symbolic links ends, there or not.
fn follow(path: &Path) -> PathBuf {
    let mut place = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&place) else { break };
        place = place.parent().unwrap_or(Path::new("")).join(target);
    }
    place
}

static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished<T>(f: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    f(&mut UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Removes the files of this process that are under way: for a program that is asked to end.
pub fn remove_unfinished() {
    unfinished(|paths| paths.iter().for_each(|path| drop(fs::remove_file(path))));
}

/// A file for [`remove_unfinished`].
#[derive(Debug)]
struct Listed(PathBuf);

impl Listed {
    fn new(path: &Path) -> Listed {
        unfinished(|paths| paths.insert(path.to_owned()));
        Listed(path.to_owned())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        unfinished(|paths| paths.remove(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        let mut file = NewFile::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.finish().unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, "first");
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"second").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(folder.path()).len()), ("first", 2));
        drop(file);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(folder.path())), ("first", vec!["a".into()]));
        write(&path, "third");
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(folder.path())), ("third", vec!["a".into()]));
        assert_eq!(NewFile::create(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(NewFile::create(folder.path().join("no/where")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_under_way_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::create(folder.path().join("a")).unwrap();
        let Sink::Beside { file: beside, .. } = &file.sink else { panic!("a device") };
        let beside = beside.path().to_owned();
        assert!(beside.exists() && unfinished(|paths| paths.contains(&beside)));
        // As `remove_unfinished`, but for the files of other tests.
        unfinished(|paths| fs::remove_file(paths.get(&beside).expect("it is listed"))).unwrap();
        assert!(!beside.exists() && file.finish().is_err());
        assert!(names(folder.path()).is_empty() && !unfinished(|paths| paths.contains(&beside)));
    }

    #[cfg(unix)]
    #[test]
    fn modes_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [file, link, dangling] = ["file", "link", "dangling"].map(|name| folder.path().join(name));
        write(&file, "");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        symlink("new", &dangling).unwrap();
        write(&link, "through the link");
        assert_eq!(fs::read_to_string(&file).unwrap(), "through the link");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        write(&dangling, "at its end");
        assert_eq!(fs::read_to_string(folder.path().join("new")).unwrap(), "at its end");
        assert!(link.is_symlink() && dangling.is_symlink());
        let mut device = NewFile::create("/dev/null").unwrap();
        device.write_all(b"nothing").unwrap();
        assert!(!device.is_file());
        device.finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
