//! The pages of device authorization (RFC 8628).

use super::{App, Hidden, Layout, Page, Resource, Scope, Standing, Visitor};

/// [`Device::error`]: nothing was typed.
pub(crate) const MISSING_CODE: &str = "Type the code that your device shows.";
/// [`Device::error`]: the same words whether the code is wrong, old or used.
pub(crate) const WRONG_CODE: &str =
    "No device shows this code now. Check it, or ask your device for a new one.";
/// [`Device::error`]: throttled.
pub(crate) const TOO_MANY_CODES: &str = "Too many wrong codes. Wait a few minutes, then try again.";

/// Asks for the code that a device shows.
#[derive(Debug, Default, Page)]
#[template(path = "device.html")]
pub(crate) struct Device {
    pub layout: Layout,
    pub hidden: Hidden,
    /// What was typed, or came with the link.
    pub code: String,
    /// It came with a link or a QR code: to be compared, not typed.
    pub brought: bool,
    /// One of the constants above.
    pub error: Option<&'static str>,
}

/// Asks whether the device that shows a code may have what it asked for.
#[derive(Debug, Default, Page)]
#[template(path = "device_confirm.html")]
pub(crate) struct DeviceConfirm {
    pub layout: Layout,
    pub hidden: Hidden,
    /// As the device shows it.
    pub code: String,
    pub user: Visitor,
    pub app: App,
    /// As in [`Consent`].
    pub wants: Option<String>,
    pub resource: Option<Resource>,
    pub scopes: Vec<Scope>,
    pub stays_connected: bool,
}

/// Says what became of the device.
#[derive(Debug, Default, Page)]
#[template(path = "device_done.html")]
pub(crate) struct DeviceDone {
    pub layout: Layout,
    pub allowed: bool,
}

/// The code and a picture of the link, on the device itself.
#[derive(Debug, Default, Page)]
#[template(path = "device_screen.html")]
pub(crate) struct DeviceScreen {
    pub layout: Layout,
    /// What is typed on the phone.
    pub address: String,
    pub code: String,
}
