//! Extended XYZ: what is read, what is refused, and that nothing is lost on the way back.

use acerust::extxyz::{self, Column, Data, Frame, Keys, Reader, Value, Writer};
use acerust::structure::Structure;

fn parse(text: &str) -> Vec<Frame> {
    extxyz::parse(text, &Keys::default()).unwrap()
}

fn one(text: &str) -> Frame {
    let mut frames = parse(text);
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

fn written(frames: &[Frame]) -> String {
    let mut writer = Writer::new(Vec::new(), &Keys::default());
    frames.iter().for_each(|f| writer.write(f).unwrap());
    String::from_utf8(writer.into_inner()).unwrap()
}

/// The frame after being written and read.
fn again(frame: &Frame) -> Frame {
    one(&written(std::slice::from_ref(frame)))
}

/// The value of `key` in the comment line of a frame without atoms.
fn value(comment: &str) -> Value {
    one(&format!("0\n{comment}\n")).info.swap_remove("key").unwrap()
}

fn text(s: &str) -> Value {
    Value::Text(s.into())
}

fn array<T>(wrap: impl Fn(T) -> Value, items: impl IntoIterator<Item = T>) -> Value {
    Value::Array(items.into_iter().map(wrap).collect())
}

const FULL: &str = "\
2
Lattice=\"4 0 0 1 5 0 0.5 0.25 6\" Properties=id:I:1:pos:R:3:tag:S:2:forces:R:3:species:S:1:fixed:L:1:q:R:1 \
energy=-1.5e1 virial=\"1 2 3 4 5 6 7 8 9\" pbc=\"T F T\" name=\"two \\\"atoms\\\"\" relaxed step=7 dipole=[0.5, 1, -2]
10 0.0 0.0 0.0 a b 0.1 0.2 0.3 Si T 0.25
11 1.0 2.5 3.0 c d -0.1 -0.2 -0.3 Mo F -0.25
1

H 1 2 3
";

#[test]
fn columns_in_any_order_and_everything_else_is_kept() {
    let frames = parse(FULL);
    assert_eq!(frames.len(), 2);
    let f = &frames[0];
    assert_eq!(f.structure.numbers, [14, 42]);
    assert_eq!(f.structure.positions, [[0.0; 3], [1.0, 2.5, 3.0]]);
    assert_eq!(f.structure.cell, [[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, 0.25, 6.0]]);
    assert_eq!(f.structure.pbc, [true, false, true]);
    assert_eq!(f.energy, Some(-15.0));
    assert_eq!(f.forces.as_deref(), Some(&[[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]][..]));
    // Nine numbers column by column, as ASE writes them.
    assert_eq!(f.virial, Some([[1.0, 4.0, 7.0], [2.0, 5.0, 8.0], [3.0, 6.0, 9.0]]));
    let info: Vec<(&str, &Value)> = f.info.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let dipole = array(Value::Real, [0.5, 1.0, -2.0]);
    assert_eq!(
        info,
        [
            ("name", &text("two \"atoms\"")),
            ("relaxed", &Value::Bool(true)),
            ("step", &Value::Int(7)),
            ("dipole", &dipole)
        ]
    );
    let arrays: Vec<(&str, &Column)> = f.arrays.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let words = ["a", "b", "c", "d"].map(String::from).to_vec();
    assert_eq!(
        arrays,
        [
            ("id", &Column { width: 1, data: Data::Int(vec![10, 11]) }),
            ("tag", &Column { width: 2, data: Data::Text(words) }),
            ("fixed", &Column { width: 1, data: Data::Bool(vec![true, false]) }),
            ("q", &Column { width: 1, data: Data::Real(vec![0.25, -0.25]) })
        ]
    );
    let plain = Structure { numbers: vec![1], positions: vec![[1.0, 2.0, 3.0]], ..Structure::default() };
    assert_eq!(frames[1], Frame::from(plain));
}

#[test]
fn what_is_written_is_read_again() {
    let frames = parse(FULL);
    let once = written(&frames);
    assert_eq!(parse(&once), frames);
    assert_eq!(written(&parse(&once)), once);
    assert_eq!(
        once.lines().nth(1).unwrap(),
        "Lattice=\"4.0 0.0 0.0 1.0 5.0 0.0 0.5 0.25 6.0\" \
         Properties=species:S:1:pos:R:3:forces:R:3:id:I:1:tag:S:2:fixed:L:1:q:R:1 energy=-15.0 \
         virial=\"1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0\" pbc=\"T F T\" name=\"two \\\"atoms\\\"\" relaxed=T step=7 \
         dipole=\"0.5 1.0 -2.0\""
    );
}

#[test]
fn line_ends_blanks_and_tabs_do_not_matter() {
    let other = FULL.replace('\n', "\r\n").replace("11 1.0", "\t11\t 1.0\t") + "\r\n  \n\t\n";
    assert_eq!(parse(&other), parse(FULL));
    assert_eq!(parse(FULL.trim_end()), parse(FULL));
    assert_eq!(parse(""), []);
    assert_eq!(parse("\n \n"), []);
}

#[test]
fn values_find_their_type() {
    for (comment, expected) in [
        ("key=1", Value::Int(1)),
        ("key=-0", Value::Real(-0.0)),
        ("key = +12", Value::Int(12)),
        ("key=\"3\"", Value::Int(3)),
        ("key=1.0", Value::Real(1.0)),
        ("key=-1.5d-3", Value::Real(-1.5e-3)),
        ("key=1D2", Value::Real(100.0)),
        ("key=.5E+1", Value::Real(5.0)),
        ("a=1 key", Value::Bool(true)),
        ("key a=1", Value::Bool(true)),
        ("key=F", Value::Bool(false)),
        ("key=\"true False\"", array(Value::Bool, [true, false])),
        ("key=\"1 2 3\"", array(Value::Int, [1, 2, 3])),
        ("key='1 2 3'", array(Value::Int, [1, 2, 3])),
        ("key={1 2.5}", array(Value::Real, [1.0, 2.5])),
        ("key={1}", Value::Int(1)),
        ("key=[1]", array(Value::Int, [1])),
        ("key=[]", Value::Array(vec![])),
        ("key=[1, T]", array(text, ["1", "T"])),
        ("key=[\"a, b\", c]", array(text, ["a, b", "c"])),
        ("key=[\"1\"]", array(text, ["1"])),
        ("key=[[1, 2],[3, 4.5]]", Value::Array(vec![array(Value::Real, [1.0, 2.0]), array(Value::Real, [3.0, 4.5])])),
        ("key=[Na+].[Cl-]", text("[Na+].[Cl-]")),
        ("key=\"\"", text("")),
        ("key=", text("")),
        ("key= other=1", text("")),
        ("key= \"a=b\"", text("a=b")),
        ("key=\"a \\\\ \\n b\"", text("a \\ \n b")),
        ("key=C:\\data", text("C:\\data")),
        ("key=x=y", text("x=y")),
        ("key=\"\\1\"", text("1")),
        // Digits that a number would not give back.
        ("key=007", text("007")),
        ("key=99999999999999999999", text("99999999999999999999")),
        ("key=nan", text("nan")),
        ("key=1e999", text("1e999")),
        ("\"key\"=µm", text("µm")),
    ] {
        let got = value(comment);
        assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{comment}");
        let mut frame = Frame::default();
        frame.info.insert("key".into(), got);
        assert_eq!(again(&frame), frame, "{comment}");
    }
}

#[test]
fn odd_keys_and_texts_survive() {
    let mut frame = Frame::default();
    for (i, s) in
        ["T", "1 2", " ", "a b", "1", "\n1", "1\n2", "\\", "\"", "'", "[", "{1}", "a=b", "comment", "µ", "1,2", "\\n"]
            .iter()
            .enumerate()
    {
        frame.info.insert(format!("key {s} {i}"), text(s));
        frame.info.insert(format!("list{i}"), array(text, [*s]));
    }
    frame.info.insert("nested".into(), Value::Array(vec![array(text, ["1"]), Value::Array(vec![])]));
    assert_eq!(again(&frame), frame);
}

#[test]
fn plain_xyz_has_four_columns_and_free_text() {
    let f = one("1\n water: it's \"quoted\n8 1 2 3 extra columns\n");
    assert_eq!(f.structure.numbers, [8]);
    assert_eq!(f.info["comment"], text("water: it's \"quoted"));
    assert_eq!(again(&f), f);
    let f = one("1\nenergy=-2 lattice=[[9, 0, 0], [0, 9, 0], [0, 0, 9]]\nO 1 2 3\n");
    assert_eq!((f.energy, f.structure.volume(), f.structure.pbc), (Some(-2.0), 729.0, [true; 3]));
}

#[test]
fn species_by_number() {
    for name in ["Z", "numbers"] {
        let f = one(&format!("1\nProperties=pos:R:3:{name}:I:1\n0 0 0 14\n"));
        assert_eq!((f.structure.numbers, f.arrays.len()), (vec![14], 0));
    }
    let f = one("1\nProperties=Z:I:1:species:S:1:pos:R:3\n4 Si 0 0 0\n");
    assert_eq!((f.structure.numbers.as_slice(), &f.arrays["Z"].data), (&[14][..], &Data::Int(vec![4])));
}

#[test]
fn stress_becomes_a_virial() {
    let cell = "Lattice=\"2 0 0 0 2 0 0 0 2\"";
    let virial = Some([[-8.0, -48.0, -40.0], [-48.0, -16.0, -32.0], [-40.0, -32.0, -24.0]]);
    for stress in ["1 2 3 4 5 6", "1 6 5 6 2 4 5 4 3"] {
        let f = one(&format!("1\n{cell} stress=\"{stress}\"\nH 0 0 0\n"));
        assert_eq!((f.virial, f.info.len()), (virial, 0));
        assert_eq!(f.stress().unwrap()[0], [1.0, 6.0, 5.0]);
    }
    let rows = one(&format!("1\n{cell} virial=[[1, 2, 3], [4, 5, 6], [7, 8, 9]]\nH 0 0 0\n"));
    assert_eq!(rows.virial.unwrap()[0], [1.0, 2.0, 3.0]);
    // The virial counts; and a stress means nothing without a cell.
    let both = one(&format!("1\n{cell} stress=\"1 2 3 4 5 6\" virial=\"1 1 1 0 0 0\"\nH 0 0 0\n"));
    assert_eq!((both.virial.unwrap()[0], both.info.len()), ([1.0, 0.0, 0.0], 1));
    let none = one("1\nstress=\"1 2 3 4 5 6\"\nH 0 0 0\n");
    assert_eq!((none.virial, none.stress(), none.info.len()), (None, None, 1));
    for f in [both, none] {
        assert_eq!(again(&f), f);
    }
}

#[test]
fn keys_are_the_callers_choice() {
    let keys = Keys { energy: "dft_energy".into(), forces: "dft_forces".into(), ..Keys::default() };
    let source = "1\nProperties=species:S:1:pos:R:3:dft_forces:R:3:forces:R:1 energy=1 dft_energy=2\nH 0 0 0 1 2 3 4\n";
    let f = extxyz::parse(source, &keys).unwrap().remove(0);
    assert_eq!((f.energy, f.forces.clone()), (Some(2.0), Some(vec![[1.0, 2.0, 3.0]])));
    assert_eq!((&f.info["energy"], &f.arrays["forces"].data), (&Value::Int(1), &Data::Real(vec![4.0])));
    let mut writer = Writer::new(Vec::new(), &keys);
    writer.write(&f).unwrap();
    assert_eq!(extxyz::parse(writer.into_inner(), &keys).unwrap(), [f]);
}

#[test]
fn files_are_named_in_messages() {
    let path = std::env::temp_dir().join(format!("acerust-extxyz-{}.xyz", std::process::id()));
    let frames = parse(FULL);
    extxyz::write(&path, &frames, &Keys::default()).unwrap();
    assert_eq!(extxyz::read(&path, &Keys::default()).unwrap(), frames);
    assert_eq!(Reader::open(&path, &Keys::default()).unwrap().count(), 2);
    std::fs::write(&path, "x").unwrap();
    let message = extxyz::read(&path, &Keys::default()).unwrap_err().to_string();
    assert_eq!(message, format!("structure: {}: line 1: `x` is not a number of atoms", path.display()));
    std::fs::remove_file(&path).unwrap();
    let message = extxyz::read(&path, &Keys::default()).unwrap_err().to_string();
    assert!(message.starts_with(&path.display().to_string()), "{message}");
}

#[test]
fn the_reader_ends_after_an_error() {
    let mut reader = Reader::new(&b"1\n\nH 0 0 0\nx\n1\n\nH 0 0 0\n"[..], &Keys::default());
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[path = "extxyz/random.rs"]
mod random;
#[path = "extxyz/refusals.rs"]
mod refusals;
