//! The icon of the server and of its tools: a prompt, drawn for this program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::Icon;

const SVG: &str = include_str!("icon.svg");

pub fn icon() -> Icon {
    Icon::new(format!("data:image/svg+xml;base64,{}", STANDARD.encode(SVG.trim())))
        .with_mime_type("image/svg+xml")
        .with_sizes(vec!["any".to_owned()])
}
