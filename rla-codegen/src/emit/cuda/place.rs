//! Sizes, element types, and where values lie.

use crate::emit::graph::{Graph, Ref};
use crate::tile::{Axis, Shape};

/// Element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Elem {
    /// IEEE single precision.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl Elem {
    /// The C++ type.
    pub fn c(self) -> &'static str {
        match self {
            Elem::F32 => "float",
            Elem::Bf16 => "bf16",
            Elem::F16 => "f16",
        }
    }

    /// Bytes.
    pub fn bytes(self) -> usize {
        if self == Elem::F32 { 4 } else { 2 }
    }
}

/// What a kernel text is written for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Size of each side.
    pub sides: Vec<usize>,
    /// Tokens a chunk.
    pub chunk: usize,
}

impl Sizes {
    /// Elements along an axis.
    pub fn real(&self, axis: Axis) -> usize {
        match axis {
            Axis::One => 1,
            Axis::Token => self.chunk,
            Axis::Side(side) => self.sides[side as usize],
        }
    }

    /// Elements stored along an axis of a matrix: whole blocks of 16, zero beyond the real ones.
    pub fn padded(&self, axis: Axis) -> usize {
        if axis == Axis::One { 1 } else { self.real(axis).next_multiple_of(16) }
    }
}

/// How the elements of a matrix lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Row by row.
    Rows,
    /// Of 16-bit elements, as right operands of products that sum over rows: by blocks of 16 x 16, row by row of blocks,
    /// lane l's four registers together (templates/cuda/products.cuh).
    Fragments,
    /// Of 16-bit elements, as right operands of products of four warps at once: by panels of 64 columns, row by row, each row's pieces
    /// exchanged (templates/cuda/chain.cuh).
    Panels,
    /// Row by row, rounded; then all rows again, of what rounding left.
    Twice,
    /// Of numbers a row: so many each, which are to be added up.
    Parts(usize),
    /// Row by row, so many rows in each of successive records, `NAME_next` elements apart; rows beyond `there` are zero.
    Pieces(usize),
}

/// Columns of a panel.
const PANEL: usize = 64;

/// Memory of one value: `name` points to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The pointer's name.
    pub name: String,
    /// Element type.
    pub elem: Elem,
    /// Elements from one row to the next (of 16 rows, one sixteenth); 0 for a vector or a number.
    pub ld: usize,
    /// Bytes.
    pub bytes: usize,
    /// The elements' order.
    pub order: Order,
}

impl Place {
    /// A place for a node: rows padded apart so that 8 rows lie in different banks.
    pub fn of(graph: &Graph, sizes: &Sizes, node: usize, elem: Elem) -> Place {
        let shape = graph.nodes[node].shape;
        let name = format!("v{node}");
        if graph.is_matrix(node) {
            let ld = sizes.padded(shape.cols) + 16 / elem.bytes();
            return Place { name, elem, ld, bytes: sizes.padded(shape.rows) * ld * elem.bytes(), order: Order::Rows };
        }
        let count = sizes.padded(graph.vector_axis(node)).next_multiple_of(4);
        Place { name, elem: Elem::F32, ld: 0, bytes: 4 * count, order: Order::Rows }
    }

    /// A place of a state in a record: as fragments, where its elements have 16 bits.
    pub fn of_state(sizes: &Sizes, name: String, shape: Shape, elem: Elem) -> Place {
        let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
        let (ld, order) = match elem {
            Elem::F32 => (cols + 4, Order::Rows),
            _ => (cols, Order::Fragments),
        };
        Place { name, elem, ld, bytes: rows * ld * elem.bytes(), order }
    }

    /// A place in panels, where the type and the number of columns allow it.
    pub fn of_panels(graph: &Graph, sizes: &Sizes, node: usize, elem: Elem) -> Option<Place> {
        let shape = graph.nodes[node].shape;
        let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
        let bytes = rows * cols * elem.bytes();
        let place = Place { name: format!("v{node}"), elem, ld: cols, bytes, order: Order::Panels };
        (elem != Elem::F32 && graph.is_matrix(node) && cols.is_multiple_of(PANEL)).then_some(place)
    }

    /// Rows of a matrix.
    pub fn rows(&self) -> usize {
        self.bytes / self.elem.bytes() / self.ld.max(1)
    }

