//! Checks of values whose kind is text.

/// Accepts any text.
pub(super) fn any_text(_: &str) -> Result<(), String> {
    Ok(())
}

/// Checks the name of an AWS region.
pub(super) fn check_region(region: &str) -> Result<(), String> {
    let fits = region.len() <= 63
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && region.starts_with(|c: char| c.is_ascii_lowercase());
    if fits { Ok(()) } else { Err(format!("{region:?} is not the name of a region, such as eu-central-1")) }
}

/// Checks an endpoint: a scheme, a host and perhaps a port. User, path and query are refused.
pub(super) fn check_endpoint(url: &str) -> Result<(), String> {
    let allowed = || format!("{url:?} is not allowed; allowed: http://HOST[:PORT] or https://HOST[:PORT]");
    let uri: http::Uri = url.parse().map_err(|_| allowed())?;
    let scheme_fits = matches!(uri.scheme_str(), Some("http" | "https"));
    let host_fits = uri.host().is_some_and(|host| !host.is_empty());
    let port_fits = match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => false,
        Some(authority) => !authority.as_str().ends_with(':') && authority.port_u16() != Some(0),
        None => false,
    };
    let bare = uri.path().trim_matches('/').is_empty() && uri.query().is_none();
    if scheme_fits && host_fits && port_fits && bare { Ok(()) } else { Err(allowed()) }
}
