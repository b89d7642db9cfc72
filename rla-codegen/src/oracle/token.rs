//! One token of one head: every expression's value, and in reverse every expression's adjoint.
use super::kink::{self, Branch, Kink, Kinks, Site};
use super::plan::{Node, NodeId, Operation, Plan};
use super::product::{self, Sizes};
use super::{At, arith, function};
use rla_dsl::recurrence::Func;

/// Values, adjoints and branches of one token, at the places the plan gives.
pub(super) struct Token {
    values: Vec<f64>,
    adjoints: Vec<f64>,
    branches: Vec<Branch>,
}

/// What [`Token::forward`] left behind, for [`Token::backward`] later.
pub(super) struct Kept(Vec<f64>, Vec<Branch>);

impl Token {
    /// Evaluates what no token changes.
    pub fn new(plan: &Plan, consts: &[f64]) -> Token {
        let mut token = Token {
            values: vec![0.0; plan.size],
            adjoints: vec![0.0; plan.size],
            branches: vec![Branch::Inside; plan.size],
        };
        for node in plan.nodes.iter().filter(|node| !node.varies) {
            match node.operation {
                Operation::Number(x) => token.values[node.at] = x,
                Operation::Const(i) => token.values[node.at] = consts[i],
                Operation::Identity => (0..node.rows).for_each(|i| token.values[node.at + i * (node.cols + 1)] = 1.0),
                _ => token.evaluate(plan, node, None),
            }
        }
        token
    }

    /// Value of a node.
    pub fn value(&self, plan: &Plan, node: NodeId) -> &[f64] {
        &self.values[plan.nodes[node].place()]
    }

    /// Adjoint of a node.
    pub fn adjoint(&self, plan: &Plan, node: NodeId) -> &[f64] {
        &self.adjoints[plan.nodes[node].place()]
    }

    /// Brings the inputs and the states before this token.
    pub fn load<'a>(&mut self, plan: &Plan, input: impl Fn(usize) -> &'a [f64], states: &[Vec<f64>]) {
        for node in &plan.nodes {
            match node.operation {
                Operation::Input(i) => self.values[node.place()].copy_from_slice(input(i)),
                Operation::State(i) => self.values[node.place()].copy_from_slice(&states[i]),
                _ => {}
            }
        }
    }

    /// Evaluates every expression, after [`Token::load`].
    pub fn forward(&mut self, plan: &Plan, at: At, kinks: &mut dyn Kinks) {
        for node in plan.nodes.iter().filter(|node| node.varies) {
            self.evaluate(plan, node, Some((at, kinks)));
        }
    }

    fn evaluate(&mut self, plan: &Plan, node: &Node, kinks: Option<(At, &mut dyn Kinks)>) {
        // operands lie before the node
        let (before, from) = self.values.split_at_mut(node.at);
        let y = &mut from[..node.rows * node.cols];
        let of = |id: NodeId| &before[plan.nodes[id].place()];
        match &node.operation {
            Operation::Number(_) | Operation::Const(_) | Operation::Identity => {}
            Operation::Input(_) | Operation::State(_) => {}
            Operation::Negate(a) => y.iter_mut().zip(of(*a)).for_each(|(y, a)| *y = -a),
            Operation::Transpose(a) => arith::transpose(y, of(*a), plan.nodes[*a].rows, plan.nodes[*a].cols),
            Operation::Add(a, b) => arith::zip(y, of(*a), of(*b), |a, b| a + b),
            Operation::Subtract(a, b) => arith::zip(y, of(*a), of(*b), |a, b| a - b),
            Operation::Scale(a, b) => arith::zip(y, of(*a), of(*b), |a, b| a * b),
            Operation::Divide(a, b) => arith::zip(y, of(*a), of(*b), |a, b| a / b),
            Operation::Product(a, b) => product::product(y, of(*a), of(*b), sizes(plan, *a, *b)),
            Operation::Call(func, args) if function::kinked(*func) => {
                let bounds = bounds(*func, args, of);
                let branches = &mut self.branches[node.place()];
                let mut kinks = kinks;
                for (element, x) in of(args[0]).iter().copied().enumerate() {
                    let (mut branch, distance) = kink::classify(*func, x, bounds);
                    if let Some((at, kinks)) = &mut kinks {
                        let site = Site { call: node.expr, head: at.head, position: at.position, element };
                        let scale = || scale(plan, before, args[0], element);
                        branch = kinks.branch(&Kink { site, argument: x, distance, branch, scale: &scale });
                    }
                    branches[element] = branch;
                    y[element] = kink::value(*func, branch, x, bounds);
                }
            }
            Operation::Call(func, args) => {
                let args: Vec<&[f64]> = args.iter().map(|&a| of(a)).collect();
                function::value(*func, y, &args);
                if let Some((at, kinks)) = kinks.filter(|_| *func != Func::Softmax) {
                    let site = Site { call: node.expr, head: at.head, position: at.position, element: 0 };
                    kinks.value(site, y);
                }
            }
        }
    }

    /// A copy of what forward left.
    pub fn keep(&self) -> Kept {
        Kept(self.values.clone(), self.branches.clone())
    }

    /// Goes back to a kept token.
    pub fn restore(&mut self, kept: Kept) {
        (self.values, self.branches) = (kept.0, kept.1);
    }

    /// Calls `see` with the value and the adjoint of each node that varies.
    pub fn look<'a>(&'a self, plan: &'a Plan, mut see: impl FnMut(&'a Node, &'a [f64], &'a [f64])) {
        for node in plan.nodes.iter().filter(|node| node.varies) {
            see(node, &self.values[node.place()], &self.adjoints[node.place()]);
        }
    }

    /// Clears the adjoints.
    pub fn clear(&mut self) {
        self.adjoints.fill(0.0);
    }

    /// Adds to a node's adjoint.
    pub fn seed(&mut self, plan: &Plan, node: NodeId, cotangent: &[f64]) {
        let place = plan.nodes[node].place();
        self.adjoints[place].iter_mut().zip(cotangent).for_each(|(a, c)| *a += c);
    }

    /// Carries the adjoints from the seeded nodes to inputs and states, for the values that [`Token::forward`] left.
    pub fn backward(&mut self, plan: &Plan) {
        for node in plan.nodes.iter().rev().filter(|node| node.varies) {
            self.pull(plan, node);
        }
    }

    fn pull(&mut self, plan: &Plan, node: &Node) {
        let (before, from) = self.adjoints.split_at_mut(node.at);
        let dy = &from[..node.rows * node.cols];
        let values = &self.values;
        let of = |id: NodeId| &values[plan.nodes[id].place()];
        let y = &values[node.place()];
        // runs `f` on an operand's adjoint, if the operand has one
        let mut to = |id: NodeId, f: &mut dyn FnMut(&mut [f64])| {
            if plan.nodes[id].varies {
                f(&mut before[plan.nodes[id].place()]);
            }
        };
        match &node.operation {
            Operation::Number(_) | Operation::Const(_) | Operation::Identity => {}
            Operation::Input(_) | Operation::State(_) => {}
            Operation::Negate(a) => to(*a, &mut |da| arith::pull(da, dy, |_| -1.0)),
            Operation::Transpose(a) => {
                let (rows, cols) = (plan.nodes[*a].rows, plan.nodes[*a].cols);
                to(*a, &mut |da| arith::pull_transpose(da, dy, rows, cols));
            }
            Operation::Add(a, b) => {
                to(*a, &mut |da| arith::pull(da, dy, |_| 1.0));
                to(*b, &mut |db| arith::pull(db, dy, |_| 1.0));
            }
            Operation::Subtract(a, b) => {
                to(*a, &mut |da| arith::pull(da, dy, |_| 1.0));
                to(*b, &mut |db| arith::pull(db, dy, |_| -1.0));
            }
            Operation::Scale(a, b) => {
                to(*a, &mut |da| arith::pull_scale(da, of(*b), dy));
                to(*b, &mut |db| arith::pull_scale(db, of(*a), dy));
            }
            Operation::Divide(a, b) => {
                to(*a, &mut |da| arith::pull_dividend(da, of(*b), dy));
                to(*b, &mut |db| arith::pull_divisor(db, of(*b), y, dy));
            }
            Operation::Product(a, b) => {
                let n = sizes(plan, *a, *b);
                to(*a, &mut |da| product::pull_left(da, of(*b), dy, n));
                to(*b, &mut |db| product::pull_right(db, of(*a), dy, n));
            }
            Operation::Call(func, args) if function::kinked(*func) => {
                let branches = &self.branches[node.place()];
                to(args[0], &mut |dx| arith::pull(dx, dy, |i| kink::slope(*func, branches[i])));
            }
            Operation::Call(func, args) => {
                let operands: Vec<&[f64]> = args.iter().map(|&a| of(a)).collect();
                for (which, &arg) in args.iter().enumerate() {
                    to(arg, &mut |dx| function::pull(*func, which, dx, &operands, y, dy));
                }
            }
        }
    }
}

