//! Names to addresses and back: getaddrinfo(3) and getnameinfo(3) on threads of the loop's own.
//!
//! [`Resolver`] is the pool, `query` the question and the answer, and [`numeric`] answers what needs no lookup
//! at all without a thread. The user's default executor is not involved: a program that fills it with slow work
//! still connects.

mod numeric;
mod pool;
mod query;

pub use numeric::numeric;
pub use pool::Resolver;
pub use query::{AddrInfo, NameInfo, Query, ResolveError};
