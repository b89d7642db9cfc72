//! Elementwise work on one row of a tile: vector expressions over registers, loads and broadcasts.

use std::collections::HashMap;

use super::fuse::{Fused, Place};
use super::graph::{Kind, Pos, Ref};
use super::pairs::{Copy, Pairs};
use super::space::Space;
use super::text::float;
use crate::tile::{Axis, Leaf, MapFn};

/// Statements for one row, by where they stand.
pub struct Row<'a> {
    space: &'a Space<'a>,
    fused: &'a Fused,
    /// Index of the row within the stored value, the panel, and the vector's offset in lanes.
    row: String,
    panel: String,
    /// Once a call.
    pub top: Vec<String>,
    /// Once a row.
    pub head: Vec<String>,
    /// For each vector `j` of the row.
    pub body: Vec<String>,
    known: HashMap<(usize, Option<Pos>), String>,
}

impl<'a> Row<'a> {
    /// Work of a stage on row `row` of panel `panel`.
    pub fn new(space: &'a Space<'a>, fused: &'a Fused, panel: &str, row: &str) -> Row<'a> {
        Row {
            space,
            fused,
            row: row.into(),
            panel: panel.into(),
            top: vec![],
            head: vec![],
            body: vec![],
            known: HashMap::new(),
        }
    }

    /// Tells where a node's vector is at hand.
    pub fn set(&mut self, node: usize, text: String) {
        let lane = self.space.graph.is_matrix(node).then(|| self.space.layout[node]);
        self.known.insert((node, lane), text);
    }

    fn rank(&self, node: usize) -> String {
        format!("v{node}")
    }

    /// The vector of an operand whose lanes lie along its `pos`.
    pub fn operand(&mut self, r: Ref, pos: Pos) -> String {
        let graph = self.space.graph;
        let name = self.space.name(r.node).to_string();
        match &graph.nodes[r.node].kind {
            Kind::Leaf(Leaf::Number(x)) => return self.constant(r.node, format!("splat({})", float(*x))),
            Kind::Leaf(Leaf::Size(s)) => return self.constant(r.node, format!("splat(w.n{s} as f32)")),
            Kind::Leaf(Leaf::Const(_)) => return self.constant(r.node, format!("splat(*w.{name})")),
            _ => {}
        }
        let shape = graph.shape(r);
        if shape.rows == Axis::One || shape.cols == Axis::One {
            if let Some(found) = self.known.get(&(r.node, None)) {
                return found.clone();
            }
            if shape.rows == shape.cols {
                return self.constant(r.node, format!("splat(*w.{name})"));
            }
            let along_lanes = (shape.rows == Axis::One) == (pos == Pos::Cols);
            // a square frame may want one vector both ways: the key tells them apart
            let key = (r.node, Some(if along_lanes { Pos::Cols } else { Pos::Rows }));
            if let Some(found) = self.known.get(&key) {
                return found.clone();
            }
            let var = format!("{}{}", self.rank(r.node), if along_lanes { "" } else { "r" });
            if along_lanes {
                let axis = graph.vector_axis(r.node);
                let w = self.space.widths.panel(axis);
                let at = if self.panel == "0" { String::new() } else { format!("{} * {w} + ", self.panel) };
                self.body.push(format!("let {var} = load(w.{name}.add({at}j * L));"));
            } else {
                self.head.push(format!("let {var} = splat(*w.{name}.add({}));", self.row));
            }
            self.known.insert(key, var.clone());
            return var;
        }
        let lane = pos.flip(r.flip);
        if let Some(found) = self.known.get(&(r.node, Some(lane))) {
            return found.clone();
        }
        if self.fused.places[r.node] == Place::Inline {
            return self.compute(r.node, lane);
        }
        let suffix = if lane == self.space.layout[r.node] { "" } else { "t" };
        let var = format!("{}{suffix}", self.rank(r.node));
        let load = if self.space.words.contains(&r.node) {
            let words = self.space.paired(Copy { node: r.node, turned: false, pairs: Some(Pairs::Lanes) });
            format!("load_bf16({}.add(j * L / 2))", words.at(&self.panel, &self.row))
        } else {
            format!("load({}.add(j * L))", self.space.matrix(r.node, lane).at(&self.panel, &self.row))
        };
        self.body.push(format!("let {var} = {load};"));
        self.known.insert((r.node, Some(lane)), var.clone());
        var
    }

    fn constant(&mut self, node: usize, text: String) -> String {
        let key = (node, None);
        if let Some(found) = self.known.get(&key) {
            return found.clone();
        }
        let var = self.rank(node);
        self.top.push(format!("let {var} = {text};"));
        self.known.insert(key, var.clone());
        var
    }

    /// Computes an elementwise node, its lanes along `lane`, and returns its vector.
    pub fn compute(&mut self, node: usize, lane: Pos) -> String {
        let graph = self.space.graph;
        let text = match &graph.nodes[node].kind {
            Kind::Map(f, args) => {
                let x: Vec<String> = args.iter().map(|r| self.operand(*r, lane.flip(false)).clone()).collect();
                call(*f, &x)
            }
            Kind::Lower(x) => {
                let v = self.operand(*x, lane);
                let w = self.space.widths.panel(Axis::Token);
                let at = format!("{} * {w} + j * L", self.panel);
                if lane == Pos::Cols {
                    format!("below_diagonal({v}, {}, {at})", self.row)
                } else {
                    format!("beside_diagonal({v}, {}, {at})", self.row)
                }
            }
            kind => unreachable!("{kind:?} is not elementwise"),
        };
        let natural = !graph.is_matrix(node) || lane == self.space.layout[node];
        let var = format!("{}{}", self.rank(node), if natural { "" } else { "t" });
        let shape = self.space.show(Ref { node, flip: false });
        self.body.push(format!("let {var} = {text}; // {shape}"));
        self.known.insert((node, graph.is_matrix(node).then_some(lane)), var.clone());
        var
    }

    /// The position of lanes for elementwise work on a node: along its layout, or along a vector's axis.
    pub fn lane(&self, node: usize) -> Pos {
        let shape = self.space.graph.nodes[node].shape;
        if self.space.graph.is_matrix(node) {
            self.space.layout[node]
        } else if shape.cols == Axis::One && shape.rows != Axis::One {
            Pos::Rows
        } else {
            Pos::Cols
        }
    }
}

/// The vector expression of an elementwise function.
pub fn call(f: MapFn, x: &[String]) -> String {
    let name = match f {
        MapFn::Add => "add",
        MapFn::Sub => "sub",
        MapFn::Mul => "mul",
        MapFn::Div => "div",
        MapFn::Neg => "neg",
        MapFn::Exp => "exp",
        MapFn::Log => "log",
        MapFn::Sqrt => "sqrt",
        MapFn::Rsqrt => "rsqrt",
        MapFn::Sigmoid => "sigmoid",
        MapFn::LogSigmoid => "log_sigmoid",
        MapFn::Tanh => "tanh",
        MapFn::Silu => "silu",
        MapFn::Softplus => "softplus",
        MapFn::Relu => "relu",
        MapFn::Abs => "abs",
        MapFn::Sq => return format!("mul({0}, {0})", x[0]),
        MapFn::Clamp => "clamp",
        MapFn::Inside => "inside",
        MapFn::Positive => "positive",
        MapFn::Sign => "sign",
        MapFn::Keep => "if_nonzero",
    };
    format!("{name}({})", x.join(", "))
}
