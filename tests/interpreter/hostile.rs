//! Programs that mean harm, one file for what each is after.

// Its own end, and that of others.
mod endings;
mod kill;

// More than its share.
mod files;
mod kernel_memory;
mod limits;
mod memory;

// Whoever comes next.
mod network;
mod poison;
mod random;

// What is outside.
mod host;
mod kernel;
