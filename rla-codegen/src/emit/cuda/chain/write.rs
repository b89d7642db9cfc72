//! The text of a role's work on a chunk.

use std::collections::{BTreeMap, BTreeSet};

use super::body::{Body, Work};
use super::roles::{Plan, Role, What};
use super::{Chain, Multiply, lower, parts, solves, sums_tokens};
use crate::emit::cuda::Interface;
use crate::emit::cuda::expr;
use crate::emit::cuda::place::{Elem, Order, Place, Sizes};
use crate::emit::graph::{Kind, Ref};
use crate::tile::{Axis, Direction, Leaf};

/// Values of a role up to which registers suffice for some of them to wait.
const MOST_TILES: usize = 10;

/// Registers of a thread for addresses and counters.
const FOR_ADDRESSES: usize = 40;

/// Floats of a value that is turned.
fn turned_floats(sizes: &Sizes) -> usize {
    16 * (sizes.chunk + 8)
}

/// Bytes of the room that a value's operands are turned in; none for most values.
pub fn room_of(kind: &Kind, sizes: &Sizes) -> Option<usize> {
    let values = match kind {
        Kind::Solve { c, y0, b, a, .. } => c.len() + y0.len() + b.len() + usize::from(a.is_some()),
        Kind::DecayApply { .. } => 2,
        _ => return None,
    };
    Some(4 * values * turned_floats(sizes))
}

/// Writes the work of a chunk.
pub struct Writer<'a> {
    /// What is computed together.
    pub plan: &'a Plan<'a>,
    /// Sizes.
    pub sizes: &'a Sizes,
    /// Type of products.
    pub product: Elem,
    /// Statements for comments.
    pub interface: &'a Interface,
    /// Places of images, vectors and given values.
    pub places: BTreeMap<usize, Place>,
    /// Leaves along the free side: their slab's place.
    pub slabs: BTreeMap<usize, Place>,
    /// Statements with `@` for the element at token `c` and channel `row`, or after `!` for the tile, by value.
    pub stores: Vec<(usize, String, String)>,
    /// Whether registers suffice for accumulators that wait.
    pub roomy: bool,
    /// Whether the four warps of a role multiply at once.
    pub together: bool,
    /// What other roles read.
    pub handed: BTreeSet<What>,
    /// Of these, values that are left as left operands.
    pub rounded: BTreeSet<usize>,
}

