//! Paths of requests.

/// Joins two paths with exactly one `/` between them, as EMQX's `emqx_utils_uri:join_path` does: one slash is taken
/// from each side of the seam and no other is touched. A `path` that starts with `?` is appended as it is.
#[must_use]
pub fn join_path(base: &str, path: &str) -> String {
    if path.starts_with('?') {
        return format!("{base}{path}");
    }
    let base = base.strip_suffix('/').unwrap_or(base);
    let path = path.strip_prefix('/').unwrap_or(path);
    format!("{base}/{path}")
}

/// The path and query of a request: the path of the URL in the config, joined with the rendered path of the sink.
/// An empty rendered path leaves the URL's path as it is. Never empty.
#[must_use]
pub fn request_path(url_path: &str, rendered_path: &str) -> String {
    match (url_path, rendered_path) {
        ("", "") => "/".to_owned(),
        (url_path, "") => url_path.to_owned(),
        ("", query) if query.starts_with('?') => join_path("/", query),
        (url_path, rendered_path) => join_path(url_path, rendered_path),
    }
}
