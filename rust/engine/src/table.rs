//! A bounded table of flows: an index and a generation name an entry, so that an event for a flow that has gone can
//! never reach the flow that took its place.

/// Names one entry of a [`Table`] for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token {
    /// Place in the table.
    pub index: u32,
    /// How many entries have lived there before, wrapping.
    pub generation: u32,
}

/// Generations wrap here, so that a token fits an event's word beside a port number.
const GENERATION_MASK: u32 = (1 << 24) - 1;

struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

/// The table. It grows as needed up to its limit and then refuses.
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    limit: usize,
}

impl<T> Table<T> {
    /// An empty table of at most `limit` entries.
    pub fn new(limit: usize) -> Self {
        Table { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// How many entries live.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// No entry lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token the next [`Table::insert`] will use, or `None` when the table is full. The caller needs it before
    /// there is an entry: a socket is registered with its token while the flow that owns it is being built.
    pub fn vacancy(&mut self) -> Option<Token> {
        if self.free.is_empty() {
            if self.slots.len() >= self.limit {
                return None;
            }
            self.slots.push(Slot { generation: 0, entry: None });
            self.free.push(self.slots.len() as u32 - 1);
        }
        let index = *self.free.last()?;
        Some(Token { index, generation: self.slots[index as usize].generation })
    }

    /// Fill the place [`Table::vacancy`] named.
    pub fn insert(&mut self, entry: T) -> Option<Token> {
        let token = self.vacancy()?;
        self.free.pop();
        self.slots[token.index as usize].entry = Some(entry);
        Some(token)
    }

    /// The entry, if it still lives.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let slot = self.slots.get_mut(token.index as usize)?;
        if slot.generation == token.generation { slot.entry.as_mut() } else { None }
    }

    /// The entry, if it still lives.
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index as usize)?;
        if slot.generation == token.generation { slot.entry.as_ref() } else { None }
    }

    /// The entry at `index`, whatever its generation.
    pub fn at(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.entry.as_ref()
    }

    /// The token of the entry that lives at `index`.
    pub fn token_at(&self, index: u32) -> Option<Token> {
        let slot = self.slots.get(index as usize)?;
        slot.entry.as_ref().map(|_| Token { index, generation: slot.generation })
    }

    /// Take the entry out; its token is dead from now on.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slots.get_mut(token.index as usize)?;
        if slot.generation != token.generation {
            return None;
        }
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1) & GENERATION_MASK;
        self.free.push(token.index);
        Some(entry)
    }

    /// Every living entry.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.iter_from(0)
    }

    /// Every living entry from an index on.
    pub fn iter_from(&self, first: u32) -> impl Iterator<Item = (Token, &T)> {
        self.slots.iter().enumerate().skip(first as usize).filter_map(|(i, slot)| {
            let token = Token { index: i as u32, generation: slot.generation };
            slot.entry.as_ref().map(|entry| (token, entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_refuses_and_keeps_what_it_has() {
        let mut table = Table::new(2);
        let a = table.insert('a').unwrap();
        let b = table.insert('b').unwrap();
        assert_eq!(table.insert('c'), None);
        assert_eq!((table.get(a), table.get(b)), (Some(&'a'), Some(&'b')));
    }

    #[test]
    fn a_token_dies_with_its_entry_though_the_place_is_used_again() {
        let mut table = Table::new(1);
        let old = table.insert('a').unwrap();
        assert_eq!(table.remove(old), Some('a'));
        let new = table.insert('b').unwrap();
        assert_eq!(new.index, old.index);
        assert_eq!(table.get(old), None);
        assert_eq!(table.remove(old), None);
        assert_eq!(table.get(new), Some(&'b'));
    }

    #[test]
    fn the_announced_vacancy_is_the_one_that_is_filled() {
        let mut table = Table::new(3);
        let announced = table.vacancy();
        assert_eq!(table.insert(1), announced);
    }
}
