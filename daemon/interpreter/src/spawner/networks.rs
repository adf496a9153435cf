//! The networks of slots. One in which a program has left nothing serves again, because making one and taking it apart costs more than a slot's
//! other namespaces together.

use std::collections::HashMap;
use std::io;

use rustix::process::Pid;

use crate::sandbox::{Network, OwnNetwork};

/// Most that wait for a slot. Each takes 0.2 MB of the kernel's memory.
const SPARE: usize = 16;

pub struct Networks {
    policy: Network,
    spare: Vec<OwnNetwork>,
    /// By the first process of the slot that has it.
    used: HashMap<Pid, OwnNetwork>,
}

impl Networks {
    pub fn new(policy: Network) -> Self {
        Networks { policy, spare: Vec::new(), used: HashMap::new() }
    }

    /// Moves this process into the network of the next slot.
    pub fn enter_next(&mut self) -> io::Result<()> {
        match (self.policy, self.spare.last()) {
            (Network::Host, _) => {}
            (Network::None, Some(next)) => next.enter()?,
            (Network::None, None) => self.spare.push(OwnNetwork::make()?),
        }
        Ok(())
    }

    /// The slot with this first process has the next network.
    pub fn give_next(&mut self, first: Pid) {
        self.used.extend(self.spare.pop().map(|network| (first, network)));
    }

    /// Every process of the slot has ended.
    pub fn ended(&mut self, first: Pid) {
        if let Some(network) = self.used.remove(&first)
            && self.spare.len() < SPARE
            && network.is_as_new()
        {
            self.spare.push(network);
        }
    }
}