fn sizes(plan: &Plan, a: NodeId, b: NodeId) -> Sizes {
    Sizes { inner: plan.nodes[a].cols, cols: plan.nodes[b].cols }
}

fn bounds<'a>(func: Func, args: &[NodeId], of: impl Fn(NodeId) -> &'a [f64]) -> (f64, f64) {
    if func == Func::Clamp { (of(args[1])[0], of(args[2])[0]) } else { (0.0, 0.0) }
}

/// See [`Kink::scale`].
fn scale(plan: &Plan, values: &[f64], id: NodeId, element: usize) -> f64 {
    let node = &plan.nodes[id];
    let value = |id: NodeId, element: usize| {
        let place = plan.nodes[id].place();
        if place.len() == 1 { values[place.start] } else { values[place.start + element] }
    };
    let at = |id: NodeId| if plan.nodes[id].place().len() == 1 { 0 } else { element };
    match &node.operation {
        Operation::Negate(a) => scale(plan, values, *a, element),
        Operation::Add(a, b) | Operation::Subtract(a, b) => {
            scale(plan, values, *a, at(*a)) + scale(plan, values, *b, at(*b))
        }
        Operation::Scale(a, b) if plan.nodes[*a].scalar => value(*a, 0).abs() * scale(plan, values, *b, at(*b)),
        Operation::Scale(a, b) if plan.nodes[*b].scalar => value(*b, 0).abs() * scale(plan, values, *a, at(*a)),
        Operation::Product(a, b) => {
            let (n, a, b) = (sizes(plan, *a, *b), &values[plan.nodes[*a].place()], &values[plan.nodes[*b].place()]);
            let (row, col) = (element / n.cols, element % n.cols);
            let left: f64 = a[row * n.inner..(row + 1) * n.inner].iter().map(|x| x * x).sum();
            let right: f64 = b.iter().skip(col).step_by(n.cols).map(|x| x * x).sum();
            left.sqrt() * right.sqrt()
        }
        Operation::Call(Func::Dot, args) => {
            let norm = |id: NodeId| values[plan.nodes[id].place()].iter().map(|x| x * x).sum::<f64>().sqrt();
            norm(args[0]) * norm(args[1])
        }
        _ => value(id, element).abs(),
    }
}
