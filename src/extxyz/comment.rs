//! The comment line: `key=value` pairs.

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::value::{Kind, MAX_DEPTH, Value};

/// The pairs of a comment line, in order. A line without any `=` is free text under the key `comment`.
///
/// # Errors
/// A duplicate key, a missing key, a quote or bracket that is not closed; the message names the key.
pub(super) fn parse(line: &str) -> Result<IndexMap<String, Value>, String> {
    let mut info = IndexMap::new();
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(info);
    }
    if !line.contains('=') {
        info.insert("comment".to_owned(), Value::Text(line.to_owned()));
        return Ok(info);
    }
    let mut scanner = Scanner { rest: line };
    while !scanner.rest.is_empty() {
        let (key, value) = scanner.pair()?;
        match info.entry(key) {
            Entry::Occupied(e) => return Err(format!("key `{}` appears twice", brief(e.key()))),
            Entry::Vacant(e) => e.insert(value),
        };
    }
    Ok(info)
}

/// What is left of the line; every method takes its piece from the front.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    rest: &'a str,
}

/// An array before its common type is known.
enum Node {
    Word { text: String, quoted: bool },
    List(Vec<Node>),
}

impl<'a> Scanner<'a> {
    fn pair(&mut self) -> Result<(String, Value), String> {
        let key = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?.0,
            _ => self.take_until(|c| c == '=').to_owned(),
        };
        if key.is_empty() {
            return Err(format!("no key before `{}`", brief(self.rest)));
        }
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix('=') else { return Ok((key, Value::Bool(true))) };
        self.rest = rest;
        let detached = self.at_blank();
        self.skip_blanks();
        if self.rest.is_empty() || detached && self.at_pair() {
            return Ok((key, Value::Text(String::new())));
        }
        let value = self.value().map_err(|e| format!("key `{}`: {e}", brief(&key)))?;
        self.skip_blanks();
        Ok((key, value))
    }

    fn value(&mut self) -> Result<Value, String> {
        let start = *self;
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => match self.quoted(quote)? {
                (text, true) => Value::Text(text),
                (text, false) => Value::from_words(&text),
            },
            Some('{') => match typed(self.list(1)?) {
                Value::Array(mut items) if items.len() == 1 => items.remove(0),
                array => array,
            },
            Some('[') => {
                let list = self.list(1)?;
                let mut word = start;
                let text = word.take_until(|_| false);
                if !self.at_blank() && word.rest.len() < self.rest.len() {
                    // Not an array after all: `[Na+].[Cl-]`.
                    *self = word;
                    return Ok(Value::Text(text.to_owned()));
                }
                typed(list)
            }
            _ => Value::from_words(self.take_until(|_| false)),
        };
        if self.at_blank() { Ok(value) } else { Err(format!("`{}` follows its end", brief(self.rest))) }
    }

    /// Is there another pair where a value is due, as in `label= energy=-1`? So ASE writes an empty text.
    fn at_pair(&self) -> bool {
        let mut ahead = *self;
        !self.rest.starts_with(['"', '\'', '[', '{']) && {
            ahead.take_until(|c| c == '=');
            ahead.rest.starts_with('=')
        }
    }

    /// A quoted string, and whether it contains a backslash.
    fn quoted(&mut self, quote: char) -> Result<(String, bool), String> {
        let body = &self.rest[1..];
        let mut text = String::new();
        let mut escaped = false;
        let mut chars = body.char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => {
                    escaped = true;
                    match chars.next() {
                        Some((_, 'n')) => text.push('\n'),
                        Some((_, c)) => text.push(c),
                        None => break,
                    }
                }
                c if c == quote => {
                    self.rest = &body[i + 1..];
                    return Ok((text, escaped));
                }
                c => text.push(c),
            }
        }
        Err(format!("the quote before `{}` is not closed", brief(body)))
    }

    /// `[…]` or `{…}`, elements separated by commas or blanks.
    fn list(&mut self, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err(format!("arrays nest deeper than {MAX_DEPTH}"));
        }
        let start = self.rest;
        let close = if start.starts_with('[') { ']' } else { '}' };
        self.rest = &start[1..];
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
            match self.rest.chars().next() {
                None => return Err(format!("the bracket of `{}` is not closed", brief(start))),
                Some(c) if c == close => {
                    self.rest = &self.rest[1..];
                    return Ok(Node::List(items));
                }
                Some('[' | '{') => items.push(self.list(depth + 1)?),
                Some(quote @ ('"' | '\'')) => {
                    let (text, _) = self.quoted(quote)?;
                    items.push(Node::Word { text, quoted: true });
                }
                Some(c @ (']' | '}')) => return Err(format!("`{c}` closes no bracket")),
                Some(_) => {
                    let text = self.take_until(|c| matches!(c, ',' | ']' | '}')).to_owned();
                    items.push(Node::Word { text, quoted: false });
                }
            }
        }
    }

    /// Up to the next blank or the character that ends it.
    fn take_until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let n = self.rest.find(|c: char| c.is_ascii_whitespace() || end(c)).unwrap_or(self.rest.len());
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        head
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn at_blank(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(|c: char| c.is_ascii_whitespace())
    }
}

/// Gives all words of an array their common type.
fn typed(list: Node) -> Value {
    fn kind(node: &Node) -> Option<Kind> {
        match node {
            Node::Word { quoted: true, .. } => Some(Kind::Text),
            Node::Word { text, .. } => Some(Kind::of(text)),
            Node::List(items) => items.iter().filter_map(kind).reduce(Kind::join),
        }
    }
    fn value(node: Node, kind: Kind) -> Value {
        match node {
            Node::Word { text, .. } => kind.value(text.into()),
            Node::List(items) => Value::Array(items.into_iter().map(|n| value(n, kind)).collect()),
        }
    }
    let kind = kind(&list).unwrap_or(Kind::Text);
    value(list, kind)
}

/// The beginning of a text, for messages.
pub(super) fn brief(text: &str) -> String {
    const LENGTH: usize = 40;
    match text.char_indices().nth(LENGTH) {
        Some((n, _)) => format!("{}…", &text[..n]),
        None => text.to_owned(),
    }
}
