//! What stands in front of a kernel file: sizes, tables and straight-line programs as text.

use crate::dtype::Dtype;
use crate::ops::kernel::Port;
use crate::ops::layout::Layout;
use crate::ops::spec::Arithmetic;
use std::fmt::{Display, Write};

/// Threads of kernels that have none of their own number.
pub(crate) const THREADS: usize = 256;

/// The text of a kernel file.
pub(crate) struct Source {
    text: String,
}

impl Source {
    /// Whose results are as they are, for whoever looks for numbers that are not finite himself.
    pub fn new(storage: Dtype) -> Source {
        Source::begin(storage, false)
    }

    /// Of an operation, whose results leave a mark where they are not finite.
    pub fn checked(storage: Dtype) -> Source {
        Source::begin(storage, true)
    }

    fn begin(storage: Dtype, checked: bool) -> Source {
        let kind = match storage {
            Dtype::F64 | Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::Bf16 => 2,
        };
        let mut source = Source { text: String::new() };
        source.define("SINGLE", u8::from(storage != Dtype::F64)).define("STORAGE", kind);
        if checked {
            source.define("CHECKED", 1);
        }
        source.text.push_str(include_str!("../../../kernels/ops/cuda.cuh"));
        source.text.push_str(include_str!("../../../kernels/ops/scalar.cuh"));
        source
    }

    /// With products of tiles on tensor cores, or on none.
    pub fn tensor(mut self, arithmetic: Arithmetic) -> Source {
        let kind = match arithmetic {
            Arithmetic::Full => 0,
            Arithmetic::Tf32 => 1,
            Arithmetic::Bf16 => 2,
        };
        self.define("TENSOR", kind);
        self
    }

    pub fn define(&mut self, name: &str, value: impl Display) -> &mut Source {
        writeln!(self.text, "#define {name} {value}").expect("writing to a string");
        self
    }

    pub fn table<T: Display>(&mut self, kind: &str, name: &str, values: impl IntoIterator<Item = T>) -> &mut Source {
        let values = list(values);
        writeln!(self.text, "__device__ constexpr {kind} {name}[] = {{{values}}};").expect("writing to a string");
        self
    }

    /// Rows of one length, filled up with zeros.
    pub fn rows<T: Display>(&mut self, kind: &str, name: &str, rows: &[Vec<T>]) -> &mut Source {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let rows = list(rows.iter().map(|row| format!("{{{}}}", list(row))));
        writeln!(self.text, "__device__ constexpr {kind} {name}[][{longest}] = {{{rows}}};")
            .expect("writing to a string");
        self
    }

    /// `NAME_base` and `NAME_stride` of all components.
    pub fn components(&mut self, name: &str, at: &[[usize; 2]]) -> &mut Source {
        self.table("u32", &format!("{name}_base"), at.iter().map(|c| c[0]));
        self.table("u32", &format!("{name}_stride"), at.iter().map(|c| c[1]))
    }

    pub fn finish(mut self, kernels: &[&str]) -> String {
        kernels.iter().for_each(|text| self.text.push_str(text));
        self.text
    }
}

/// Side by side, with commas.
pub(crate) fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for (k, value) in values.into_iter().enumerate() {
        write!(text, "{}{value}", if k > 0 { ", " } else { "" }).expect("writing to a string");
    }
    text
}

/// Where the numbers of a block are: component `m` of channel `u` at `start + m · component + u · channel`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BlockAt {
    pub start: usize,
    pub mul: usize,
    pub dim: usize,
    pub component: usize,
    pub channel: usize,
}

impl BlockAt {
    /// First number and distance of channels, by component.
    pub fn components(self) -> impl Iterator<Item = [usize; 2]> {
        (0..self.dim).map(move |m| [self.start + m * self.component, self.channel])
    }
}

/// The blocks of a row of `port`.
pub(crate) fn blocks_at(port: &Port, layout: Layout) -> Vec<BlockAt> {
    let mut start = 0;
    let block = |&[dim, mul]: &[usize; 2]| {
        let (component, channel) = match layout {
            Layout::IrMul => (mul, 1),
            Layout::MulIr => (1, dim),
        };
        let at = BlockAt { start, mul, dim, component, channel };
        start += dim * mul;
        at
    };
    port.blocks.iter().map(block).collect()
}

/// Threads side by side for so many channels: whole warps.
pub(crate) fn across(channels: usize, most: usize) -> usize {
    channels.next_multiple_of(32).clamp(32, most)
}
