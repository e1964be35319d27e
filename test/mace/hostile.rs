//! Files that are broken or mean harm: an error that names the culprit, in bounded time and memory.

use super::models::{here, read};
use acerust::mace::spec::MaceSpec;

fn refuse<T: std::fmt::Debug>(result: acerust::Result<T>, part: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(part), "{message}");
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn truncated_files_are_errors() {
    let checkpoint = read(here("tiny.model"));
    for n in (0..checkpoint.len()).step_by(4099) {
        assert!(MaceSpec::from_checkpoint(&checkpoint[..n]).is_err());
    }
    let safetensors = MaceSpec::from_checkpoint(&checkpoint).unwrap().to_safetensors().unwrap();
    for n in (0..safetensors.len()).step_by(499) {
        assert!(MaceSpec::from_safetensors(&safetensors[..n]).is_err());
    }
}

#[test]
fn bytes_that_were_changed_never_end_the_program() {
    let checkpoint = read(here("tiny.model"));
    let safetensors = MaceSpec::from_checkpoint(&checkpoint).unwrap().to_safetensors().unwrap();
    let mut state = 7;
    for _ in 0..300 {
        let (mut a, mut b) = (checkpoint.clone(), safetensors.clone());
        for _ in 0..1 + random(&mut state) % 4 {
            let r = random(&mut state);
            let (k, l) = (r as usize % a.len(), r as usize % b.len().min(9000));
            a[k] = (r >> 40) as u8;
            b[l] = (r >> 40) as u8;
        }
        let _ = MaceSpec::from_checkpoint(&a);
        let _ = MaceSpec::from_safetensors(&b);
    }
}

#[test]
fn lies_are_named() {
    refuse(MaceSpec::from_checkpoint(b"PK"), "no zip archive");
    refuse(MaceSpec::from_safetensors(b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"), "safetensors");
    refuse(MaceSpec::from_safetensors(b"\x02\0\0\0\0\0\0\0{}"), "no `config`");
    refuse(MaceSpec::from_json(b"{}"), "config");
    refuse(MaceSpec::from_json(b"[1"), "expected");
    // A shape that asks for more than the file has.
    let tiny = String::from_utf8(read(here("tiny.json"))).unwrap();
    let shape = "\"r_max\":{\"shape\":[]";
    assert!(tiny.contains(shape));
    for (lie, part) in
        [("[2]", "1 values for the shape [2]"), ("[4294967296,4294967296,4294967296]", "values for the shape")]
    {
        let json = tiny.replace(shape, &format!("\"r_max\":{{\"shape\":{lie}"));
        refuse(MaceSpec::from_json(json.as_bytes()), part);
    }
}
