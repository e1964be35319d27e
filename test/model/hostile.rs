//! Files nobody meant to write: broken, repeated, unknown, deep or random. None may panic, few may pass.

use super::small;
use acerust::model::Model;
use serde_json::{Value, json};

/// The JSON pointers of a value and of everything within it.
fn pointers(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: String, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, inner)| walk(inner, format!("{at}/{key}"), found)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, inner)| walk(inner, format!("{at}/{i}"), found))
            }
            _ => {}
        }
        found.push(at);
    }
    let mut found = Vec::new();
    walk(value, String::new(), &mut found);
    found
}

/// Any outcome but a panic is good; what passes must be a model that survives its own file.
fn survives(json: impl AsRef<[u8]>) -> bool {
    let Ok(model) = Model::from_json(json) else { return false };
    assert_eq!(Model::from_json(model.to_json()).unwrap(), model);
    true
}

struct Random(u64);

impl Random {
    /// SplitMix64, below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    let file = small::model();
    let mut objects = 0;
    for pointer in pointers(&file) {
        let mut file = file.clone();
        let Some(Value::Object(map)) = file.pointer_mut(&pointer) else { continue };
        map.insert("surprise".into(), json!(1));
        let message = small::refusal(&file.to_string());
        assert!(message.contains("unknown field `surprise`"), "{pointer}: {message}");
        objects += 1;
    }
    assert_eq!(objects, 36, "the file, its parts, and their radial, angular and sparse members");
}

#[test]
fn missing_keys_are_refused_at_every_level() {
    let file = small::model();
    for pointer in pointers(&file) {
        let Some(Value::Object(map)) = file.pointer(&pointer) else { continue };
        for key in map.keys() {
            let mut file = file.clone();
            file.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(key);
            if key == "source" {
                assert!(survives(file.to_string()), "the source is optional");
                continue;
            }
            let message = small::refusal(&file.to_string());
            let expected = if key == "spec" { "radial.spec".into() } else { format!("missing field `{key}`") };
            // Without its radial functions' spec a many-body part is refused for their number, which comes first.
            assert!(message.contains(&expected) || key == "spec" && message.contains("W[0]: expected 0"), "{message}");
        }
    }
}

#[test]
fn repeated_keys_are_refused_at_every_level() {
    let file = small::model();
    for pointer in pointers(&file) {
        let Some(Value::Object(map)) = file.pointer(&pointer) else { continue };
        for (key, value) in map {
            let mut file = file.clone();
            file.pointer_mut(&pointer).unwrap()["@"] = value.clone();
            let message = small::refusal(&file.to_string().replace("\"@\":", &format!("\"{key}\":")));
            assert!(message.contains(&format!("duplicate field `{key}`")), "{pointer}/{key}: {message}");
        }
    }
}

