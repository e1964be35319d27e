//! `docs/model.schema.json` and the reader agree.

use super::small;
use acerust::model::Model;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The part of JSON Schema that our schema uses: says where a value breaks it.
struct Schema(Value);

impl Schema {
    fn load() -> Schema {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/model.schema.json");
        Schema(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        self.obey(self.0.as_object().unwrap(), value, "")
    }

    fn obey(&self, rules: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
        let fail = |why: String| Err(format!("{at}: {why}"));
        let each = |items: &Value| {
            let mut all = value.as_array().into_iter().flatten().enumerate();
            all.try_for_each(|(i, v)| self.obey(items.as_object().unwrap(), v, &format!("{at}[{i}]")))
        };
        let count = value.as_array().map(|a| a.len() as u64);
        let number = value.as_f64();
        for (rule, with) in rules {
            let holds = match rule.as_str() {
                "$schema" | "title" | "description" | "$defs" => true,
                "$ref" => {
                    let name = with.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.obey(self.0["$defs"][name].as_object().expect(name), value, at)?;
                    true
                }
                "type" => match with.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "null" => value.is_null(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => panic!("type {other}"),
                },
                "const" => value == with,
                "enum" => with.as_array().unwrap().contains(value),
                "minimum" => number.is_none_or(|x| x >= with.as_f64().unwrap()),
                "maximum" => number.is_none_or(|x| x <= with.as_f64().unwrap()),
                "exclusiveMinimum" => number.is_none_or(|x| x > with.as_f64().unwrap()),
                "minItems" => count.is_none_or(|n| n >= with.as_u64().unwrap()),
                "maxItems" => count.is_none_or(|n| n <= with.as_u64().unwrap()),
                "uniqueItems" => value.as_array().is_none_or(|a| (1..a.len()).all(|k| !a[..k].contains(&a[k]))),
                "items" => {
                    each(with)?;
                    true
                }
                "properties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        if let Some(rules) = with.get(name) {
                            self.obey(rules.as_object().unwrap(), field, &format!("{at}.{name}"))?;
                        }
                    }
                    true
                }
                "required" => with.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
                "additionalProperties" => {
                    assert_eq!(with, false);
                    value.as_object().is_none_or(|o| o.keys().all(|name| rules["properties"].get(name).is_some()))
                }
                "oneOf" => {
                    let all = with.as_array().unwrap().iter();
                    all.filter(|rules| self.obey(rules.as_object().unwrap(), value, at).is_ok()).count() == 1
                }
                "anyOf" => {
                    let mut all = with.as_array().unwrap().iter();
                    all.any(|rules| self.obey(rules.as_object().unwrap(), value, at).is_ok())
                }
                other => panic!("the schema uses `{other}`, which this test does not know"),
            };
            if !holds {
                return fail(format!("{rule} {with}"));
            }
        }
        Ok(())
    }
}

#[test]
fn models_of_all_kinds_obey_the_schema() {
    let schema = Schema::load();
    schema.check(&small::model()).unwrap();
    for name in ["si_fit", "sio_o2", "si_2_8"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benchmark/models/{name}.json"));
        schema.check(&serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).unwrap();
    }
    for name in ["sio_spl", "tial_o3"] {
        let model = super::golden(name);
        schema.check(&serde_json::from_str(&model.to_json()).unwrap()).unwrap();
    }
    for name in ["test/pace/small.yace", "test/golden/pace/cho-chebpow.yace", "test/golden/pace/cuzr-zbl.yaml"] {
        schema.check(&pace(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

/// A potential of pacemaker as a model file.
fn pace(name: &str) -> Value {
    let model = Model::load(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    serde_json::from_str(&model.to_json()).unwrap()
}

/// Every value of an object or list, by its path.
fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                all.push(format!("{at}/{name}"));
                paths(field, &format!("{at}/{name}"), all);
            }
        }
        Value::Array(items) => {
            // First and last stand for the rest, but for parts.
            let last = items.len().saturating_sub(1);
            for (k, item) in items.iter().enumerate().filter(|&(k, _)| k == 0 || k == last || at == "/parts") {
                all.push(format!("{at}/{k}"));
                paths(item, &format!("{at}/{k}"), all);
            }
        }
        _ => {}
    }
}

#[test]
fn the_reader_and_the_schema_refuse_the_same_shapes() {
    let schema = Schema::load();
    let refused: usize =
        [small::model(), pace("test/pace/small.yace")].iter().map(|good| refusals(&schema, good)).sum();
    assert!(refused > 1500, "only {refused} are refused");
}

/// Breaks the file in every place: how many of the broken ones both refuse.
fn refusals(schema: &Schema, good: &Value) -> usize {
    let mut all = Vec::new();
    paths(good, "", &mut all);
    let agree = |model: &Value, what: &str| {
        let (ours, theirs) = (Model::from_json(model.to_string()), schema.check(model));
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{what}: {:?}, {theirs:?}", ours.err());
        theirs.is_err()
    };
    let mut refused = 0;
    for path in &all {
        let (parent, name) = path.rsplit_once('/').unwrap();
        if good.pointer(parent).unwrap().is_object() {
            let mut model = good.clone();
            model.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            // That splines or polynomials have no `spec` is for the reader, it depends on the kind of the part; so do the lengths of
            // weights on whether there is an embedding.
            if name != "spec" && name != "embedding" {
                refused += usize::from(agree(&model, &format!("without {path}")));
            }
            let mut model = good.clone();
            model.pointer_mut(parent).unwrap()["unknown"] = json!(0);
            refused += usize::from(agree(&model, &format!("{parent}: an unknown field")));
        }
        for wrong in [json!(null), json!("text"), json!(true), json!({}), json!([[[[]]]]), json!(-1.5)] {
            let mut model = good.clone();
            *model.pointer_mut(path).unwrap() = wrong.clone();
            // Where a number is as good as another, lengths and ranges are for the reader.
            if schema.check(&model).is_err() || !wrong.is_number() && !["name", "source", "embedding"].contains(&name) {
                refused += usize::from(agree(&model, &format!("{path}: {wrong}")));
            }
        }
    }
    refused
}