    /// A place for rows of tokens in a record, one right behind the other: warps that write whole sectors.
    pub fn of_rows(sizes: &Sizes, name: String, shape: Shape, elem: Elem) -> Place {
        let ld = sizes.padded(shape.cols);
        Place { name, elem, ld, bytes: sizes.padded(shape.rows) * ld * elem.bytes(), order: Order::Rows }
    }

    /// Index of element (row, col) of a matrix.
    pub fn index(&self, row: &str, col: &str) -> String {
        match self.order {
            Order::Rows | Order::Twice => format!("({row}) * {} + ({col})", self.ld),
            Order::Fragments => format!("in_fragments<{}>({row}, {col})", self.ld),
            Order::Pieces(rows) => format!("piece<{rows}, {}>({row}, {}_next) + ({col})", self.ld, self.name),
            Order::Panels => format!("in_panels<{}>({row}, {col})", self.rows()),
            Order::Parts(_) => unreachable!("matrices have no parts"),
        }
    }

    /// Element (row, col) of the node as an lvalue.
    pub fn element(&self, graph: &Graph, node: usize, row: &str, col: &str) -> String {
        let shape = graph.nodes[node].shape;
        if self.ld > 0 {
            return format!("{}[{}]", self.name, self.index(row, col));
        }
        let index = match (shape.rows, shape.cols) {
            (Axis::One, Axis::One) => "0",
            (Axis::One, _) => col,
            _ => row,
        };
        format!("{}[{index}]", self.name)
    }

    /// Element (row, col) of the node as a float; the columns `c + n` of a matrix are read together.
    pub fn read(&self, graph: &Graph, node: usize, row: &str, col: &str) -> String {
        if let Order::Pieces(_) = self.order {
            let (start, n) =
                (self.index(row, if col == "c + n" { "c" } else { col }), if col == "c + n" { "n" } else { "0" });
            let width = if n == "n" { "width" } else { "Width<1>()" };
            return format!("where({row} < there, pick({width}, &{}[{start}], {n}))", self.name);
        }
        if self.ld > 0 && (self.order == Order::Rows && col == "c + n" || col.is_empty()) {
            let start = if col.is_empty() { row.into() } else { self.index(row, "c") };
            return format!("pick(width, &{}[{start}], n)", self.name);
        }
        if let Order::Parts(count) = self.order {
            return format!("total<{count}>({}, {row})", self.name);
        }
        let element = self.element(graph, node, row, col);
        if self.elem == Elem::F32 { element } else { format!("widen({element})") }
    }

    /// The matrix as an operand, in shared memory or not.
    pub fn matrix(&self, flip: bool, shared: bool) -> String {
        if self.order == Order::Fragments {
            return format!("Fragments<{}, {}, {flip}>{{{}}}", self.elem.c(), self.ld, self.name);
        }
        if self.order == Order::Twice {
            let rest = self.bytes / self.elem.bytes() / 2;
            return format!("Twice<{}, {}, {flip}, {shared}, {rest}>{{{}}}", self.elem.c(), self.ld, self.name);
        }
        format!("Mat<{}, {}, {flip}, {shared}>{{{}}}", self.elem.c(), self.ld, self.name)
    }
}

/// Values that pass from one kernel to another: one record a chunk and value head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Nodes with their places and byte offsets.
    pub items: Vec<(usize, Place, usize)>,
    /// Bytes.
    pub bytes: usize,
}

impl Record {
    /// Adds a node at the end.
    pub fn add(&mut self, node: usize, place: Place) {
        let bytes = place.bytes.next_multiple_of(16);
        self.items.push((node, place, self.bytes));
        self.bytes += bytes;
    }

    /// The item of a node.
    pub fn item(&self, node: usize) -> Option<&(usize, Place, usize)> {
        self.items.iter().find(|(n, ..)| *n == node)
    }

    /// Rounded up to whole lines.
    pub fn stride(&self) -> usize {
        self.bytes.next_multiple_of(128)
    }
}

/// Rows and columns of a reference, exchanged where it is flipped.
pub fn turned<'a>(r: Ref, row: &'a str, col: &'a str) -> (&'a str, &'a str) {
    if r.flip { (col, row) } else { (row, col) }
}
