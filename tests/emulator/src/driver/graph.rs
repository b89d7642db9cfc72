//! Graphs: what a stream was asked to do while it was captured.
use super::record::Action;
use std::sync::Arc;

/// Graphs by handle, and those that are being captured by stream.
#[derive(Default)]
pub(super) struct Graphs {
    open: Vec<(usize, Vec<Action>)>,
    done: Vec<Arc<Vec<Action>>>,
}

impl Graphs {
    /// Begins to capture; false where the stream is captured already.
    pub fn begin(&mut self, stream: usize) -> bool {
        let fresh = self.open.iter().all(|(s, _)| *s != stream);
        if fresh {
            self.open.push((stream, vec![]));
        }
        fresh
    }

    /// The list to which a captured stream's work is added.
    pub fn capturing(&mut self, stream: usize) -> Option<&mut Vec<Action>> {
        self.open.iter_mut().find(|(s, _)| *s == stream).map(|(_, actions)| actions)
    }

    /// Ends the capture.
    pub fn end(&mut self, stream: usize) -> Option<usize> {
        let at = self.open.iter().position(|(s, _)| *s == stream)?;
        self.done.push(Arc::new(self.open.swap_remove(at).1));
        Some(self.done.len())
    }

    /// What a graph does.
    pub fn actions(&self, graph: usize) -> Option<Arc<Vec<Action>>> {
        self.done.get(graph.checked_sub(1)?).cloned()
    }
}
