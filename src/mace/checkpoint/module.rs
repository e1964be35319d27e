//! Modules of torch: attributes, parameters and modules by name.

use super::archive::Archive;
use super::pickle::{Id, Node};
use crate::mace::spec::{LinearConfig, LinearPath, ProductPath, Tensor, TensorProductConfig};
use crate::ops::Irreps;
use std::collections::BTreeMap;

/// How deep modules may lie in one another.
const MAX_DEPTH: usize = 32;

/// Tensors that anybody can compute anew, and what belongs to compiled code, by a part of their name.
const LEFT_OUT: [&str; 7] = [
    "output_mask",
    "_compiled_main",
    "_w3j",
    "graph_opt",
    "contractions_weighting.",
    "contractions_features.",
    "spherical_harmonics",
];

/// A module and the way to it, for messages.
#[derive(Clone)]
pub struct Module<'a> {
    archive: &'a Archive<'a>,
    id: Id,
    pub path: String,
}

impl<'a> Module<'a> {
    pub fn root(archive: &'a Archive<'a>) -> Result<Module<'a>, String> {
        let root = Module { archive, id: archive.pickle.root(), path: "the model".into() };
        match root.state() {
            Some(_) => Ok(root),
            None => Err("the pickle is no module but plain data, such as parameters alone".into()),
        }
    }

    /// The name of the class, without its package.
    pub fn class(&self) -> &'a str {
        let class = self.archive.class(self.id).unwrap_or("nothing nameless");
        class.rsplit([' ', '.']).next().unwrap_or(class)
    }

    fn state(&self) -> Option<&'a [(Id, Id)]> {
        let Node::Record { state: Some(state), .. } = self.archive.node(self.id) else { return None };
        let Node::Dict(items) = self.archive.node(*state) else { return None };
        Some(items)
    }

    fn find(&self, items: &[(Id, Id)], name: &str) -> Option<Id> {
        // The last entry counts, as in Python.
        items.iter().rev().find(|(k, _)| matches!(self.archive.node(*k), Node::Text(t) if t == name)).map(|&(_, v)| v)
    }

    /// An attribute that is neither parameter nor module.
    fn attribute(&self, name: &str) -> Option<Id> {
        self.find(self.state()?, name).filter(|&id| *self.archive.node(id) != Node::None)
    }

    fn table(&self, name: &str) -> &'a [(Id, Id)] {
        match self.attribute(name).map(|id| self.archive.node(id)) {
            Some(Node::Dict(items)) => items,
            _ => &[],
        }
    }

    /// The module of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<Module<'a>> {
        let id = self.find(self.table("_modules"), name)?;
        let module = Module { archive: self.archive, id, path: format!("{}.{name}", self.path) };
        module.state().is_some().then_some(module)
    }

    pub fn module(&self, name: &str) -> Result<Module<'a>, String> {
        self.get(name).ok_or_else(|| self.lacks(name))
    }

    /// The modules of a list, in its order.
    pub fn list(&self, name: &str) -> Result<Vec<Module<'a>>, String> {
        let list = self.module(name)?;
        let names: Vec<&str> = list.names("_modules").collect();
        names.into_iter().map(|name| list.module(name)).collect()
    }

    fn names(&self, table: &str) -> impl Iterator<Item = &'a str> {
        self.table(table).iter().filter_map(|(k, _)| match self.archive.node(*k) {
            Node::Text(name) => Some(name.as_str()),
            _ => None,
        })
    }

    pub fn lacks(&self, name: &str) -> String {
        format!("{} ({}) has no `{name}`", self.path, self.class())
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.archive.node(self.attribute(name)?) {
            Node::Bool(x) => Some(*x),
            _ => None,
        }
    }

    pub fn int(&self, name: &str) -> Result<i64, String> {
        match self.attribute(name).map(|id| self.archive.node(id)) {
            Some(Node::Int(x)) => Ok(*x),
            _ => Err(self.lacks(name)),
        }
    }

    pub fn size(&self, name: &str) -> Result<usize, String> {
        usize::try_from(self.int(name)?).map_err(|_| self.lacks(name))
    }

    /// A number: an attribute, or a tensor of one number.
    pub fn float(&self, name: &str) -> Result<f64, String> {
        let finite = |x: f64| match x.is_finite() {
            true => Ok(x),
            false => Err(format!("{}.{name} is {x}", self.path)),
        };
        if let Some(id) = self.attribute(name) {
            match self.archive.node(id) {
                Node::Float(x) => return finite(*x),
                Node::Int(x) => return Ok(*x as f64),
                _ => {}
            }
            if let Some(Tensor { shape, values: crate::mace::spec::Values::Dense(x), .. }) = self.archive.tensor(id)?
                && shape.iter().product::<usize>() == 1
            {
                return finite(x[0]);
            }
            // A number of numpy is a call with its bytes, which are not read.
            return Err(format!("{}.{name} is no plain number", self.path));
        }
        Err(self.lacks(name))
    }

    /// The name of a function, as Python prints it without its package.
    pub fn function(&self, name: &str) -> Option<String> {
        let id = self.attribute(name)?;
        let name = match self.archive.node(id) {
            Node::Global(name) => name,
            _ => self.archive.class(id)?,
        };
        name.rsplit([' ', '.']).next().map(str::to_lowercase)
    }

    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let (Node::List(items) | Node::Tuple(items)) = self.archive.node(self.attribute(name)?) else { return None };
        let text = |&id: &Id| match self.archive.node(id) {
            Node::Text(text) => Some(text.clone()),
            _ => None,
        };
        items.iter().map(text).collect()
    }

    pub fn sizes(&self, name: &str) -> Result<Vec<usize>, String> {
        let id = self.attribute(name).ok_or_else(|| self.lacks(name))?;
        self.size_list(id).ok_or_else(|| self.lacks(name))
    }

    fn size_list(&self, id: Id) -> Option<Vec<usize>> {
        let (Node::List(items) | Node::Tuple(items)) = self.archive.node(id) else { return None };
        let size = |&id: &Id| match self.archive.node(id) {
            Node::Int(x) => usize::try_from(*x).ok(),
            _ => None,
        };
        items.iter().map(size).collect()
    }

    /// Plain data as JSON; `None` for what is not plain or lies deeper than a few levels.
    fn json(&self, id: Id, depth: usize) -> Option<serde_json::Value> {
        let deeper = depth.checked_sub(1)?;
        Some(match self.archive.node(id) {
            Node::None => serde_json::Value::Null,
            Node::Bool(x) => (*x).into(),
            Node::Int(x) => (*x).into(),
            Node::Float(x) => (*x).into(),
            Node::Text(x) => x.clone().into(),
            Node::List(items) | Node::Tuple(items) if items.len() <= 64 => {
                items.iter().map(|&x| self.json(x, deeper)).collect::<Option<Vec<_>>>()?.into()
            }
            _ => return None,
        })
    }

    /// The entries of a dictionary of dictionaries, in order.
    pub fn plain_tables(&self, name: &str) -> Option<Vec<(String, serde_json::Value)>> {
        let Node::Dict(items) = self.archive.node(self.attribute(name)?) else { return None };
        let entry = |&(k, v): &(Id, Id)| {
            let (Node::Text(key), Node::Dict(fields)) = (self.archive.node(k), self.archive.node(v)) else {
                return None;
            };
            let field = |&(k, v): &(Id, Id)| match self.archive.node(k) {
                Node::Text(name) => Some((name.clone(), self.json(v, 3)?)),
                _ => None,
            };
            let fields: Option<serde_json::Map<_, _>> = fields.iter().map(field).collect();
            Some((key.clone(), fields?.into()))
        };
        items.iter().map(entry).collect()
    }

    /// Irreps: text, or a tuple of (multiplicity, (degree, parity)), each made by a call.
    pub fn irreps(&self, name: &str) -> Result<Irreps, String> {
        let id = self.attribute(name).ok_or_else(|| self.lacks(name))?;
        self.read_irreps(id).ok_or_else(|| format!("{}.{name} is no irreps", self.path))
    }

    fn read_irreps(&self, id: Id) -> Option<Irreps> {
        if let Node::Text(text) = self.archive.node(id) {
            return text.parse().ok();
        }
        // Named tuples and tuples of a class of their own: fields are the arguments, or one tuple of them.
        let fields = |id: Id| -> Option<&'a [Id]> {
            let args = self.archive.args(id)?;
            match args {
                [one] => match self.archive.node(*one) {
                    Node::Tuple(items) | Node::List(items) => Some(items),
                    _ => Some(args),
                },
                _ => Some(args),
            }
        };
        let int = |id: &Id| match self.archive.node(*id) {
            Node::Int(x) => Some(*x),
            _ => None,
        };
        let mut text = Vec::new();
        for &block in fields(id)? {
            let [mul, irrep] = fields(block)? else { return None };
            let [l, p] = fields(*irrep)? else { return None };
            text.push(format!("{}x{}{}", int(mul)?, int(l)?, if int(p)? == 1 { 'e' } else { 'o' }));
        }
        text.join("+").parse().ok()
    }

    fn instructions<const N: usize>(&self) -> Result<Vec<&'a [Id; N]>, String> {
        let Some(Node::List(items)) = self.attribute("instructions").map(|id| self.archive.node(id)) else {
            return Err(self.lacks("instructions"));
        };
        let fields = |&id: &Id| self.archive.args(id).and_then(|args| args.try_into().ok());
        let read: Option<Vec<_>> = items.iter().map(fields).collect();
        read.ok_or_else(|| format!("{}: an instruction without its {N} fields", self.path))
    }

    fn number(&self, id: Id) -> Result<f64, String> {
        match self.archive.node(id) {
            Node::Float(x) if x.is_finite() => Ok(*x),
            Node::Int(x) => Ok(*x as f64),
            _ => Err(format!("{}: an instruction with something that is no number", self.path)),
        }
    }

    fn index(&self, id: Id) -> Result<i64, String> {
        match self.archive.node(id) {
            Node::Int(x) => Ok(*x),
            _ => Err(format!("{}: an instruction with something that is no index", self.path)),
        }
    }

    fn shape(&self, id: Id) -> Result<Vec<usize>, String> {
        self.size_list(id).ok_or_else(|| format!("{}: an instruction without shape", self.path))
    }

    /// A linear map of e3nn.
    pub fn linear(&self, name: &str) -> Result<LinearConfig, String> {
        let m = self.module(name)?;
        let path = |&[input, output, shape, alpha]: &[Id; 4]| {
            let (input, output) = (m.index(input)?, m.index(output)?);
            Ok::<_, String>(LinearPath { input, output, alpha: m.number(alpha)?, shape: m.shape(shape)? })
        };
        let paths = m.instructions::<4>()?.into_iter().map(path).collect::<Result<_, _>>()?;
        let (irreps_in, irreps_out) = (m.irreps("irreps_in")?, m.irreps("irreps_out")?);
        Ok(LinearConfig { kind: Default::default(), irreps_in, irreps_out, paths })
    }

    /// As [`Module::linear`], where the module may be missing.
    pub fn maybe_linear(&self, name: &str) -> Result<Option<LinearConfig>, String> {
        self.get(name).map(|_| self.linear(name)).transpose()
    }

    /// A tensor product of e3nn.
    pub fn product(&self, name: &str) -> Result<TensorProductConfig, String> {
        let m = self.module(name)?;
        let path = |&[in1, in2, out, mode, _, alpha, shape]: &[Id; 7]| {
            let Node::Text(mode) = m.archive.node(mode) else { return Err(m.lacks("mode")) };
            let (in1, in2, out) = (m.index(in1)?, m.index(in2)?, m.index(out)?);
            Ok(ProductPath { in1, in2, out, mode: mode.clone(), alpha: m.number(alpha)?, shape: m.shape(shape)? })
        };
        let paths = m.instructions::<7>()?.into_iter().map(path).collect::<Result<_, _>>()?;
        let (irreps_in1, irreps_in2) = (m.irreps("irreps_in1")?, m.irreps("irreps_in2")?);
        let irreps_out = m.irreps("irreps_out")?;
        Ok(TensorProductConfig { kind: Default::default(), irreps_in1, irreps_in2, irreps_out, paths })
    }

    /// All tensors below this module by name, but those that anybody can compute anew.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, String> {
        let mut out = BTreeMap::new();
        self.collect("", MAX_DEPTH, &mut out)?;
        Ok(out)
    }

    fn collect(&self, prefix: &str, depth: usize, out: &mut BTreeMap<String, Tensor>) -> Result<(), String> {
        let Some(depth) = depth.checked_sub(1) else { return Err("modules lie too deep in one another".into()) };
        let left_out = |name: &str| LEFT_OUT.iter().any(|part| name.contains(part));
        for table in ["_parameters", "_buffers"] {
            for name in self.names(table) {
                let full = format!("{prefix}{name}");
                let id = self.find(self.table(table), name).expect("one of its names");
                let empty = || self.archive.shape(id).is_some_and(|shape| shape.contains(&0));
                if left_out(&full) || *self.archive.node(id) == Node::None || empty() {
                    continue;
                }
                let tensor = self.archive.tensor(id).map_err(|e| format!("tensor `{full}`: {e}"))?;
                if out.len() == 1 << 16 {
                    return Err("too many tensors".into());
                }
                out.insert(full.clone(), tensor.ok_or_else(|| format!("`{full}` is no tensor"))?);
            }
        }
        for name in self.names("_modules") {
            let full = format!("{prefix}{name}.");
            if !left_out(&full)
                && let Some(module) = self.get(name)
            {
                module.collect(&full, depth, out)?;
            }
        }
        Ok(())
    }
}
