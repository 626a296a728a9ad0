//! What a [`Queue`](crate::Queue) keeps its items in, and in which order it gives them back.
//!
//! A store may run foreign code in every method, which may come straight back into the queue: the methods take `&self`,
//! and an implementation holds no borrow of its own while it runs such code or drops an item.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::task::Waker;

/// The items of a queue. Methods may fail: those of a store whose user overrides them, for instance.
pub trait Store {
    /// What is stored.
    type Item;
    /// Why a method failed.
    type Error;

    /// Whether there is no item to take.
    ///
    /// # Errors
    /// The store's own.
    fn is_empty(&self) -> Result<bool, Self::Error>;

    /// Whether nobody may put an item now.
    ///
    /// # Errors
    /// The store's own.
    fn is_full(&self) -> Result<bool, Self::Error>;

    /// Takes an item in. Called when the store said that it was not full.
    ///
    /// # Errors
    /// The store's own; what became of the item is the store's affair.
    fn put(&self, item: Self::Item) -> Result<(), Self::Error>;

    /// Gives the next item, if there is one. Called when the store said that it was not empty.
    ///
    /// # Errors
    /// The store's own.
    fn get(&self) -> Result<Option<Self::Item>, Self::Error>;

    /// Called before the task behind `waker` starts to wait for items or for room: the place to refuse.
    ///
    /// # Errors
    /// The store's own: the task does not wait then.
    fn before_waiting(&self, waker: &Waker) -> Result<(), Self::Error> {
        let _ = waker;
        Ok(())
    }
}

/// Items in a row, taken from one end.
struct Row<T> {
    items: RefCell<VecDeque<T>>,
    /// Zero stands for no limit.
    maxsize: usize,
}

impl<T> Row<T> {
    fn new(maxsize: usize) -> Self {
        Self {
            items: RefCell::new(VecDeque::new()),
            maxsize,
        }
    }

    fn len(&self) -> usize {
        self.items.borrow().len()
    }

    fn is_full(&self) -> bool {
        self.maxsize != 0 && self.len() >= self.maxsize
    }

    fn push(&self, item: T) {
        self.items.borrow_mut().push_back(item);
    }
}

macro_rules! row_store {
    ($name:ident, $take:ident, $doc:literal) => {
        #[doc = $doc]
        pub struct $name<T>(Row<T>);

        impl<T> $name<T> {
            /// An empty store for at most `maxsize` items; zero stands for no limit.
            #[must_use]
            pub fn new(maxsize: usize) -> Self {
                Self(Row::new(maxsize))
            }

            /// How many items there are.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.len() == 0
            }

            /// How many items there may be; zero stands for no limit.
            #[must_use]
            pub fn maxsize(&self) -> usize {
                self.0.maxsize
            }
        }

        impl<T> Store for $name<T> {
            type Item = T;
            type Error = Infallible;

            fn is_empty(&self) -> Result<bool, Infallible> {
                Ok(self.0.len() == 0)
            }

            fn is_full(&self) -> Result<bool, Infallible> {
                Ok(self.0.is_full())
            }

            fn put(&self, item: T) -> Result<(), Infallible> {
                self.0.push(item);
                Ok(())
            }

            fn get(&self) -> Result<Option<T>, Infallible> {
                Ok(self.0.items.borrow_mut().$take())
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($name))
                    .field("len", &self.len())
                    .field("maxsize", &self.0.maxsize)
                    .finish()
            }
        }
    };
}

row_store!(
    Fifo,
    pop_front,
    "First in, first out: the store of `asyncio.Queue`."
);
row_store!(
    Lifo,
    pop_back,
    "Last in, first out: the store of `asyncio.LifoQueue`."
);
