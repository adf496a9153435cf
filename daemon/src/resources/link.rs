//! Resource links to files.

use rmcp::model::Resource;

use super::uri::FileUri;

/// The link to a file, titled with its path in the workspace.
pub fn link(path: &str, id: &str) -> Resource {
    let uri = FileUri::new(id, path);
    let mut resource = Resource::new(uri.to_string(), uri.name.clone()).with_title(path);
    if let Some(kind) = uri.mime_type() {
        resource = resource.with_mime_type(kind);
    }
    resource
}
