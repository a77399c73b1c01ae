//! Fragments: what is cut is put together again, whatever happens on the way; what contradicts itself is not; and
//! nothing that guests send fills the memory.

mod bounds;
mod cutting;
mod naive;
mod pieces;
mod properties;
mod time;
