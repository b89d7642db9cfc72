//! The expressions that states and outputs need, in order of evaluation, each with its place in one token's buffer.
//!
//! `let`s and `S[t]` are the expressions they name, so every value is computed once. A `let` that nothing needs is left out.
use rla_dsl::recurrence::{ExprId, ExprKind, Func, Recurrence, Side, Statement, StatementKind, Type};
use std::ops::Range;

/// Index of a node in [`Plan::nodes`]; operands come first.
pub(super) type NodeId = usize;

/// What a node computes.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Number(f64),
    Const(usize),
    Identity,
    Input(usize),
    State(usize),
    Negate(NodeId),
    Transpose(NodeId),
    Add(NodeId, NodeId),
    Subtract(NodeId, NodeId),
    /// Elementwise or by a scalar.
    Scale(NodeId, NodeId),
    Divide(NodeId, NodeId),
    /// Matrix product; a column is n x 1, a row 1 x n.
    Product(NodeId, NodeId),
    Call(Func, Vec<NodeId>),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub operation: Operation,
    pub rows: usize,
    pub cols: usize,
    /// A scalar by type, not merely one number long.
    pub scalar: bool,
    /// Depends on an input or a state: evaluated each token, and has an adjoint.
    pub varies: bool,
    /// First element in the buffer.
    pub at: usize,
    /// The expression, for the kinks' log.
    pub expr: ExprId,
}

impl Node {
    pub fn place(&self) -> Range<usize> {
        self.at..self.at + self.rows * self.cols
    }
}

/// See the module's header.
pub(super) struct Plan {
    pub nodes: Vec<Node>,
    /// The node that each state is assigned.
    pub assigned: Vec<NodeId>,
    /// Each output's node.
    pub outputs: Vec<NodeId>,
    /// Elements of each state.
    pub state_sizes: Vec<usize>,
    /// Elements of the buffer.
    pub size: usize,
}

impl Plan {
    pub fn new(recurrence: &Recurrence, sizes: &[usize]) -> Plan {
        let mut builder =
            Builder { recurrence, sizes, nodes: vec![], of_expr: vec![None; recurrence.exprs.len()], size: 0 };
        let mut assigned = vec![0; recurrence.states.len()];
        let mut outputs = vec![0; recurrence.outputs.len()];
        for statement in &recurrence.statements {
            match statement.kind {
                StatementKind::Let => {}
                StatementKind::Assign(state) => assigned[state] = builder.node(statement.value),
                StatementKind::Output(output) => outputs[output] = builder.node(statement.value),
            }
        }
        let size = |side: Side| sizes[side.0 as usize];
        let state_sizes = recurrence.states.iter().map(|s| s.rows.map_or(1, size) * size(s.cols)).collect();
        Plan { nodes: builder.nodes, assigned, outputs, state_sizes, size: builder.size }
    }
}

struct Builder<'a> {
    recurrence: &'a Recurrence,
    sizes: &'a [usize],
    nodes: Vec<Node>,
    of_expr: Vec<Option<NodeId>>,
    size: usize,
}

impl Builder<'_> {
    /// The statement's expression behind a name.
    fn resolve(&self, mut id: ExprId) -> ExprId {
        loop {
            let statements = &self.recurrence.statements;
            id = match self.recurrence.expr(id).kind {
                ExprKind::Let(index) => statements[index].value,
                ExprKind::StateCurrent(state) => {
                    let assigns = |s: &&Statement| s.kind == StatementKind::Assign(state);
                    statements
                        .iter()
                        .find(assigns)
                        .expect("the checker lets S[t] stand only after its assignment")
                        .value
                }
                _ => return id,
            }
        }
    }

    /// The node of an expression, its operands before it. Walks an explicit stack: lets chain without a limit on depth.
    fn node(&mut self, root: ExprId) -> NodeId {
        let root = self.resolve(root);
        let mut stack = vec![root];
        while let Some(&id) = stack.last() {
            if self.of_expr[id.0 as usize].is_some() {
                stack.pop();
                continue;
            }
            let operands: Vec<ExprId> = operands(&self.recurrence.expr(id).kind).map(|o| self.resolve(o)).collect();
            let waiting: Vec<ExprId> =
                operands.iter().copied().filter(|o| self.of_expr[o.0 as usize].is_none()).collect();
            if waiting.is_empty() {
                stack.pop();
                self.push(id, &operands);
            } else {
                stack.extend(waiting);
            }
        }
        self.of_expr[root.0 as usize].expect("the walk ends with the root")
    }

    fn push(&mut self, id: ExprId, operands: &[ExprId]) {
        let args: Vec<NodeId> =
            operands.iter().map(|o| self.of_expr[o.0 as usize].expect("operands come first")).collect();
        let expr = self.recurrence.expr(id);
        let either_scalar = || args.iter().any(|&a| self.nodes[a].scalar);
        let operation = match &expr.kind {
            ExprKind::Number(x) => Operation::Number(*x),
            ExprKind::Input(i) => Operation::Input(*i),
            ExprKind::Const(i) => Operation::Const(*i),
            ExprKind::StatePrevious(i) => Operation::State(*i),
            ExprKind::Identity => Operation::Identity,
            ExprKind::Dim(side) => Operation::Number(self.sizes[side.0 as usize] as f64),
            ExprKind::Negate(_) => Operation::Negate(args[0]),
            ExprKind::Transpose(_) => Operation::Transpose(args[0]),
            ExprKind::Add(..) => Operation::Add(args[0], args[1]),
            ExprKind::Subtract(..) => Operation::Subtract(args[0], args[1]),
            ExprKind::Multiply(..) if either_scalar() => Operation::Scale(args[0], args[1]),
            ExprKind::Multiply(..) => Operation::Product(args[0], args[1]),
            ExprKind::Hadamard(..) => Operation::Scale(args[0], args[1]),
            ExprKind::Divide(..) => Operation::Divide(args[0], args[1]),
            ExprKind::Call(func, _) => Operation::Call(*func, args.clone()),
            ExprKind::Let(_) | ExprKind::StateCurrent(_) => unreachable!("names are resolved"),
        };
        let size = |side: Side| self.sizes[side.0 as usize];
        let (rows, cols) = match expr.ty {
            Type::Scalar => (1, 1),
            Type::Column(side) => (size(side), 1),
            Type::Row(side) => (1, size(side)),
            Type::Matrix(rows, cols) => (size(rows), size(cols)),
        };
        let varies = match operation {
            Operation::Input(_) | Operation::State(_) => true,
            _ => args.iter().any(|&a| self.nodes[a].varies),
        };
        let node = Node { operation, rows, cols, scalar: expr.ty == Type::Scalar, varies, at: self.size, expr: id };
        self.size += rows * cols;
        self.of_expr[id.0 as usize] = Some(self.nodes.len());
        self.nodes.push(node);
    }
}

fn operands(kind: &ExprKind) -> impl Iterator<Item = ExprId> + '_ {
    let (pair, call): ([Option<ExprId>; 2], &[ExprId]) = match kind {
        ExprKind::Negate(a) | ExprKind::Transpose(a) => ([Some(*a), None], &[]),
        ExprKind::Add(a, b)
        | ExprKind::Subtract(a, b)
        | ExprKind::Multiply(a, b)
        | ExprKind::Hadamard(a, b)
        | ExprKind::Divide(a, b) => ([Some(*a), Some(*b)], &[]),
        ExprKind::Call(_, args) => ([None, None], args),
        _ => ([None, None], &[]),
    };
    pair.into_iter().flatten().chain(call.iter().copied())
}
