//! Pickles in the archive of a checkpoint.

use acerust::mace::spec::MaceSpec;
use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, ZipArchive};

/// Files by their names.
type Files = Vec<(String, Vec<u8>)>;

/// The pickle of a small model, and the files that lie beside it.
static TINY: LazyLock<(Vec<u8>, Files)> = LazyLock::new(|| {
    let mut zip = ZipArchive::new(Cursor::new(include_bytes!("../test/mace/tiny.model"))).expect("an archive");
    let mut files = Files::new();
    for k in 0..zip.len() {
        let mut file = zip.by_index(k).expect("a file of the archive");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("its bytes");
        files.push((file.name().expect("a name").into_owned(), bytes));
    }
    let at = files.iter().position(|(name, _)| name.ends_with("/data.pkl")).expect("a pickle");
    (without_code(&files.remove(at).1), files)
});

/// Most of a pickle is compiled code, which nobody reads: texts of that length (opcode `X`) are left empty.
fn without_code(pickle: &[u8]) -> Vec<u8> {
    const LONG: usize = 200;
    let (mut out, mut at) = (Vec::new(), 0);
    while at < pickle.len() {
        let n = pickle.get(at + 1..at + 5).map_or(0, |n| u32::from_le_bytes(n.try_into().expect("four")) as usize);
        if pickle[at] == b'X' && n > LONG && n < pickle.len() - at {
            out.extend(*b"X\0\0\0\0");
            at += 5 + n;
        } else {
            out.push(pickle[at]);
            at += 1;
        }
    }
    out
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![TINY.0.clone()]
}

/// What is accepted says the same when it is written and read.
pub fn target(input: &[u8]) -> bool {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let files = TINY.1.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]));
    for (name, bytes) in files.chain([("tiny/data.pkl", input)]) {
        zip.start_file(name, options).expect("room");
        zip.write_all(bytes).expect("room");
    }
    let checkpoint = zip.finish().expect("room").into_inner();
    let Ok(spec) = MaceSpec::from_checkpoint(&checkpoint) else { return false };
    let Ok(written) = spec.to_safetensors() else { return false };
    let again = MaceSpec::from_safetensors(&written).expect("what we write is what we read");
    assert!(written == again.to_safetensors().expect("written before"), "written again it is another file");
    true
}
