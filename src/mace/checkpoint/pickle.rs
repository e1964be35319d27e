//! A pickle as plain data.
//!
//! The opcodes of protocols 0 to 5 that checkpoints use, see `pickletools` of Python. Nothing is imported, called or built: a
//! global is its name, a call is a record of what would be called with what. Everything lies in one list of nodes and is
//! referred to by index, so that cycles and depth cost nothing; each opcode adds at most one node.

use std::collections::HashMap;

/// The index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module name`.
    Global(String),
    /// What a call of `class` with `args` would have made.
    Record {
        class: Id,
        args: Id,
        state: Option<Id>,
    },
    /// A reference to something outside of the pickle.
    Outside(Id),
}

/// As many nodes as a pickle may have: a hundred times those of a large model.
const MAX_NODES: usize = 4 << 20;

/// As much text as names and values may have, in bytes. Compiled code, which nobody reads, is longer and counts as bytes.
const MAX_TEXT: usize = 4096;

/// A pickle that has been read.
pub struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// # Errors
    /// A sentence with the offset: an opcode that is not known, a stack that runs empty, an end too soon.
    pub fn read(bytes: &[u8]) -> Result<Pickle, String> {
        let (nodes, stack, marks) = (Vec::new(), Vec::new(), Vec::new());
        let mut machine = Machine { bytes, at: 0, nodes, stack, marks, memo: HashMap::new() };
        let root = machine.run().map_err(|e| format!("byte {} of the pickle: {e}", machine.at))?;
        Ok(Pickle { nodes: machine.nodes, root })
    }

    pub fn root(&self) -> Id {
        self.root
    }

    pub fn get(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),
                // The length of a frame.
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.items()?),
                b'2' => {
                    let top = *self.stack.last().ok_or("the stack is empty")?;
                    self.stack.push(top);
                }
                b'N' => self.push(Node::None)?,
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                b'J' => {
                    let x = i32::from_le_bytes(self.array()?);
                    self.push(Node::Int(x.into()))?;
                }
                b'K' => {
                    let x = self.take(1)?[0];
                    self.push(Node::Int(x.into()))?;
                }
                b'M' => {
                    let x = u16::from_le_bytes(self.array()?);
                    self.push(Node::Int(x.into()))?;
                }
                0x8a => self.long()?,
                b'G' => {
                    let x = f64::from_be_bytes(self.array()?);
                    self.push(Node::Float(x))?;
                }
                // Text and bytes by the width of their length.
                0x8c => self.text(1)?,
                b'X' => self.text(4)?,
                0x8d => self.text(8)?,
                b'C' => self.skip_bytes(1)?,
                b'B' => self.skip_bytes(4)?,
                0x8e | 0x96 => self.skip_bytes(8)?,
                b')' => self.push(Node::Tuple(Vec::new()))?,
                b't' => {
                    let items = self.items()?;
                    self.push(Node::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let mut items = (0..code - 0x84).map(|_| self.pop()).collect::<Result<Vec<Id>, _>>()?;
                    items.reverse();
                    self.push(Node::Tuple(items))?;
                }
                // A set is read as a list.
                b']' | 0x8f => self.push(Node::List(Vec::new()))?,
                b'l' | 0x91 => {
                    let items = self.items()?;
                    self.push(Node::List(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.items()?;
                    self.extend(&items)?;
                }
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b'd' => {
                    let items = self.items()?;
                    self.push(Node::Dict(Vec::new()))?;
                    self.set(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.items()?;
                    self.set(&items)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(format!("{module} {name}")))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Node::Text(module), Node::Text(name)) = (self.node(module), self.node(name)) else {
                        return Err("a global whose name is no text".into());
                    };
                    let global = format!("{module} {name}");
                    self.push(Node::Global(global))?;
                }
                // A call, or a new object.
                b'R' | 0x81 => self.record()?,
                0x92 => {
                    self.pop()?; // keyword arguments
                    self.record()?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let object = self.top()?;
                    match self.node_mut(object) {
                        Node::Record { state: slot, .. } => *slot = Some(state),
                        // Attributes of an ordered dictionary.
                        Node::Dict(_) => {}
                        _ => return Err("a state for something that is no object".into()),
                    }
                }
                b'Q' => {
                    let key = self.pop()?;
                    self.push(Node::Outside(key))?;
                }
                b'q' => {
                    let k = self.take(1)?[0].into();
                    self.memorise(k)?;
                }
                b'r' => {
                    let k = u32::from_le_bytes(self.array()?);
                    self.memorise(k)?;
                }
                0x94 => self.memorise(self.memo.len() as u32)?,
                b'h' => {
                    let k = self.take(1)?[0].into();
                    self.recall(k)?;
                }
                b'j' => {
                    let k = u32::from_le_bytes(self.array()?);
                    self.recall(k)?;
                }
                code => return Err(format!("the opcode {code:#04x} is not known")),
            }
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let part = self.bytes.get(self.at..).and_then(|rest| rest.get(..n)).ok_or("the pickle ends too soon")?;
        self.at += n;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as long as asked for"))
    }

    fn length(&mut self, width: usize) -> Result<usize, String> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|e| e.to_string())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().take(MAX_TEXT).position(|&b| b == b'\n').ok_or("a name without end")?;
        let text = std::str::from_utf8(&rest[..n]).map_err(|e| e.to_string())?.to_owned();
        self.at += n + 1;
        Ok(text)
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let n = self.length(width)?;
        let bytes = self.take(n)?;
        let node = match n > MAX_TEXT {
            true => Node::Bytes,
            // Python has halves of pairs in text, which are no text here.
            false => Node::Text(String::from_utf8_lossy(bytes).into_owned()),
        };
        self.push(node)
    }

    fn skip_bytes(&mut self, width: usize) -> Result<(), String> {
        let n = self.length(width)?;
        self.take(n)?;
        self.push(Node::Bytes)
    }

    fn long(&mut self) -> Result<(), String> {
        let n = self.length(1)?;
        let bytes = self.take(n)?;
        if n > 8 {
            return Err(format!("an integer of {n} bytes"));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..n].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        if self.nodes.len() == MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        self.stack.push(Id(self.nodes.len() as u32));
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.pop().filter(|_| self.stack.len() >= floor).ok_or_else(|| "the stack is empty".into())
    }

    /// What lies above the last mark.
    fn items(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("no mark is set")?;
        if mark > self.stack.len() {
            return Err("the stack is empty".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), String> {
        let list = self.top()?;
        match self.node_mut(list) {
            Node::List(list) => list.extend_from_slice(items),
            // Lists of their own kind keep their entries to themselves.
            Node::Record { .. } => {}
            _ => return Err("an entry for something that is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        if !items.len().is_multiple_of(2) {
            return Err("a key without value".into());
        }
        let dict = self.top()?;
        match self.node_mut(dict) {
            Node::Dict(dict) => dict.extend(items.chunks(2).map(|pair| (pair[0], pair[1]))),
            Node::Record { .. } => {}
            _ => return Err("an entry for something that is no dictionary".into()),
        }
        Ok(())
    }

    fn record(&mut self) -> Result<(), String> {
        let (args, class) = (self.pop()?, self.pop()?);
        let empty = matches!(self.node(args), Node::Tuple(items) if items.is_empty());
        match self.node(class) {
            Node::Global(name) if empty && name == "collections OrderedDict" => self.push(Node::Dict(Vec::new())),
            _ => self.push(Node::Record { class, args, state: None }),
        }
    }

    fn memorise(&mut self, k: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(k, top);
        Ok(())
    }

    fn recall(&mut self, k: u32) -> Result<(), String> {
        let id = *self.memo.get(&k).ok_or_else(|| format!("nothing was kept as {k}"))?;
        self.stack.push(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(bytes: &[u8], message: &str) {
        let error = Pickle::read(bytes).err().unwrap();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn plain_values_are_read() {
        // pickle.dumps([1, -2, 300, 1.5, "é", None, True, (1, 2), {"a": 3}], 2)
        let bytes = b"\x80\x02]q\x00(K\x01J\xfe\xff\xff\xffM,\x01G?\xf8\x00\x00\x00\x00\x00\x00X\x02\x00\x00\x00\xc3\xa9q\x01N\x88K\x01K\x02\x86q\x02}q\x03X\x01\x00\x00\x00aq\x04K\x03se.";
        let p = Pickle::read(bytes).unwrap();
        let Node::List(items) = p.get(p.root()) else { panic!() };
        let plain = [Node::Int(1), Node::Int(-2), Node::Int(300), Node::Float(1.5), Node::Text("é".into()), Node::None];
        assert!(items.iter().zip(&plain).all(|(&k, x)| p.get(k) == x));
        assert!(matches!(p.get(items[7]), Node::Tuple(t) if t.len() == 2));
        let Node::Dict(d) = p.get(items[8]) else { panic!() };
        assert_eq!((p.get(d[0].0), p.get(d[0].1)), (&Node::Text("a".into()), &Node::Int(3)));
    }

    #[test]
    fn calls_are_records_and_are_not_called() {
        let p = Pickle::read(b"cos\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap();
        let Node::Record { class, args, state: None } = p.get(p.root()) else { panic!() };
        assert_eq!(p.get(*class), &Node::Global("os system".into()));
        assert!(matches!(p.get(*args), Node::Tuple(t) if p.get(t[0]) == &Node::Text("true".into())));
    }

    #[test]
    fn hostile_bytes_are_errors() {
        refuse(b"", "ends too soon");
        refuse(b".", "stack is empty");
        refuse(b"(.", "stack is empty");
        refuse(b"N(0.", "stack is empty");
        refuse(b"e.", "no mark");
        refuse(b"(N0e.", "stack is empty");
        refuse(b"N(0(", "stack is empty");
        refuse(b"h\x07.", "nothing was kept as 7");
        refuse(b"X\xff\xff\xff\xffabc", "ends too soon");
        refuse(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", "ends too soon");
        refuse(b"\x8a\x09123456789.", "9 bytes");
        refuse(b"NNs.", "stack is empty");
        refuse(b"NNNs.", "no dictionary");
        refuse(b"NNa.", "no list");
        refuse(b"NNb.", "no object");
        refuse(b"}(Nu.", "key without value");
        refuse(b"cabc", "without end");
        refuse(b"i", "opcode 0x69");
        // A list in itself is no endless way.
        assert!(Pickle::read(b"]q\x00h\x00a.").is_ok());
    }
}
