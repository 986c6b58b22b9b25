//! Paths without names, for traces and metrics.

/// A request's path with everything that names an object taken out: what traces and metrics may show of it, since there are few
/// such values and none is confidential.
///
/// The path is in origin form, without the prefix of an endpoint; a query is none of it. Of paths that are not the API's
/// only the first segment is kept.
///
/// ```
/// use kubewire::path_template;
/// let template = path_template("/api/v1/namespaces/prod/pods/web-0/log");
/// assert_eq!(template, "/api/v1/namespaces/{namespace}/pods/{name}/log");
/// assert_eq!(path_template("/apis/apps/v1/deployments"), "/apis/apps/v1/deployments");
/// assert_eq!(path_template("/openapi/v3/api/v1"), "/openapi/{path}");
/// ```
#[must_use]
pub fn path_template(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let head = match segments.first() {
        Some(&"api") => 2,
        Some(&"apis") => 3,
        Some(_) | None => 1,
    };
    let (head, rest) = segments.split_at(head.min(segments.len()));
    let mut template: String = head.iter().flat_map(|part| ["/", part]).collect();
    let known = matches!(head.first(), Some(&("api" | "apis")));
    match rest {
        [] => {}
        _ if !known => template.push_str("/{path}"),
        // A namespace is an object too.
        ["namespaces", _, sub @ ("status" | "finalize")] => {
            template.push_str("/namespaces/{name}/");
            template.push_str(sub);
        }
        ["namespaces", _, rest @ ..] if !rest.is_empty() => {
            template.push_str("/namespaces/{namespace}");
            resource(&mut template, rest);
        }
        rest => resource(&mut template, rest),
    }
    if template.is_empty() {
        template.push('/');
    }
    template
}

/// A resource, a name, a subresource, and what a proxy is asked for.
fn resource(template: &mut String, segments: &[&str]) {
    for (index, segment) in segments.iter().enumerate() {
        template.push('/');
        match index {
            0 | 2 => template.push_str(segment),
            1 => template.push_str("{name}"),
            _ => {
                template.push_str("{path}");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::path_template;

    #[test]
    fn names_are_taken_out() {
        for (path, template) in [
            ("/", "/"),
            ("", "/"),
            ("/api", "/api"),
            ("/api/v1", "/api/v1"),
            ("/apis/apps/v1/", "/apis/apps/v1"),
            ("/api/v1/nodes/n1", "/api/v1/nodes/{name}"),
            (
                "/api/v1/nodes/n1/proxy/a/b",
                "/api/v1/nodes/{name}/proxy/{path}",
            ),
            ("/api/v1/namespaces", "/api/v1/namespaces"),
            ("/api/v1/namespaces/a", "/api/v1/namespaces/{name}"),
            (
                "/api/v1/namespaces/a/status",
                "/api/v1/namespaces/{name}/status",
            ),
            (
                "/api/v1/namespaces/a/pods",
                "/api/v1/namespaces/{namespace}/pods",
            ),
            (
                "/api/v1/namespaces/a/pods/status?watch=true&fieldSelector=x",
                "/api/v1/namespaces/{namespace}/pods/{name}",
            ),
            (
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            ),
            ("/healthz", "/healthz"),
            ("/logs/kube-apiserver.log", "/logs/{path}"),
        ] {
            assert_eq!(path_template(path), template, "{path}");
        }
    }
}
