//! Backward's record where forward keeps it: its prepare is not launched, and forward's writes down what it would have made.

use super::{Address, Frame};
use crate::emit::cuda::place::{Elem, Place};
use crate::emit::cuda::{Error, Pass, Prepared};
use crate::emit::graph::Ref;
use crate::tile::Role;

impl<'a> Frame<'a> {
    /// The items of backward's record, where all are values of the program and some are matrices.
    pub fn prepared(mut self) -> Option<Vec<Prepared>> {
        self.lay_out_kept();
        self.lay_out_records();
        let item = |(n, place, offset): &(usize, Place, usize)| {
            let place = Place { name: String::new(), ..place.clone() };
            Some(Prepared { value: self.graph.nodes[*n].value?, place, offset: *offset })
        };
        let items: Vec<Prepared> = self.record.items.iter().map(item).collect::<Option<_>>()?;
        // numbers alone are not worth their memory
        let matrix = |item: &Prepared| item.place.ld > 0;
        items.iter().any(matrix).then_some(items)
    }

    /// The results of forward that backward has as its record, by the number of what is kept.
    fn first_prepared(&self) -> usize {
        let forward = usize::from(self.pass == Pass::ForwardSave);
        self.program.saved.len() - forward * self.config.prepared.len()
    }

    /// Lays out what is kept of backward's prepare, behind everything else.
    pub(super) fn lay_out_prepared(&mut self) {
        let items = &self.config.prepared;
        let Some(last) = items.last() else { return };
        let (at, first) = (self.kept.chunk.stride(), self.first_prepared());
        for (k, item) in items.iter().enumerate() {
            self.kept.chunk.items.push((usize::MAX - first - k, item.place.clone(), at + item.offset));
        }
        self.kept.chunk.bytes = at + last.offset + last.place.bytes.next_multiple_of(16);
        self.prepared_at = Some(at);
    }

    /// Whether a kept value, by its number, is one of backward's record.
    pub(super) fn is_prepared(&self, k: usize) -> bool {
        k >= self.first_prepared()
    }

    /// Backward finds in its record what forward put there.
    pub(super) fn check_prepared(&self) -> Result<(), Error> {
        if !self.backward() || self.config.prepared.is_empty() {
            return Ok(());
        }
        let same = |((n, place, offset), kept): (&(usize, Place, usize), &Prepared)| {
            let unnamed = Place { name: String::new(), ..place.clone() };
            self.graph.nodes[*n].value == Some(kept.value) && unnamed == kept.place && *offset == kept.offset
        };
        let (own, kept) = (&self.record.items, &self.config.prepared);
        if own.len() == kept.len() && own.iter().zip(kept).all(same) {
            return Ok(());
        }
        Err(Error::Schedule("forward keeps another record than backward reads".into()))
    }

    /// Results of forward that it keeps of backward's prepare: the number of what is kept, and the value.
    pub(super) fn prepared_results(&self) -> impl Iterator<Item = (usize, Ref)> {
        let all = if self.pass == Pass::ForwardSave { &self.graph.results[..] } else { &[] };
        all.iter().filter_map(|(role, r)| match role {
            Role::Saved(k) if self.is_prepared(*k) => Some((*k, *r)),
            _ => None,
        })
    }

    /// Where forward's prepare puts a matrix that its chain and backward's read, rather than into its own record; numbers lie in both, so
    /// that a chain fetches all of its own at once.
    pub(super) fn prepared_home(&self, node: usize, elem: Elem) -> Option<(Place, Address)> {
        let plain = |r: Ref| r.node == node && !r.flip && self.graph.is_matrix(node);
        let (k, _) = self.prepared_results().find(|(_, r)| plain(*r))?;
        let (place, address) = self.kept_place(usize::MAX - k, format!("v{node}"))?;
        (place == Place { name: place.name.clone(), ..self.placed(node, elem) }).then_some((place, address))
    }

    /// The text of where a buffer of records starts.
    pub(super) fn origin(&self, name: &str) -> String {
        match self.prepared_at {
            Some(at) if self.backward() && name == "record" => format!("(x.kept + {at})"),
            _ => format!("x.{name}"),
        }
    }
}
