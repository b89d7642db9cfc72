//! What the spaces of choices are made of, whatever the choices are: named parameters with their values, and conditions that can
//! be listed.

/// One free choice.
pub struct Parameter<C: 'static> {
    /// The name in tables.
    pub name: &'static str,
    /// What is chosen.
    pub what: &'static str,
    /// The values that a search tries; a switch counts as 0 and 1.
    pub values: &'static [usize],
    /// Reads it.
    pub get: fn(&C) -> usize,
    /// Sets it.
    pub set: fn(&mut C, usize),
}

/// A condition that legal choices fulfil, choices `C` in what they are judged with.
pub struct Predicate<C: 'static> {
    /// What it demands.
    pub demands: &'static str,
    /// Whether they fulfil it.
    pub holds: fn(&C) -> bool,
}

/// `chunk=16 rows=8 ...`, every one of the parameters.
pub fn text<C>(parameters: &[Parameter<C>], choices: &C) -> String {
    parameters.iter().map(|p| format!("{}={}", p.name, (p.get)(choices))).collect::<Vec<_>>().join(" ")
}

/// `PASS.PARAMETER=NUMBER`: the three.
///
/// # Errors
/// A text of another form.
pub fn assignment(item: &str) -> Result<(&str, &str, usize), String> {
    let expected = || format!("`{item}`: expected PASS.PARAMETER=NUMBER");
    let (name, value) = item.split_once('=').ok_or_else(expected)?;
    let (pass, name) = name.trim().split_once('.').ok_or_else(expected)?;
    Ok((pass, name, value.trim().parse().map_err(|_| expected())?))
}

/// The first condition that does not hold, with what breaks it.
pub fn refusal<C>(predicates: &[Predicate<C>], judged: &C, text: impl Fn() -> String) -> Option<String> {
    let broken = predicates.iter().find(|p| !(p.holds)(judged))?;
    Some(format!("{} breaks `{}`", text(), broken.demands))
}

/// Every combination of the values that a search tries; what is no parameter is as in `base`.
pub fn combinations<C: Copy>(parameters: &[Parameter<C>], base: C) -> Vec<C> {
    parameters.iter().fold(vec![base], |all, parameter| {
        let set = |mut choices: C, value| {
            (parameter.set)(&mut choices, value);
            choices
        };
        all.iter().flat_map(|choices| parameter.values.iter().map(move |value| set(*choices, *value))).collect()
    })
}