impl Writer<'_> {
    fn chain(&self) -> &Chain {
        self.plan.chain
    }

    /// Name of a value's tile: carried states go by their own name.
    fn name(&self, node: usize) -> String {
        match self.plan.state_of(node) {
            Some(state) => format!("state{state}"),
            None => format!("t{node}"),
        }
    }

    /// Number of column tiles of a value: tokens of a value per token, else the contracted side.
    pub fn tiles(&self, node: usize) -> usize {
        let shape = self.plan.graph.nodes[node].shape;
        let axis = if shape.rows == Axis::Token { Axis::Token } else { shape.cols };
        self.sizes.padded(axis) / 8
    }

    /// The steps of a chunk. A state's next value is what the next chunk waits for, so what leads to it comes first, and what needs
    /// no state before that; what others read is left where the warp would wait. `registers`: of a thread.
    pub fn write(&self, role: &Role, registers: usize) -> Work {
        let mut out = Body::default();
        let (last, tiles): (Vec<usize>, Vec<usize>) = role.tiles.iter().partition(|n| self.plan.next_of(**n).is_some());
        let mut readouts: Vec<usize> = tiles.iter().copied().filter(|n| self.is_early(*n, role)).collect();
        // those of one operand together, of several as far as registers suffice
        let lefts = |n: &usize| self.lefts(*n).collect::<BTreeSet<usize>>();
        let first: BTreeSet<usize> = readouts.first().map(lefts).unwrap_or_default();
        if self.beside(registers, role, &readouts) == 0 {
            readouts.retain(|n| lefts(n).is_subset(&first));
        }
        for n in role.values.iter().filter(|n| !self.rounded.contains(n)) {
            let lines = vec![format!("Tile<{}> t{n};", self.tiles(*n)), format!("found(t{n}, at{n});")];
            match self.together {
                false => out.lines(lines),
                true => out.later(format!("t{n}"), lines),
            }
        }
        if !readouts.is_empty() || self.together && role.keeps && !role.states.is_empty() {
            self.write_together(role, registers, &readouts, &last, &tiles, &mut out);
            return out.finish();
        }
        let roomy = self.roomy && tiles.len() <= MOST_TILES;
        let (with, without): (Vec<usize>, Vec<usize>) = tiles.iter().partition(|n| self.plan.depends[**n] || !roomy);
        let mut made: BTreeSet<usize> = BTreeSet::new();
        // what others read, where it is left at the end
        let mut left = roomy.then(Vec::new);
        if !roomy {
            last.iter().for_each(|n| self.leave_state(*n, &mut out));
        }
        for n in without {
            self.whole(n, role, &mut made, left.as_mut(), &mut out);
        }
        // products without a state, in the first sum with one: a second would take the registers of the first's operands
        let mut begun = BTreeSet::new();
        for n in &with {
            let some = self.products(*n).any(|(_, t)| !self.plan.depends[t]);
            if roomy && begun.is_empty() && some && self.start(*n).is_empty() {
                self.given_operands(*n, &mut made, &mut out);
                self.begin(*n, &self.name(*n), true, &mut out);
                self.add(*n, &self.name(*n), role, false, &mut out);
                begun.insert(*n);
            }
        }
        let mut updates = last.clone();
        for (i, n) in with.iter().enumerate() {
            if begun.contains(n) {
                self.add(*n, &self.name(*n), role, true, &mut out);
                self.after(*n, role, left.as_mut(), &mut out);
            } else {
                self.whole(*n, role, &mut made, left.as_mut(), &mut out);
            }
            // a state that nothing after this reads begins to become the next one
            let reads = |n: &usize, m: &usize| n != m && self.plan.reads(*m).contains(&self.carried(*n));
            updates.retain(|n| {
                let free = !with[i + 1..].iter().chain(&last).any(|m| reads(n, m));
                let alone = self.plan.start_reads(*n).iter().all(|x| *x == self.carried(*n));
                let ready = roomy && free && alone && self.plan.terms(*n).is_some();
                if ready {
                    self.begin_update(*n, &mut out);
                }
                !ready
            });
        }
        // updates come last: everything else reads the states at the chunk's start
        for n in updates.iter().filter(|_| roomy) {
            self.leave_state(*n, &mut out);
        }
        for n in last {
            let name = self.next_name(n);
            self.given_operands(n, &mut made, &mut out);
            if updates.contains(&n) {
                self.begin(n, &name, false, &mut out);
            }
            self.add(n, &name, role, false, &mut out);
            self.add(n, &name, role, true, &mut out);
        }
        left.into_iter().flatten().for_each(|n| out.line(self.leave(n)));
        out.finish()
    }

    /// As [`write`](Writer::write), where four warps read states together: such products come first, and run on while the states are left
    /// for others, and beside what else the registers have room for. No state is touched meanwhile: the assembler would wait first, since
    /// states come from such products too.
    fn write_together(
        &self,
        role: &Role,
        registers: usize,
        readouts: &[usize],
        last: &[usize],
        tiles: &[usize],
        out: &mut Body,
    ) {
        let mut made: BTreeSet<usize> = BTreeSet::new();
        // all that the stage touches is there before it opens
        readouts.iter().for_each(|n| self.begin(*n, &self.name(*n), true, out));
        let lefts: BTreeSet<usize> = readouts.iter().flat_map(|n| self.lefts(*n)).collect();
        lefts.iter().for_each(|n| drop(self.left(*n, role, out)));
        readouts.iter().for_each(|n| out.open(&self.name(*n)));
        readouts.iter().for_each(|n| self.add(*n, &self.name(*n), role, true, out));
        for leaf in role.states.iter().map(|s| self.chain().carried[s]).filter(|_| role.keeps) {
            self.left(leaf, role, out);
        }
        out.pause();
        last.iter().for_each(|n| self.leave_state(*n, out));
        let rest: Vec<usize> = tiles.iter().copied().filter(|n| !readouts.contains(n)).collect();
        let mut behind: BTreeSet<usize> = readouts.iter().copied().collect();
        let mut room = self.beside(registers, role, readouts);
        let (beside, after): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(|n| {
            let reads = self.plan.reads(*n);
            let found = reads.iter().filter(|x| role.values.contains(x)).count();
            let needs = 4 * self.tiles(*n) * (1 + found);
            let fits = reads.is_disjoint(&behind) && needs <= room && !self.is_early(*n, role);
            match fits {
                true => room -= needs,
                false => {
                    behind.insert(*n);
                }
            }
            fits
        });
        beside.into_iter().for_each(|n| self.whole(n, role, &mut made, None, out));
        // what is left needs their registers, if not their sums
        out.close();
        readouts.iter().for_each(|n| self.after(*n, role, None, out));
        after.into_iter().for_each(|n| self.whole(n, role, &mut made, None, out));
        for n in last {
            self.given_operands(*n, &mut made, out);
            let name = self.next_name(*n);
            self.begin(*n, &name, false, out);
            self.add(*n, &name, role, false, out);
            self.add(*n, &name, role, true, out);
        }
    }

    /// Of a thread's registers those that are left beside states, readouts under way and their operands.
    fn beside(&self, registers: usize, role: &Role, readouts: &[usize]) -> usize {
        let states: usize = role.states.iter().map(|s| 4 * self.tiles(self.chain().carried[s])).sum();
        let sums: usize = readouts.iter().map(|n| 4 * self.tiles(*n)).sum();
        let lefts: BTreeSet<usize> = readouts.iter().flat_map(|n| self.lefts(*n)).collect();
        let lefts: usize = lefts.iter().map(|n| 2 * self.tiles(*n)).sum();
        registers.saturating_sub(FOR_ADDRESSES + states + sums + lefts)
    }

    /// Left operands of a sum's products.
    fn lefts(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        let multiply = |t: usize| self.chain().multiply(self.plan.graph, self.plan.depends, t);
        self.products(n).filter_map(move |(_, t)| multiply(t)).map(|m| m.tile)
    }

    /// Whether a value is a sum of products of four warps at once, of states at the chunk's start.
    fn is_early(&self, n: usize, role: &Role) -> bool {
        let early = |(state, image): (usize, usize)| {
            (role.states.contains(&state) || role.operands.contains(&state))
                && self.places[&image].order == Order::Panels
        };
        self.plan.readouts(n).is_some_and(|all| all.into_iter().all(early))
    }

    /// Name of the tile in which a state's next value is made.
    fn next_name(&self, n: usize) -> String {
        format!("state{}", self.plan.next_of(n).expect("it is a next state"))
    }

    /// The state that becomes a next one.
    fn carried(&self, next: usize) -> usize {
        self.chain().carried[&self.plan.next_of(next).expect("it is a next state")]
    }

    fn begin_update(&self, n: usize, out: &mut Body) {
        self.leave_state(n, out);
        self.begin(n, &self.next_name(n), false, out);
    }

    /// A state at the chunk's start, for other roles; its next value is made in the same registers.
    fn leave_state(&self, n: usize, out: &mut Body) {
        let state = self.plan.next_of(n).expect("it is a next state");
        let left = format!("left{}", self.carried(n));
        if self.handed.contains(&What::State(state)) {
            out.line(match out.has_left(&left) {
                true => format!("leave(from{state}, {left});"),
                false => format!("leave<{}>(from{state}, state{state});", self.product.c()),
            });
        }
    }

    fn whole(&self, n: usize, role: &Role, made: &mut BTreeSet<usize>, left: Option<&mut Vec<usize>>, out: &mut Body) {
        self.given_operands(n, made, out);
        match &self.plan.graph.nodes[n].kind {
            Kind::Solve { .. } => return self.solve(n, out),
            // made with its system
            Kind::Part(..) => {}
            Kind::DecayApply { .. } => self.apply(n, out),
            _ => {
                self.begin(n, &self.name(n), true, out);
                self.add(n, &self.name(n), role, false, out);
                self.add(n, &self.name(n), role, true, out);
            }
        }
        self.after(n, role, left, out);
    }

    fn after(&self, n: usize, role: &Role, left: Option<&mut Vec<usize>>, out: &mut Body) {
        self.store(n, out);
        if self.handed.contains(&What::Tile(n)) && !role.values.contains(&n) {
            match left {
                Some(left) => left.push(n),
                None => out.line(self.leave(n)),
            }
        }
    }

    /// Leaves a value for other roles.
    fn leave(&self, n: usize) -> String {
        match self.rounded.contains(&n) {
            true => format!("leave<{}>(at{n}, t{n});", self.product.c()),
            false => format!("leave(at{n}, t{n});"),
        }
    }

    /// Whether a product has its left operand in two parts: what goes through the inverse of a system is a sum that later tokens' terms may
    /// cancel.
    fn is_in_parts(&self, tile: usize, image: usize) -> bool {
        solves(self.plan.graph, image) && sums_tokens(self.plan.graph, tile)
    }

    /// Whether the roles that find a value multiply it and nothing else: then it is left for them rounded.
    pub fn is_left_rounded(&self, roles: &[Role], n: usize) -> bool {
        let (graph, chain) = (self.plan.graph, self.chain());
        let products = chain.tiles.iter().filter_map(|t| chain.multiply(graph, self.plan.depends, *t));
        let mut products = products.filter(|m| m.tile == n);
        self.product != Elem::F32
            && products.all(|m| !self.is_in_parts(n, m.image))
            && roles.iter().filter(|r| r.values.contains(&n)).all(|r| self.plan.only_multiplies(r, n))
    }

    /// Tiles of given values that a value's products need.
    fn given_operands(&self, n: usize, made: &mut BTreeSet<usize>, out: &mut Body) {
        let Some(terms) = self.plan.terms(n) else { return };
        for (_, t) in terms {
            let Some(m) = self.chain().multiply(self.plan.graph, self.plan.depends, *t) else { continue };
            if self.chain().given.contains(&m.tile) && made.insert(m.tile) {
                let (name, place) = (self.name(m.tile), &self.places[&m.tile]);
                out.line(format!("Tile<{}> {name};", self.tiles(m.tile)));
                let value = place.read(self.plan.graph, m.tile, "c", "own + r");
                out.line(format!("every({name}, [&](float& x, int n, int e, int r, int c) {{ x = {value}; }});"));
            }
        }
    }

    /// The products of a sum: subtracted or not, and which.
    fn products(&self, n: usize) -> impl Iterator<Item = (bool, usize)> + '_ {
        let is_product = move |t: usize| self.plan.is_product(t) && (t == n || self.plan.is_inline(t));
        self.plan.terms(n).into_iter().flatten().copied().filter(move |(_, t)| is_product(*t))
    }

    /// What a sum begins with besides its products; empty: nothing.
    fn start(&self, n: usize) -> String {
        let products: BTreeSet<usize> = self.products(n).map(|(_, t)| t).collect();
        let mut start = String::new();
        for (minus, t) in self.plan.terms(n).into_iter().flatten().filter(|(_, t)| !products.contains(t)) {
            let sign = if *minus { "-" } else { "+" };
            start += &format!(" {sign} {}", self.value(*t, false));
        }
        start.trim_start_matches(" + ").to_string()
    }

    /// A value, or what its sum begins with.
    fn begin(&self, n: usize, name: &str, declare: bool, out: &mut Body) {
        self.comment(n, out);
        if declare {
            out.line(format!("Tile<{}> {name};", self.tiles(n)));
        }
        if let Some(slab) = self.slabs.get(&n) {
            out.line(format!("take<{}, {}>({name}, {} + own);", slab.elem.c(), slab.ld, slab.name));
            return;
        }
        let value = match self.plan.terms(n) {
            None => self.value(n, true),
            Some(_) => Some(self.start(n)).filter(|s| !s.is_empty()).unwrap_or("0.f".into()),
        };
        out.line(format!("every({name}, [&](float& x, int n, int e, int r, int c) {{ x = {value}; }});"));
    }

    /// Adds the products of a sum whose left operands hold a state, or those of the others.
    fn add(&self, n: usize, name: &str, role: &Role, depends: bool, out: &mut Body) {
        let graph = self.plan.graph;
        for (minus, t) in self.products(n).filter(|(_, t)| self.plan.depends[*t] == depends) {
            let m = self.chain().multiply(graph, self.plan.depends, t).expect("it is a product of the chain");
            let image = &self.places[&m.image];
            // a strictly lower or unit lower matrix M: of B[s][t] = M[t][s] only s <= t counts
            let part = match lower(graph, m.image) {
                true if m.down => "LOWER",
                true => "UPPER",
                false => "WHOLE",
            };
            if image.order == Order::Panels {
                self.multiply_together(name, minus, m, role, out);
                continue;
            }
            let types = format!("{}, {}, {}, {part}, {minus}", self.product.c(), image.ld, m.down);
            match self.plan.state_of(m.tile).filter(|state| role.operands.contains(state)) {
                Some(state) => out.line(format!(
                    "multiply_left<{types}, {}>({name}, from{state}, {});",
                    self.tiles(m.tile),
                    image.name
                )),
                None if role.values.contains(&m.tile) && self.rounded.contains(&m.tile) => out.line(format!(
                    "multiply_left<{types}, {}>({name}, at{}, {});",
                    self.tiles(m.tile),
                    m.tile,
                    image.name
                )),
                None => out.line(format!(
                    "multiply<{types}, {}>({name}, {}, {});",
                    1 + usize::from(self.is_in_parts(m.tile, m.image)),
                    self.name(m.tile),
                    image.name
                )),
            }
        }
    }

    /// A product of four warps at once, whose right operand, an input, has no half that is zero.
    fn multiply_together(&self, sum: &str, minus: bool, m: Multiply, role: &Role, out: &mut Body) {
        let (elem, image) = (self.product.c(), &self.places[&m.image]);
        let left = self.left(m.tile, role, out);
        let types = format!("{elem}, {}, {}, {minus}", image.rows(), m.down);
        out.together(sum, &left, &format!("multiply_together<{types}>({sum}, {left}, {});", image.name));
    }

    /// A value as a left operand of four warps: its name.
    fn left(&self, n: usize, role: &Role, out: &mut Body) -> String {
        let name = format!("left{n}");
        out.left(&name, || {
            let found = match self.plan.state_of(n).filter(|state| role.operands.contains(state)) {
                Some(state) => Some(format!("from{state}")),
                None if role.values.contains(&n) && self.rounded.contains(&n) => Some(format!("at{n}")),
                None => None,
            };
            match found {
                Some(place) => format!("auto {name} = left_found<{}>({place});", self.tiles(n) / 2),
                None => format!("auto {name} = left_of<{}>({});", self.product.c(), self.name(n)),
            }
        });
        name
    }

    /// Turns values, in this order, in the room of node `n`.
    fn turn(&self, n: usize, values: &[Option<Ref>], out: &mut Body) {
        let (columns, size) = (self.sizes.chunk / 8, turned_floats(self.sizes));
        for (k, value) in values.iter().enumerate() {
            let value = value.map_or("0.f".into(), |r| self.value(r.node, false));
            out.line(format!(
                "give_channels<{columns}>(room{n} + {}, [&](int n, int e, int r, int c) {{ return {value}; }});",
                k * size
            ));
        }
    }

    fn comment(&self, n: usize, out: &mut Body) {
        if let Some(origin) = self.plan.graph.nodes[n].origin
            && let Some(statement) = self.interface.statements.get(origin as usize)
        {
            out.line(format!("// {statement}"));
        }
    }

    /// A system whose decay is per channel, with all its parts.
    fn solve(&self, n: usize, out: &mut Body) {
        let graph = self.plan.graph;
        let Kind::Solve { direction, m, c, y0, b, a } = &graph.nodes[n].kind else { unreachable!("it is a system") };
        self.comment(n, out);
        let mut values: Vec<Option<Ref>> = y0.iter().chain(b).chain(c).copied().collect();
        values.extend(a.map(Some));
        self.turn(n, &values, out);
        let square = |r: &Option<Ref>| r.map_or("nullptr".to_string(), |r| self.places[&r.node].name.clone());
        let squares: Vec<String> = m.iter().map(square).collect();
        let there = m.iter().enumerate().map(|(k, r)| usize::from(r.is_some()) << k).sum::<usize>();
        let wants_y = parts(graph, n).any(|p| matches!(graph.nodes[p].kind, Kind::Part(_, k) if k < y0.len()));
        out.line(format!("const float* const m{n}[] = {{{}}};", squares.join(", ")));
        out.line(format!(
            "solve_channels<CHUNK, {}, {}, {}, {}, {wants_y}, {there}>(room{n}, m{n});",
            *direction == Direction::Up,
            y0.len(),
            b.len(),
            a.is_some()
        ));
        for part in parts(graph, n) {
            let Kind::Part(_, k) = graph.nodes[part].kind else { unreachable!("it is a part") };
            self.take_turned(part, n, k, out);
        }
    }

    fn apply(&self, n: usize, out: &mut Body) {
        let Kind::DecayApply { m, w, a, transposed } = &self.plan.graph.nodes[n].kind else {
            unreachable!("it is a decayed sum")
        };
        self.comment(n, out);
        self.turn(n, &[Some(*w), Some(*a)], out);
        out.line(format!("apply_channels<CHUNK, {transposed}>(room{n}, {});", self.places[&m.node].name));
        self.take_turned(n, n, 0, out);
    }

    fn take_turned(&self, value: usize, room: usize, k: usize, out: &mut Body) {
        let name = self.name(value);
        out.line(format!("Tile<{}> {name};", self.tiles(value)));
        out.line(format!("take_channels({name}, room{room} + {});", k * turned_floats(self.sizes)));
    }

    fn store(&self, n: usize, out: &mut Body) {
        for (node, statement, comment) in &self.stores {
            if *node == n {
                out.line(format!("// {comment}"));
                if let Some(call) = statement.strip_prefix('!') {
                    out.line(call.replace('@', &self.name(n)));
                    continue;
                }
                out.line(format!(
                    "every({}, [&](float& x, int n, int e, int r, int c) {{ const int row = channel + r; {} }});",
                    self.name(n),
                    statement.replace('@', "x")
                ));
            }
        }
    }

    /// The element (n, e), at row r and column c of the lane's tile, of a value.
    fn value(&self, n: usize, top: bool) -> String {
        let graph = self.plan.graph;
        let shape = graph.nodes[n].shape;
        let free = self.chain().free;
        if !top {
            if self.chain().tiles.contains(&n) && !self.plan.is_inline(n) {
                return format!("{}.x[n][e]", self.name(n));
            }
            if let Some(place) = self.places.get(&n) {
                return match (shape.rows, shape.cols) {
                    // a value per token and channel lies [token][channel], the block's channels of it
                    (Axis::Token, axis) if axis != Axis::One => place.read(graph, n, "c", "own + r"),
                    (Axis::One, Axis::One) => format!("{}[0]", place.name),
                    (Axis::Token, _) => format!("per_token({}, n, e)", place.name),
                    (axis, _) if Some(axis) == free => format!("{}[channel + r]", place.name),
                    (_, axis) if Some(axis) == free => format!("{}[channel + r]", place.name),
                    _ => format!("{}[c]", place.name),
                };
            }
        }
        match &graph.nodes[n].kind {
            Kind::Leaf(Leaf::Number(x)) => expr::number(*x),
            Kind::Leaf(Leaf::Size(s)) => format!("{}.f", self.sizes.sides[*s as usize]),
            Kind::Leaf(Leaf::Const(i)) => format!("const{i}"),
            Kind::Map(f, args) => {
                let args: Vec<String> = args.iter().map(|a| self.value(a.node, false)).collect();
                expr::map(*f, &args)
            }
            other => unreachable!("{other:?} in a chain"),
        }
    }
}
