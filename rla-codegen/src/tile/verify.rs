//! What a well-formed program is: numbered invariants.
//!
//! 1. A node uses only nodes before it.
//! 2. Every node's shape follows from its operands' by the shape rule of its operation.
//! 3. A [`Op::Solve`] is used by [`Op::Part`] only, and a part exists.
//! 4. Leaves have the shapes of what they stand for: states and their gradients `[free, contracted]`, numbers `[1, 1]`,
//!    the mask `[token, 1]`, kept values the declared ones.
//! 5. Each role is given once, with the shape of what it stands for: states `[free, contracted]`, outputs a row a token.
//! 6. A forward program has no gradient leaves and roles; a backward program has no forward results.

use super::shape::shape;
use super::{Axis, Leaf, Op, Program, Role, Shape, Value};

/// Checks the invariants.
///
/// # Errors
/// The number of the first broken one, and where.
pub fn verify(program: &Program) -> Result<(), String> {
    for (index, node) in program.nodes.iter().enumerate() {
        let at = |rule: u32, message: String| Err(format!("rule {rule}, %{index} = {}: {message}", node.op));
        let mut late = None;
        node.op.for_each_operand(|v| {
            if v.0 as usize >= index {
                late = Some(v);
            }
        });
        if let Some(v) = late {
            return at(1, format!("{v} is not before it"));
        }
        if let Op::Leaf(leaf) = &node.op {
            if let Err(message) = leaf_shape(program, *leaf, node.shape) {
                return at(4, message);
            }
            continue;
        }
        match shape(&node.op, &|v: Value| program.shape(v)) {
            Ok(found) if found == node.shape => {}
            Ok(found) => return at(2, format!("its shape is {found}, not {}", node.shape)),
            Err(message) => return at(2, message),
        }
        let mut misuse = None;
        node.op.for_each_operand(|v| {
            let solve = matches!(program.node(v).op, Op::Solve { .. });
            if solve != matches!(node.op, Op::Part(..)) {
                misuse = Some(v);
            }
        });
        if let Some(v) = misuse {
            return at(3, format!("{v} is a system and this no part of one, or the other way round"));
        }
        if let Op::Part(solve, k) = &node.op {
            let Op::Solve { y0, b, .. } = &program.node(*solve).op else { unreachable!("rule 3") };
            if *k >= y0.len() + b.len() {
                return at(3, format!("the system has {} parts", y0.len() + b.len()));
            }
        }
    }
    results(program)
}

fn state_shape(program: &Program, index: usize) -> Result<Shape, String> {
    let sides = program.states.get(index).ok_or_else(|| format!("there is no state {index}"))?;
    Ok(Shape::new(sides.free, sides.contracted))
}

fn leaf_shape(program: &Program, leaf: Leaf, found: Shape) -> Result<(), String> {
    let wanted = match leaf {
        Leaf::State(i) | Leaf::StateGrad(i) => state_shape(program, i)?,
        Leaf::Number(_) | Leaf::Const(_) | Leaf::Size(_) => Shape::new(Axis::One, Axis::One),
        Leaf::Valid => Shape::new(Axis::Token, Axis::One),
        Leaf::Identity(side) => Shape::new(Axis::Side(side), Axis::Side(side)),
        Leaf::Saved(k) => *program.saved.get(k).ok_or_else(|| format!("nothing is kept under {k}"))?,
        Leaf::Input(_) | Leaf::OutputGrad(_) => {
            let rows = matches!(found.rows, Axis::Token) || (matches!(leaf, Leaf::Input(_)) && found.rows == Axis::One);
            let cols = found.cols != Axis::Token;
            return if rows && cols { Ok(()) } else { Err(format!("{found} is no shape of {leaf}")) };
        }
    };
    if wanted == found { Ok(()) } else { Err(format!("{found} is not the shape {wanted} of {leaf}")) }
}

fn results(program: &Program) -> Result<(), String> {
    let mut seen: Vec<Role> = Vec::new();
    let backward = program.results.iter().any(|(role, _)| matches!(role, Role::InputGrad(_) | Role::StateGrad(_)));
    for (role, value) in &program.results {
        if seen.contains(role) {
            return Err(format!("rule 5: {role} is given twice"));
        }
        seen.push(*role);
        let found = program.shape(*value);
        let fits = match role {
            Role::State(i) | Role::StateGrad(i) => found == state_shape(program, *i)?,
            Role::Saved(k) => program.saved.get(*k) == Some(&found),
            Role::Output(_) => found.rows == Axis::Token && found.cols != Axis::Token,
            Role::InputGrad(_) => found.rows == Axis::Token || found.rows == Axis::One,
        };
        if !fits {
            return Err(format!("rule 5: {role} has the shape {found}"));
        }
        if backward && matches!(role, Role::Output(_) | Role::State(_) | Role::Saved(_)) {
            return Err(format!("rule 6: {role} in a backward program"));
        }
    }
    for (index, node) in program.nodes.iter().enumerate() {
        if let Op::Leaf(leaf @ (Leaf::OutputGrad(_) | Leaf::StateGrad(_) | Leaf::Saved(_))) = &node.op
            && !backward
        {
            return Err(format!("rule 6: %{index} = {leaf} in a forward program"));
        }
    }
    Ok(())
}
