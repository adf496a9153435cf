//! What slots are built from.

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::network::Network;
use super::root::Root;
use crate::limits::Limits;

/// Prepared once, and the same for every slot of a spawner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    pub root: Root,
    pub limits: Limits,
    pub network: Network,
    pub identity: Identity,
}

impl Policy {
    pub fn new(root: Root, limits: Limits, network: Network) -> Self {
        Policy { root, limits, network, identity: Identity::of_this_process() }
    }
}
