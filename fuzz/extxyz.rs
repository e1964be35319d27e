//! Extended XYZ.

use acerust::extxyz::{Keys, Writer, parse};

pub fn seeds() -> Vec<Vec<u8>> {
    let plain = "2\na comment\nSi 0 0 0\nO 1.5 0 0\n";
    let full = "2\nLattice=\"4 0 0 0 4 0 0.1 0.2 4.5\" pbc=\"T T F\" Properties=species:S:1:pos:R:3:forces:R:3:tag:I:1:fixed:L:2 \
                energy=-1.25e1 virial=\"1 2 3 2 5 6 3 6 9\" name=\"a \\\"b\\\"\" list=[1, 2, 3] m={1 2 3} flag=T\n\
                Si 0 0 0 0.1 0.2 0.3 7 T F\nO 1.5 0 0 -0.1 -0.2 -0.3 8 F F\n";
    let numbers = "1\nProperties=Z:I:1:pos:R:3 stress=\"1 2 3 4 5 6\" Lattice=[[3,0,0],[0,3,0],[0,0,3]]\n14 0 0 0\n";
    [plain, full, numbers, &format!("{plain}{full}{numbers}")].map(|s| s.as_bytes().to_vec()).to_vec()
}

/// Frames that are read and can be written are read again as they were.
pub fn target(input: &[u8]) -> bool {
    let keys = Keys::default();
    let Ok(frames) = parse(input, &keys) else { return false };
    let mut text = Vec::new();
    let mut writer = Writer::new(&mut text, &keys);
    if frames.iter().all(|frame| writer.write(frame).is_ok()) {
        writer.flush().expect("memory");
        drop(writer);
        let again = parse(&text, &keys).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&text)));
        // As text: not a number equals itself there.
        assert_eq!(format!("{frames:?}"), format!("{again:?}"), "{}", String::from_utf8_lossy(&text));
    }
    !frames.is_empty()
}