#[test]
fn fields_of_another_type_are_refused() {
    let file = small::model();
    for (at, from) in [(0, 3), (1, 0), (1, 3), (3, 0)] {
        for (key, value) in file["parts"][from].as_object().unwrap() {
            let mut file = file.clone();
            if file["parts"][at].get(key).is_some() {
                continue;
            }
            file["parts"][at][key] = value.clone();
            let message = small::refusal(&file.to_string());
            assert!(message.starts_with(&format!("model: parts[{at}]")), "{message}");
            assert!(message.contains(&format!("unknown field `{key}`, expected ")), "{message}");
        }
    }
    for (at, from) in [(1, 2), (2, 1)] {
        for key in ["A", "B", "C", "W", "tables"] {
            let mut file = file.clone();
            let Some(value) = file["parts"][from]["radial"]["functions"].get(key).cloned() else { continue };
            file["parts"][at]["radial"]["functions"][key] = value;
            let message = small::refusal(&file.to_string());
            let expected = format!("model: parts[{at}].radial.functions: field `{key}` does not belong to this type");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
}

#[test]
fn wrong_types_are_refused_with_their_path() {
    for (pointer, value, expected) in [
        ("/species/1", json!(256), "species[1]: invalid value: integer `256`"),
        ("/parts/0/E0/1", json!("1"), "parts[0].E0[1]: invalid type: string"),
        ("/parts/1/type", json!("mace"), "parts[1]: type: 'mace' is unknown; acerust "),
        ("/parts/3/A/2", json!([-1, 2]), "parts[3].A[2][0]: invalid value: integer `-1`"),
        ("/parts/3/A/2", json!([1]), "parts[3].A[2]: invalid length 1"),
        ("/parts/3/C/rows/0", json!(0.5), "parts[3].C.rows[0]: invalid type: floating point `0.5`"),
        ("/parts/3/angular/kind", json!("cubic"), "parts[3].angular.kind: unknown variant `cubic`"),
        ("/parts/3/radial/functions/type", json!(0), "parts[3].radial.functions.type: "),
        ("/parts/3/radial/functions/W/2/1/0", json!(null), "parts[3].radial.functions.W[2][1][0]: invalid type: null"),
        ("/parts/3/radial/envelopes/2/type", json!("bump"), "parts[3].radial.envelopes[2]"),
    ] {
        let mut file = small::model();
        *file.pointer_mut(pointer).unwrap() = value;
        let message = small::refusal(&file.to_string());
        assert!(message.starts_with(&format!("model: {expected}")), "{message}");
        assert!(message.contains(" at line 1 column "), "{message}");
    }
}

#[test]
fn numbers_beyond_double_precision_are_refused() {
    for text in ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"] {
        let mut file = small::model();
        file["parts"][3]["weights"][0][0] = json!("@");
        small::refusal(&file.to_string().replace("\"@\"", text));
    }
}

#[test]
fn broken_texts_are_refused() {
    let json = small::model().to_string();
    for end in 0..json.len() {
        small::refusal(&json[..end]);
    }
    for tail in ["x", "{}", ",", "\0"] {
        small::refusal(&(json.clone() + tail));
    }
    for text in ["null", "[]", "{}", "3", "\"acerust-model/1\"", "\u{feff}{}"] {
        small::refusal(text);
    }
    assert!(Model::from_json(b"\xff\xfe").is_err());
    for deep in ["[".repeat(1_000_000), "{\"parts\":".repeat(1_000_000)] {
        small::refusal(&deep);
        small::refusal(&json.replacen("[14,8]", &deep, 1));
        small::refusal(&json.replacen("\"solid\"", &deep, 1));
    }
}

#[test]
fn mutated_bytes_never_panic() {
    let json = small::model().to_string().into_bytes();
    let mut random = Random(1);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = json.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = b"0123456789-.eE,:[]{}\" "[random.below(22)],
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        accepted += usize::from(survives(bytes));
    }
    // Some mutations only change a digit: were none accepted, the test would never get past the parser.
    assert!((500..15_000).contains(&accepted), "{accepted}");
}

#[test]
fn mutated_values_never_panic() {
    let file = small::model();
    let replacements =
        ["-1", "1e999", "null", "\"\"", "[]", "{}", "0", "0.5", "1e300", "4294967295", "18446744073709551616", "true"];
    let pointers = pointers(&file);
    let mutate = |file: &mut Value, pointer: &str, mark: &str| {
        // Another mutation may have taken the value away.
        if let Some(value) = file.pointer_mut(pointer) {
            *value = json!(mark);
        }
    };
    for pointer in &pointers {
        let mut file = file.clone();
        mutate(&mut file, pointer, "@");
        let text = file.to_string();
        for replacement in replacements {
            let accepted = survives(text.replace("\"@\"", replacement));
            assert!(!accepted || !["1e999", "null", "{}", "true"].contains(&replacement), "{pointer}: {replacement}");
        }
    }
    let mut random = Random(2);
    for _ in 0..5_000 {
        let mut file = file.clone();
        mutate(&mut file, &pointers[random.below(pointers.len())], "@");
        mutate(&mut file, &pointers[random.below(pointers.len())], "@@");
        let text = file.to_string().replace("\"@\"", replacements[random.below(replacements.len())]);
        survives(text.replace("\"@@\"", replacements[random.below(replacements.len())]));
    }
}
