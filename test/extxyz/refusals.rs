//! Every error names its line and its culprit.

use super::*;

fn refusal(source: impl AsRef<[u8]>) -> String {
    let message = extxyz::parse(source, &Keys::default()).unwrap_err().to_string();
    message.strip_prefix("structure: ").unwrap().to_owned()
}

#[test]
fn malformed_frames() {
    let row = "Properties=species:S:1:pos:R:3:n:I:1:b:L:1:forces:R:3\n";
    for (source, expected) in [
        ("-3\n".to_owned(), "line 1: `-3` is not a number of atoms"),
        ("\n1\n\nH 0 0 0\nfoo\n".into(), "line 5: `foo` is not a number of atoms"),
        ("4294967295\n\n".into(), "line 1: 4294967295 atoms are too many"),
        ("99999999999999999999999\n\n".into(), "line 1: 99999999999999999999999 atoms are too many"),
        ("3".into(), "line 1: 3 atoms announced, but the file ends before the comment line"),
        ("1000000000\n\nH 0 0 0\n".into(), "line 1: 1000000000 atoms announced, but the file ends after 1"),
        ("2\n\nH 0 0 0\nH 0 0\n".into(), "line 4: atom 1: 3 columns instead of 4"),
        ("1\n\n\n".into(), "line 3: atom 0: 0 columns instead of 4"),
        (format!("1\n{row}H 0 0 0 1 T 0 0\n"), "line 3: atom 0: 8 columns instead of 9"),
        (format!("1\n{row}H 0 0 0 1 T 0 0 0 0\n"), "line 3: atom 0: 10 columns instead of 9"),
        (format!("1\n{row}H 0 1.2.3 0 1 T 0 0 0\n"), "line 3: atom 0: column `pos`: `1.2.3` is not a number"),
        (format!("1\n{row}H 0 0 nan 1 T 0 0 0\n"), "line 3: atom 0: column `pos`: `nan` is not finite"),
        (format!("1\n{row}H 0 0 0 1 T 0 1e400 0\n"), "line 3: atom 0: column `forces`: `1e400` is not finite"),
        (
            format!("1\n{row}H 0 0 0 1.5 T 0 0 0\n"),
            "line 3: atom 0: column `n`: `1.5` is not a whole number of 64 bits",
        ),
        (format!("1\n{row}H 0 0 0 1 2 0 0 0\n"), "line 3: atom 0: column `b`: `2` is not T or F"),
        ("1\n\nXx 0 0 0\n".into(), "line 3: atom 0: column `species`: `Xx` is not a chemical element"),
        ("1\n\n119 0 0 0\n".into(), "line 3: atom 0: column `species`: `119` is not a chemical element"),
    ] {
        assert_eq!(refusal(&source), expected, "{source}");
    }
}

#[test]
fn malformed_comment_lines() {
    for (comment, expected) in [
        ("a=1 b=2 a=3", "key `a` appears twice"),
        ("Lattice=\"1 0 0 0 1 0 0 0 1\" lattice=1", "key `Lattice` appears twice, also as `lattice`"),
        ("=1", "no key before `=1`"),
        ("a=\"1", "key `a`: the quote before `1` is not closed"),
        ("a=\"1\\", "key `a`: the quote before `1\\` is not closed"),
        ("a=\"1\"2", "key `a`: `2` follows its end"),
        ("a=[1, 2", "key `a`: the bracket of `[1, 2` is not closed"),
        ("a=[1}", "key `a`: `}` closes no bracket"),
        ("a=[1, 2]b", "key `a`: `b` follows its end"),
        ("a=[[[[[1]]]]]", "key `a`: arrays nest deeper than 4"),
        ("Lattice=\"1 0 0 0 1 0 0 0\"", "Lattice `\"1 0 0 0 1 0 0 0\"` is not nine finite numbers"),
        ("Lattice=\"1 0 0 0 inf 0 0 0 1\"", "Lattice `\"1 0 0 0 inf 0 0 0 1\"` is not nine finite numbers"),
        ("pbc=\"T T\"", "pbc `\"T T\"` is not three of T or F"),
        ("energy=low", "energy `low` is not a finite number"),
        ("virial=\"1 2 3\"", "virial `\"1 2 3\"` is not nine or six finite numbers"),
        ("Lattice=\"1 0 0 0 1 0 0 0 1\" stress=0.5", "stress `0.5` is not nine or six finite numbers"),
        ("Properties=T", "Properties: `T` is not a list of name:type:width"),
        ("Properties=species:S:1:pos", "Properties: `species:S:1:pos` is not a list of name:type:width"),
        ("Properties=:S:1", "Properties: a column has no name"),
        ("Properties=a:X:1", "Properties: column `a`: type `X` is none of S, R, I, L"),
        ("Properties=a:R:0", "Properties: column `a`: width `0` is not a positive number"),
        ("Properties=a:R:-1", "Properties: column `a`: width `-1` is not a positive number"),
        ("Properties=a:R:1:a:R:1", "Properties: column `a` appears twice"),
        ("Properties=pos:R:3", "Properties: neither `species` nor `Z` is listed"),
        ("Properties=species:S:1", "Properties: `pos` is not listed"),
        ("Properties=species:R:1:pos:R:3", "Properties: `species` is not one column of type S or I"),
        ("Properties=species:S:1:pos:R:2", "Properties: `pos` is not three columns of type R"),
        ("Properties=Z:I:1:pos:R:3:forces:I:3", "Properties: `forces` is not three columns of type R"),
    ] {
        assert_eq!(refusal(format!("1\n{comment}\nH 0 0 0\n")), format!("line 2: {expected}"), "{comment}");
    }
}

