//! The pictures among a program's files, as clients take them.

mod fit;
mod shown;

pub use shown::{PictureTurns, Shown};
