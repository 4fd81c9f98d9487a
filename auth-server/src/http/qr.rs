//! QR codes as SVG: the sole importer of qrcodegen.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of white around a code (ISO/IEC 18004).
const QUIET: i32 = 4;

/// A picture of `text`, black on white in every colour scheme, or `None` when the text is too long for one.
pub(crate) fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let side = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_becomes_squares_and_a_book_does_not() {
        let svg = svg("https://as.example.com/device?user_code=WDJB-MJHT").unwrap();
        // The finder pattern of the first corner: seven modules in the first row, then a white one.
        for x in 4..11 {
            assert!(svg.contains(&format!("M{x} 4h1v1h-1z")), "{x}");
        }
        assert!(!svg.contains("M11 4h1v1h-1z") && !svg.contains("M3 4h"));
        assert_eq!(super::svg(&"x".repeat(5000)), None);
    }
}
