//! Forwards into the guest network: which guest a socket of the host leads to.

use std::net::SocketAddr;

/// A forward as the translation knows it. A TCP forward's listening socket stays with the event loop, which brings
/// accepted connections; a UDP forward's socket is ours, because answers leave through it.
pub struct Forward<D> {
    /// Where it leads.
    pub guest: SocketAddr,
    /// The UDP socket.
    pub socket: Option<D>,
}

/// Slots of forwards; a slot's number is stable as long as the forward lives.
pub struct Forwards<D> {
    slots: Vec<Option<Forward<D>>>,
}

impl<D> Default for Forwards<D> {
    fn default() -> Self {
        Forwards { slots: Vec::new() }
    }
}

impl<D> Forwards<D> {
    /// The slot that [`Forwards::add`] will use next: a socket is registered under it before it is added.
    pub fn vacancy(&self) -> usize {
        self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len())
    }

    /// Add a forward; its slot.
    pub fn add(&mut self, forward: Forward<D>) -> usize {
        let slot = self.vacancy();
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(forward);
        slot
    }

    /// Remove a forward; its UDP socket is closed by being dropped.
    pub fn remove(&mut self, slot: usize) -> Option<Forward<D>> {
        self.slots.get_mut(slot)?.take()
    }

    /// The forward in a slot.
    pub fn get(&self, slot: usize) -> Option<&Forward<D>> {
        self.slots.get(slot)?.as_ref()
    }

    /// The UDP socket of a slot.
    pub fn socket(&mut self, slot: usize) -> Option<&mut D> {
        self.slots.get_mut(slot)?.as_mut()?.socket.as_mut()
    }
}

impl<D> Forwards<D> {
    /// Borrow a UDP forward's socket for reading while its datagrams are worked off.
    pub(super) fn take_socket(&mut self, slot: usize) -> Option<(SocketAddr, D)> {
        let forward = self.slots.get_mut(slot)?.as_mut()?;
        Some((forward.guest, forward.socket.take()?))
    }

    /// Give it back.
    pub(super) fn put_socket(&mut self, slot: usize, socket: D) {
        if let Some(Some(forward)) = self.slots.get_mut(slot) {
            forward.socket = Some(socket);
        }
    }
}
