//! Random variants: typed by construction, with parentheses that are not needed and documentation in odd places.

/// Takes decisions from a list of bytes, so that a failing text shrinks; all zeros give the simplest text.
pub struct Tape<'a>(pub std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn pick(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |b| *b as usize % n)
    }

    fn of<'s>(&mut self, list: &[&'s str]) -> &'s str {
        list[self.pick(list.len())]
    }

    /// Perhaps in parentheses that are not needed.
    fn dressed(&mut self, text: String) -> String {
        if self.pick(8) == 7 { format!("({text})") } else { text }
    }

    fn scalar(&mut self, depth: usize) -> String {
        let atoms = ["beta", "g", "c", "2", "0.5", "1e-6", "dim(key)", "3."];
        if depth == 0 {
            return self.of(&atoms).to_string();
        }
        let d = depth - 1;
        let text = match self.pick(8) {
            0 => return self.of(&atoms).to_string(),
            1 => format!("({} {} {})", self.scalar(d), self.of(&["+", "-", "*", "/", ".*"]), self.scalar(d)),
            2 => format!("-{}", self.scalar(0)),
            3 => format!("{}({})", self.of(FUNCTIONS), self.scalar(d)),
            4 => format!("dot({}, {})", self.column("key", d), self.column("key", d)),
            5 => format!("({} * {})", self.row("value", d), self.column("value", d)),
            6 => format!("sum({})", self.column("slot", d)),
            _ => format!("clamp({}, -c, {})", self.scalar(d), self.of(&["1", "2 * c", "dim(slot)"])),
        };
        self.dressed(text)
    }

    fn column(&mut self, side: &str, depth: usize) -> String {
        let atoms: &[&str] = match side {
            "key" => &["k", "q", "u", "z[t-1]"],
            "value" => &["v", "h"],
            _ => &["s"],
        };
        if depth == 0 {
            return self.of(atoms).to_string();
        }
        let d = depth - 1;
        let text = match self.pick(9) {
            0 => return self.of(atoms).to_string(),
            1 => format!("({} {} {})", self.column(side, d), self.of(&["+", "-", ".*", "/"]), self.column(side, d)),
            2 => format!("({} {} {})", self.column(side, d), self.of(&["+", "-", ".*", "/", "*"]), self.scalar(d)),
            3 => format!("({} {} {})", self.scalar(d), self.of(&["+", "-", ".*", "/", "*"]), self.column(side, d)),
            4 => format!("{}({})", self.of(FUNCTIONS), self.column(side, d)),
            5 => format!("softmax({})", self.column(side, d)),
            6 => format!("l2norm({}, {})", self.column(side, d), self.of(&["1e-6", "c"])),
            7 => format!("({})^T", self.row(side, d)),
            _ => {
                let other = self.of(&["key", "value"]);
                format!("({} * {})", self.matrix(side, other, d), self.column(other, 0))
            }
        };
        self.dressed(text)
    }

    fn row(&mut self, side: &str, depth: usize) -> String {
        let text = self.column(side, depth);
        format!("({text})^T")
    }

    fn matrix(&mut self, rows: &str, cols: &str, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        let simple = match (rows, cols) {
            ("value", "key") => "S[t-1]".to_string(),
            ("key", "value") => "S[t-1]^T".to_string(),
            ("slot", "key") => "Z[t-1]".to_string(),
            _ => format!("({} * {})", self.column(rows, d), self.row(cols, d)),
        };
        if depth == 0 {
            return simple;
        }
        match self.pick(6) {
            0 => simple,
            1 => format!("({} * {})", self.column(rows, d), self.row(cols, d)),
            2 => format!("({} {} {})", simple, self.of(&["+", "-"]), self.matrix(rows, cols, d)),
            3 => format!("({} * (I - {}))", simple, self.matrix(cols, cols, d)),
            4 => format!("(diag({}) * {} / {})", self.column(rows, d), simple, self.scalar(0)),
            _ => format!("({} * {} * (2 * I + I))", self.scalar(0), simple),
        }
    }

    fn docs(&mut self, indent: &str) -> String {
        match self.pick(4) {
            3 => format!("{indent}/// A line.\n{indent}///   another, `with` {{marks}}\n"),
            2 => format!("{indent}///\n{indent}/** block */\n"),
            _ => String::new(),
        }
    }

    pub fn variant(&mut self) -> String {
        let mut text = self.docs("");
        text += self.of(&["", "pub "]);
        text += "variant any {\n    dim slot;\n";
        text += &self.docs("    ");
        text += "    input q, k: key unit, v: value, s: slot;\n    input g: scalar in -inf..0, beta: scalar in 0..1;\n";
        text += &self.docs("    ");
        text += "    param u: key;\n    input h: gate value in -1.5..2e-3;\n    const c = 2 / sqrt(dim(key));\n";
        text += "    state S: value x key;\n    state z: key;\n    state Z: slot x key;\n";
        for i in 0..self.pick(3) {
            text += &self.docs("    ");
            text += &match self.pick(3) {
                0 => format!("    let a{i} = {};\n", self.scalar(3)),
                1 => format!("    let a{i} = {};\n", self.matrix("value", "key", 3)),
                _ => format!("    let a{i} = {};\n", self.column("value", 3)),
            };
        }
        text += &format!("    S[t] = {};\n", self.matrix("value", "key", 3));
        text += &format!("    z[t] = {};\n", self.column("key", 3));
        text += &format!("    Z[t] = {};\n", self.matrix("slot", "key", 3));
        text += &format!("    output o = {};\n", self.column("value", 4));
        text += &format!("    output p = {};\n}}\n", self.scalar(4));
        text
    }
}

/// Functions of scalars, columns and rows.
pub const FUNCTIONS: &[&str] =
    &["exp", "log", "sqrt", "rsqrt", "sigmoid", "logsigmoid", "tanh", "silu", "softplus", "relu", "abs", "sq"];