#[test]
fn invalid_structures() {
    let message = refusal("1\n\nH 0 0 0\n1\nLattice=\"1 0 0 0 1 0 1 1 0\"\nH 0 0 0\n");
    assert!(message.starts_with("line 4: cell row 2 [1.0, 1.0, 0.0] is periodic but"), "{message}");
    assert_eq!(refusal("1\npbc=\"F T F\"\nH 0 0 0\n"), "line 1: cell row 1 is zero, yet periodic");
}

#[test]
fn bytes_that_are_no_text() {
    assert_eq!(refusal(b"1\n\nH 0 \xff 0\n"), "line 3: byte 5 is not valid UTF-8");
}

#[test]
fn endless_lines_are_not_swallowed() {
    use std::io::{BufReader, Read, repeat};
    let endless = BufReader::new(b"1\n".chain(repeat(b'a')));
    let error = Reader::new(endless, &Keys::default()).next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "structure: line 2: longer than 16777216 bytes");
}

#[test]
fn absurd_widths_allocate_nothing() {
    let huge = usize::MAX;
    let source = format!("1\nProperties=species:S:1:pos:R:3:a:R:{huge}:b:R:{huge}\nH 0 0 0 1\n");
    assert_eq!(refusal(source), format!("line 3: atom 0: 5 columns instead of {huge}"));
}

#[test]
fn frames_that_could_not_be_read_again_are_not_written() {
    let good = || Frame::from(Structure::fcc(29, 3.6));
    let column = |data| Column { width: 1, data };
    let with_info = |key: &str, value| {
        let mut f = good();
        f.info.insert(key.into(), value);
        f
    };
    let with_array = |name: &str, column| {
        let mut f = good();
        f.arrays.insert(name.into(), column);
        f
    };
    let mut invalid = good();
    invalid.structure.numbers[1] = 0;
    let mixed = Value::Array(vec![Value::Int(1), Value::Bool(true)]);
    let deep = (0..5).fold(Value::Int(1), |v, _| Value::Array(vec![v]));
    for (frame, expected) in [
        (invalid, "atom 1: no element has the atomic number 0"),
        (Frame { energy: Some(f64::NAN), ..good() }, "the energy is not finite"),
        (Frame { virial: Some([[f64::INFINITY; 3]; 3]), ..good() }, "the virial is not finite"),
        (Frame { forces: Some(vec![[0.0; 3]; 3]), ..good() }, "3 forces for 4 atoms"),
        (Frame { forces: Some(vec![[f64::NAN; 3]; 4]), ..good() }, "atom 0: force [NaN, NaN, NaN] is not finite"),
        (with_info("energy", Value::Int(1)), "info: the key `energy` is reserved"),
        (with_info("stress", Value::Int(1)), "info: the key `stress` is reserved"),
        (with_info("LATTICE", Value::Int(1)), "info: the key `LATTICE` is reserved"),
        (with_info("", Value::Int(1)), "info: the key `` is reserved"),
        (with_info("a", Value::Real(f64::NAN)), "info: key `a`: NaN is not finite"),
        (with_info("a", mixed), "info: key `a`: an array mixes types"),
        (with_info("a", deep), "info: key `a`: arrays nest deeper than 4"),
        (with_array("a", column(Data::Int(vec![1]))), "array `a` holds 1 entries, not 4 atoms × 1"),
        (
            with_array("a", column(Data::Text(vec!["x".into(), "y z".into(), "".into(), "".into()]))),
            "array `a`: `y z` is empty or contains a blank",
        ),
        (
            with_array("pos", column(Data::Int(vec![0; 4]))),
            "arrays: the name `pos` is reserved or not fit for Properties",
        ),
        (
            with_array("a:b", column(Data::Int(vec![0; 4]))),
            "arrays: the name `a:b` is reserved or not fit for Properties",
        ),
    ] {
        let mut writer = Writer::new(Vec::new(), &Keys::default());
        assert_eq!(writer.write(&frame).unwrap_err().to_string(), format!("structure: {expected}"));
        assert!(writer.into_inner().is_empty());
    }
}
