//! The chain of those who wait, and of those who were woken and have not been told yet: what a [`super::WaitQueue`] is
//! made of. It runs no foreign code but `doomed`.

use std::task::Waker;

/// Which call woke a task: only a wake-up meant for one task is passed on.
#[derive(Clone, Copy)]
pub(super) enum Woken {
    One,
    All,
}

pub(super) enum Left {
    Waiting(Option<Waker>),
    Woken(Woken),
}

/// No node: the end of the chain in either direction, or of the list of free nodes.
const NIL: usize = usize::MAX;

enum Node {
    Waiting {
        waker: Waker,
        before: usize,
        after: usize,
    },
    Woken(Woken),
    Free {
        next: usize,
    },
}

/// A doubly linked list inside a vector, oldest first. A node belongs to exactly one [`Place`](super::Place),
/// which frees it, so an index held by a `Place` is always that `Place`'s node.
pub(super) struct Chain {
    nodes: Vec<Node>,
    first: usize,
    last: usize,
    free: usize,
    waiting: usize,
    /// How many were woken and have neither run nor left since.
    woken: usize,
    doomed: fn(&Waker) -> bool,
}

impl Chain {
    /// An empty chain that passes over those that `doomed` names.
    pub(super) fn with_doomed(doomed: fn(&Waker) -> bool) -> Self {
        Self {
            nodes: Vec::new(),
            first: NIL,
            last: NIL,
            free: NIL,
            waiting: 0,
            woken: 0,
            doomed,
        }
    }

    /// How many wait and have not been woken.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many were woken and have neither run nor left since.
    #[inline]
    pub(super) fn woken(&self) -> usize {
        self.woken
    }

    /// Whether anybody is inside who is not doomed.
    #[inline]
    pub(super) fn is_contended(&self) -> bool {
        self.woken > 0 || (self.waiting > 0 && self.first_alive() != NIL)
    }

    /// Shows the wakers of those that wait, oldest first.
    pub(super) fn visit(&self, visit: &mut dyn FnMut(&Waker)) {
        let mut node = self.first;
        while let Some(Node::Waiting { waker, after, .. }) = self.nodes.get(node) {
            visit(waker);
            node = *after;
        }
    }

    pub(super) fn push_back(&mut self, waker: Waker) -> usize {
        let entry = Node::Waiting {
            waker,
            before: self.last,
            after: NIL,
        };
        let node = if let Some(Node::Free { next }) = self.nodes.get(self.free) {
            let node = self.free;
            self.free = *next;
            self.nodes[node] = entry;
            node
        } else {
            self.nodes.push(entry);
            self.nodes.len() - 1
        };
        match self.nodes.get_mut(self.last) {
            Some(Node::Waiting { after, .. }) => *after = node,
            _ => self.first = node,
        }
        self.last = node;
        self.waiting += 1;
        node
    }

    pub(super) fn pop_front(&mut self, how: Woken) -> Option<Waker> {
        self.pop(self.first, how)
    }

    /// Takes the oldest that is not doomed.
    pub(super) fn pop_alive(&mut self) -> Option<Waker> {
        self.pop(self.first_alive(), Woken::One)
    }

    /// Takes the one that came first of all, if it neither was woken already nor is doomed.
    pub(super) fn pop_first(&mut self) -> Option<Waker> {
        if self.woken > 0 || self.first != self.first_alive() {
            return None;
        }
        self.pop(self.first, Woken::One)
    }

    fn pop(&mut self, node: usize, how: Woken) -> Option<Waker> {
        let waker = self.unlink(node, Node::Woken(how))?;
        self.woken += 1;
        Some(waker)
    }

    /// The oldest that waits and is not doomed.
    fn first_alive(&self) -> usize {
        let mut node = self.first;
        while let Some(Node::Waiting { waker, after, .. }) = self.nodes.get(node) {
            if !(self.doomed)(waker) {
                return node;
            }
            node = *after;
        }
        NIL
    }

    /// Takes a waiting node out of the chain and leaves `instead` in its slot.
    fn unlink(&mut self, node: usize, instead: Node) -> Option<Waker> {
        let Some(Node::Waiting { before, after, .. }) = self.nodes.get(node) else {
            return None;
        };
        let (earlier, later) = (*before, *after);
        match self.nodes.get_mut(earlier) {
            Some(Node::Waiting { after, .. }) => *after = later,
            _ => self.first = later,
        }
        match self.nodes.get_mut(later) {
            Some(Node::Waiting { before, .. }) => *before = earlier,
            _ => self.last = earlier,
        }
        self.waiting -= 1;
        match std::mem::replace(&mut self.nodes[node], instead) {
            Node::Waiting { waker, .. } => Some(waker),
            Node::Woken(_) | Node::Free { .. } => None,
        }
    }

    pub(super) fn take_if_woken(&mut self, node: usize) -> Option<Woken> {
        let Some(Node::Woken(how)) = self.nodes.get(node) else {
            return None;
        };
        let how = *how;
        self.release(node);
        self.woken -= 1;
        Some(how)
    }

    pub(super) fn replace_waker(&mut self, node: usize, new: Waker) -> Waker {
        match self.nodes.get_mut(node) {
            Some(Node::Waiting { waker, .. }) => std::mem::replace(waker, new),
            _ => new,
        }
    }

    /// The waker of one that waits, for `instead`.
    pub(super) fn exchange_waker(&mut self, node: usize, instead: Waker) -> Option<Waker> {
        match self.nodes.get_mut(node) {
            Some(Node::Waiting { waker, .. }) => Some(std::mem::replace(waker, instead)),
            _ => None,
        }
    }

    pub(super) fn leave(&mut self, node: usize) -> Left {
        if let Some(how) = self.take_if_woken(node) {
            return Left::Woken(how);
        }
        let waker = self.unlink(node, Node::Free { next: self.free });
        self.free = node;
        Left::Waiting(waker)
    }

    fn release(&mut self, node: usize) {
        self.nodes[node] = Node::Free { next: self.free };
        self.free = node;
    }
}
