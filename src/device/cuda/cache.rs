//! Machine code on disk: in a folder of the user's own, each file with a hash of what it holds. Whatever is not as it should be is
//! compiled again.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Programs of one folder.
pub struct Cache {
    folder: PathBuf,
}

/// No program comes near it.
const MOST_BYTES: u64 = 1 << 28;

impl Cache {
    /// In `$ACERUST_CACHE`, else `acerust` in the user's cache folder; `None` where there is no such place, and where others than
    /// the user could write to it.
    pub fn of_user() -> Option<Cache> {
        let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = folder("ACERUST_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|f| f.join("acerust")))
            .or_else(|| folder("HOME").map(|f| f.join(".cache/acerust")))
            .or_else(|| folder("LOCALAPPDATA").map(|f| f.join("acerust")));
        Cache::at(folder?)
    }

    fn at(folder: PathBuf) -> Option<Cache> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).ok()?;
        }
        #[cfg_attr(not(unix), expect(unused_mut, reason = "folders have modes on Unix alone"))]
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let there = match builder.create(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return None,
            // A link to a folder is not followed: who made it may make it another one.
            _ => fs::symlink_metadata(&folder).ok()?,
        };
        (there.is_dir() && is_ours_alone(&there)).then_some(Cache { folder })
    }

    /// The program of this name and source, where it was kept.
    pub fn get(&self, name: &str, key: u128) -> Option<Vec<u8>> {
        let mut options = File::options();
        options.read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(self.path(name, key)).ok()?;
        let there = file.metadata().ok()?;
        if !there.is_file() || !is_ours_alone(&there) || there.len() > MOST_BYTES {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        let start = bytes.iter().position(|&b| b == b'\n')? + 1;
        let program = bytes.split_off(start);
        (bytes == header(key, &program).as_bytes()).then_some(program)
    }

    /// Keeps a program, in one step. A failure is no error: the next call compiles again.
    pub fn put(&self, name: &str, key: u128, program: &[u8]) {
        let write = || -> io::Result<()> {
            // A name that nobody knows before, of a file that was not there.
            let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(&self.folder)?;
            file.write_all(header(key, program).as_bytes())?;
            file.write_all(program)?;
            file.persist(self.path(name, key)).map(drop).map_err(|e| e.error)
        };
        let _ = write();
    }

    fn path(&self, name: &str, key: u128) -> PathBuf {
        self.folder.join(format!("{name}-{key:032x}.cubin"))
    }
}

/// What a program has before it in its file: for what it was made, and what it is.
fn header(key: u128, program: &[u8]) -> String {
    format!("acerust-program/1 {key:032x} {:032x}\n", fnv(program.iter().copied()))
}

/// Can nobody but this user (and the system's) write to it?
#[cfg(unix)]
fn is_ours_alone(there: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: asks for a number.
    there.uid() == unsafe { libc::geteuid() } && there.mode() & 0o022 == 0
}

/// The user's folders are theirs alone where access goes by lists.
#[cfg(not(unix))]
fn is_ours_alone(_there: &Metadata) -> bool {
    true
}

/// FNV-1a in 128 bits: the same on every machine, and no two texts will ever share it by chance.
pub fn fnv(bytes: impl Iterator<Item = u8>) -> u128 {
    bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |h, b| {
        (h ^ u128::from(b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("cache/acerust");
        (outer, inner)
    }

    #[test]
    fn programs_come_back_as_they_were() {
        let (_outer, folder) = folder();
        let cache = Cache::at(folder.clone()).unwrap();
        assert_eq!(cache.get("list", 1), None);
        for program in [&b"\x7fELF one\n two"[..], b"", &[0; 100_000]] {
            cache.put("list", 1, program);
            assert_eq!(cache.get("list", 1).as_deref(), Some(program));
            assert_eq!((cache.get("list", 2), cache.get("site", 1)), (None, None));
        }
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "a temporary file is left");
    }

    #[test]
    fn whatever_is_wrong_with_a_file_it_is_compiled_and_written_again() {
        let (_outer, folder) = folder();
        let cache = Cache::at(folder).unwrap();
        cache.put("list", 1, b"\x7fELF program");
        let path = cache.path("list", 1);
        let good = fs::read(&path).unwrap();
        let mut bad: Vec<Vec<u8>> = vec![vec![], b"\x7fELF program".to_vec(), good[..good.len() - 1].to_vec()];
        // Every single bit counts.
        bad.extend((0..good.len()).map(|k| [&good[..k], &[good[k] ^ 1], &good[k + 1..]].concat()));
        for bad in bad {
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.get("list", 1), None, "{}", String::from_utf8_lossy(&bad));
            cache.put("list", 1, b"\x7fELF program");
            assert_eq!(cache.get("list", 1).as_deref(), Some(&b"\x7fELF program"[..]));
        }
        // That of another source under this name.
        cache.put("list", 2, b"\x7fELF another");
        fs::copy(cache.path("list", 2), &path).unwrap();
        assert_eq!(cache.get("list", 1), None);
    }

    #[cfg(unix)]
    #[test]
    fn folders_and_files_that_others_can_write_to_or_that_are_links_are_not_trusted() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (outer, folder) = folder();
        let cache = Cache::at(folder.clone()).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        cache.put("list", 1, b"\x7fELF program");
        let path = cache.path("list", 1);

        mode(&path, 0o666);
        assert_eq!(cache.get("list", 1), None);
        mode(&path, 0o600);
        assert!(cache.get("list", 1).is_some());

        // A link is neither read nor followed when a program is kept.
        let victim = outer.path().join("victim");
        fs::rename(&path, &victim).unwrap();
        symlink(&victim, &path).unwrap();
        assert_eq!(cache.get("list", 1), None);
        cache.put("list", 1, b"\x7fELF other");
        assert!(!path.is_symlink() && fs::read(&victim).unwrap().ends_with(b"program"));

        for others in [0o777, 0o770, 0o702] {
            mode(&folder, others);
            assert!(Cache::at(folder.clone()).is_none());
        }
        mode(&folder, 0o700);
        let link = outer.path().join("link");
        symlink(&folder, &link).unwrap();
        assert!(Cache::at(link).is_none());
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Cache::at(file).is_none());
    }
}
