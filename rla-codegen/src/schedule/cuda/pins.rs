//! Parameters that a user sets over what is chosen otherwise.

use super::{Choices, Slot, parameter, parameters, refusal};

/// Parameters that a user sets, whatever chooses the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(Vec<(Slot, &'static str, usize)>);

impl Pins {
    /// `training.span=2,forward.groups=4`.
    ///
    /// # Errors
    /// What is no parameter of the slot, or no number.
    pub fn parse(text: &str) -> Result<Pins, String> {
        let pin = |item: &str| {
            let (slot, name, value) = parameter::assignment(item)?;
            let slots = Slot::ALL.map(Slot::name).join(", ");
            let slot = Slot::named(slot).ok_or_else(|| format!("`{slot}`: expected one of {slots}"))?;
            let names = || parameters(slot).iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
            let found = parameters(slot).iter().find(|p| p.name == name);
            let parameter = found.ok_or_else(|| format!("`{name}`: expected one of {}", names()))?;
            Ok((slot, parameter.name, value))
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(pin).collect::<Result<_, String>>().map(Pins)
    }

    /// The choices of a slot with what is pinned.
    ///
    /// # Errors
    /// Why they are not legal.
    pub fn over(&self, slot: Slot, mut choices: Choices) -> Result<Choices, String> {
        for (_, name, value) in self.0.iter().filter(|(of, ..)| *of == slot) {
            let parameter = parameters(slot).iter().find(|p| p.name == *name).expect("it was found");
            (parameter.set)(&mut choices, *value);
        }
        refusal(&choices).map_or(Ok(choices), Err)
    }

    /// Whether anything of a slot is pinned.
    pub fn of(&self, slot: Slot) -> bool {
        self.0.iter().any(|(of, ..)| *of == slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_over_what_else_is_chosen() {
        let pins = Pins::parse("training.span=2, training.beside=1").expect("parameters of training");
        let wide = Choices { groups: 4, ..Choices::default() };
        assert_eq!(pins.over(Slot::Training, wide), Ok(Choices { span: 2, beside: 1, ..wide }));
        assert_eq!(pins.over(Slot::Forward, wide), Ok(wide));
        for (text, says) in [
            ("span=2", "PASS.PARAMETER=NUMBER"),
            ("training.span=two", "PASS.PARAMETER=NUMBER"),
            ("backward.span=2", "expected one of forward, training, decode"),
            ("forward.span=2", "expected one of chunk, groups"),
        ] {
            assert!(Pins::parse(text).expect_err(text).contains(says), "{text}");
        }
        let three = Pins::parse("training.span=3").expect("a number");
        assert!(three.over(Slot::Training, wide).expect_err("three").contains("span is 1 or 2"));
    }
}
