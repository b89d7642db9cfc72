//! Names and addresses: where each value lies in working memory.
//!
//! A matrix with its lanes along an axis of size n is stored in panels `[n / W][rows][W]`; W is the tile's width for sides,
//! and at most the chunk for tokens. Vectors and numbers are arrays. Rows and lanes are padded to whole panels;
//! what lies in the padding is never summed over.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Graph, Kind, Pos, Ref};
use super::layout::Layout;
use crate::schedule::Tile;
use crate::tile::{Axis, Leaf};

/// Sizes that text needs.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    /// Registers and lanes.
    pub tile: Tile,
    /// Tokens a chunk.
    pub chunk: usize,
}

impl Widths {
    /// Lanes of a panel along an axis.
    pub fn panel(&self, axis: Axis) -> usize {
        let full = self.tile.vectors * self.tile.lanes;
        match axis {
            Axis::Side(_) => full,
            Axis::Token => full.min(self.chunk.next_multiple_of(self.tile.lanes)),
            Axis::One => self.tile.lanes,
        }
    }

    /// Vectors of a panel along an axis.
    pub fn vectors(&self, axis: Axis) -> usize {
        self.panel(axis) / self.tile.lanes
    }

    /// Number of panels along an axis.
    pub fn panels(&self, axis: Axis) -> String {
        match axis {
            Axis::Side(s) => format!("w.panels{s}"),
            Axis::Token => self.chunk.div_ceil(self.panel(axis)).to_string(),
            Axis::One => "1".into(),
        }
    }

    /// Rows stored along an axis.
    pub fn stored(&self, axis: Axis) -> String {
        match axis {
            Axis::Side(s) => format!("w.rows{s}"),
            Axis::Token => self.stored_tokens().to_string(),
            Axis::One => "1".into(),
        }
    }

    /// Rows stored for tokens.
    pub fn stored_tokens(&self) -> usize {
        self.chunk.next_multiple_of(self.panel(Axis::Token)).next_multiple_of(self.tile.rows)
    }

    /// Size of an axis.
    pub fn size(&self, axis: Axis) -> String {
        match axis {
            Axis::Side(s) => format!("w.n{s}"),
            Axis::Token => self.chunk.to_string(),
            Axis::One => "1".into(),
        }
    }
}

/// Where a stored matrix lies.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Field that points to it.
    pub field: String,
    /// Floats from one panel to the next; empty where only one panel is kept.
    pub panel: String,
    /// Floats from one row to the next.
    pub row: usize,
    /// The field that holds the row's distance, where that is known at run time only: a view of the caller's memory.
    pub view: Option<String>,
    /// Axis of the lanes.
    pub lanes: Axis,
    /// Axis of the rows.
    pub rows: Axis,
}

impl Matrix {
    /// Address of row `r` of panel `p`.
    pub fn at(&self, p: &str, r: &str) -> String {
        let mut terms = vec![];
        if p != "0" && !self.panel.is_empty() {
            terms.push(format!("{p} * {}", self.panel));
        }
        if r != "0" {
            match &self.view {
                Some(field) => terms.push(format!("({r}) * w.{field}")),
                None => terms.push(format!("{r} * {}", self.row)),
            }
        }
        if terms.is_empty() {
            format!("w.{}", self.field)
        } else {
            format!("w.{}.add({})", self.field, terms.join(" + "))
        }
    }
}

/// Fields of the working memory.
#[derive(Debug)]
pub struct Space<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Orientations.
    pub layout: &'a Layout,
    /// Widths.
    pub widths: Widths,
    /// Names of leaves.
    names: BTreeMap<usize, String>,
    /// Matrices of which one panel is enough.
    pub single: BTreeSet<usize>,
    /// Inputs in bf16 of which there is no copy in f32.
    pub words: BTreeSet<usize>,
    /// Those of them that may lie in the caller's memory.
    pub word_views: BTreeSet<usize>,
    /// Inputs and results that may lie in the caller's memory: their fields say how far panels and rows are apart.
    pub views: BTreeSet<usize>,
}

impl<'a> Space<'a> {
    /// Names every node; `leaf` names those that the recurrence names.
    pub fn new(
        graph: &'a Graph,
        layout: &'a Layout,
        widths: Widths,
        leaf: &dyn Fn(&Leaf) -> Option<String>,
    ) -> Space<'a> {
        let mut names = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (i, node) in graph.nodes.iter().enumerate() {
            if let Kind::Leaf(l) = &node.kind
                && let Some(name) = leaf(l)
                && taken.insert(name.clone())
            {
                names.insert(i, name);
            }
        }
        for i in 0..graph.nodes.len() {
            if let std::collections::btree_map::Entry::Vacant(slot) = names.entry(i) {
                let mut name = format!("x{i}");
                while !taken.insert(name.clone()) {
                    name.push('_');
                }
                slot.insert(name);
            }
        }
        Space {
            graph,
            layout,
            widths,
            names,
            single: BTreeSet::new(),
            words: BTreeSet::new(),
            word_views: BTreeSet::new(),
            views: BTreeSet::new(),
        }
    }

    /// The name of a node.
    pub fn name(&self, node: usize) -> &str {
        &self.names[&node]
    }

    /// A name for comments: with the transpose.
    pub fn show(&self, r: Ref) -> String {
        format!("{}{}", self.name(r.node), if r.flip { "^T" } else { "" })
    }

    /// Axes of rows and lanes of a node stored along `lane`.
    pub fn axes(&self, node: usize, lane: Pos) -> (Axis, Axis) {
        let shape = self.graph.nodes[node].shape;
        if lane == Pos::Cols { (shape.rows, shape.cols) } else { (shape.cols, shape.rows) }
    }

    /// A stored matrix, its lanes along `lane` of the node.
    pub fn matrix(&self, node: usize, lane: Pos) -> Matrix {
        let (rows, lanes) = self.axes(node, lane);
        let row = self.widths.panel(lanes);
        let turned = lane != self.layout[node];
        let field = if turned { format!("{}_t", self.name(node)) } else { self.name(node).to_string() };
        let panel = if !turned && self.single.contains(&node) { String::new() } else { self.panel_of(rows, row) };
        if !turned && self.views.contains(&node) {
            let (panel, view) = (format!("w.{field}_panel"), Some(format!("{field}_row")));
            return Matrix { field, panel, row, view, lanes, rows };
        }
        Matrix { field, panel, row, view: None, lanes, rows }
    }

    /// Floats of a panel of stored rows.
    pub fn panel_of(&self, rows: Axis, row: usize) -> String {
        match rows {
            Axis::Token => (self.widths.stored_tokens() * row).to_string(),
            _ => format!("{} * {row}", self.widths.stored(rows)),
        }
    }

    /// Floats of a stored matrix.
    pub fn floats(&self, node: usize, lane: Pos) -> String {
        let mut m = self.matrix(node, lane);
        if m.view.is_some() {
            m.panel = self.panel_of(m.rows, m.row);
        }
        if m.panel.is_empty() {
            return format!("{} * {}", self.widths.stored(m.rows), m.row);
        }
        format!("{} * {}", self.widths.panels(m.lanes), m.panel)
    }

    /// Floats of a stored vector or number.
    pub fn vector_floats(&self, node: usize) -> String {
        let axis = self.graph.vector_axis(node);
        format!("{} * {}", self.widths.panels(axis), self.widths.panel(axis))
    }
}
