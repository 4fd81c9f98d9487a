//! The cookies of a browser. Over https they carry the `__Host-` prefix, which binds them to this host; over http,
//! which only loopback issuers use, browsers refuse that prefix.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::flow::Server;
use crate::flow::session::Browser;
use crate::protocol::known_device;
use crate::protocol::secret::Secret;
use crate::protocol::session_state::browser_state;

/// Cookie names of this server.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// Every browser, for CSRF.
    pub(crate) browser: &'static str,
    /// Signed-in browsers.
    pub(crate) session: &'static str,
    /// Browsers in which somebody signed in before; it stays when the session ends.
    pub(crate) device: &'static str,
    /// What frames of clients read of the session (Session Management 1.0); only where that is switched on.
    pub(crate) state: &'static str,
    secure: bool,
}

impl Names {
    pub(crate) fn of(server: &Server) -> Names {
        if server.config.issuer.is_plain_http() {
            Names {
                browser: "browser",
                session: "session",
                device: "device",
                state: "session-state",
                secure: false,
            }
        } else {
            Names {
                browser: "__Host-browser",
                session: "__Host-session",
                device: "__Host-device",
                state: "__Host-session-state",
                secure: true,
            }
        }
    }
}

/// The value of a cookie that came once with this name.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .filter(|value| !value.is_empty() && value.len() <= 128)
}

/// Sets the browser cookie where it is new.
pub(crate) fn remember_browser(server: &Server, browser: &Browser, headers: &mut HeaderMap) {
    if browser.is_new {
        let names = Names::of(server);
        append(
            headers,
            names.browser,
            browser.secret.reveal(),
            None,
            names.secure,
        );
    }
}

/// Sets the session cookie for the session's life.
pub(crate) fn start_session(server: &Server, cookie: &Secret, headers: &mut HeaderMap) {
    let names = Names::of(server);
    append(
        headers,
        names.session,
        cookie.reveal(),
        Some(server.config.sessions.lifetime),
        names.secure,
    );
}

/// Marks the browser as a device of the user who signed in.
pub(crate) fn remember_device(server: &Server, mark: &str, headers: &mut HeaderMap) {
    let names = Names::of(server);
    let max_age = Some(known_device::LIFETIME);
    append(headers, names.device, mark, max_age, names.secure);
}

/// Removes the session cookie, and what others read of it.
pub(crate) fn end_session(server: &Server, headers: &mut HeaderMap) {
    let names = Names::of(server);
    append(headers, names.session, "", Some(0), names.secure);
    if server.config.features.session_management {
        show(headers, names, "", 0);
    }
}

/// Lets frames of clients see whether the session is still the same. It is a cookie of its own: scripts read it, and the
/// frames stand on pages of other sites.
pub(crate) fn show_state(server: &Server, browser: &Browser, headers: &mut HeaderMap) {
    if server.config.features.session_management
        && let Some((session, _)) = &browser.signed_in
    {
        let state = browser_state(&server.derivation, &session.sid);
        let lifetime = server.config.sessions.lifetime;
        show(headers, Names::of(server), &state, lifetime);
    }
}

fn show(headers: &mut HeaderMap, names: Names, value: &str, max_age: i64) {
    // Without TLS there is no `None`; a loopback issuer and its clients are the same site.
    let site = if names.secure {
        "SameSite=None; Secure"
    } else {
        "SameSite=Lax"
    };
    let name = names.state;
    let text = format!("{name}={value}; Path=/; {site}; Max-Age={max_age}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &str, max_age: Option<i64>, secure: bool) {
    let max_age = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{max_age}{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}
