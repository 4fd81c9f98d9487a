//! For how long an answer calls itself fresh (RFC 9111 §4.2), as a cache that serves many users reads it.

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Seconds from now; `None` when the answer says nothing.
pub(super) fn fresh_for(headers: &HeaderMap) -> Option<i64> {
    let control = CacheControl::read(headers);
    if control.never {
        return Some(0);
    }
    let lifetime = control
        .shared
        .or(control.any)
        .or_else(|| until_expiry(headers))?;
    let age = text(headers, AGE)
        .and_then(|age| age.parse::<i64>().ok())
        .unwrap_or(0);
    Some(lifetime.saturating_sub(age.max(0)).max(0))
}

#[derive(Default)]
struct CacheControl {
    never: bool,
    shared: Option<i64>,
    any: Option<i64>,
}

impl CacheControl {
    fn read(headers: &HeaderMap) -> CacheControl {
        let mut control = CacheControl::default();
        let lines = headers.get_all(CACHE_CONTROL).into_iter();
        for directive in lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
        {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            // A lifetime that cannot be read counts as none left (RFC 9111 §4.2.1).
            let seconds = || {
                let digits = value.trim().trim_matches('"');
                Some(digits.parse::<u32>().map_or(0, i64::from))
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => control.never = true,
                "s-maxage" => control.shared = control.shared.or_else(seconds),
                "max-age" => control.any = control.any.or_else(seconds),
                _ => {}
            }
        }
        control
    }
}

/// `Expires` counts from the sender's own `Date`, so that clocks need not agree. One that cannot be read is past.
fn until_expiry(headers: &HeaderMap) -> Option<i64> {
    let expires = text(headers, EXPIRES)?;
    let moment = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
    let Some(expires) = moment(expires) else {
        return Some(0);
    };
    let date = text(headers, DATE).and_then(moment)?;
    Some((expires - date).whole_seconds())
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(lines: &[(&'static str, &str)]) -> Option<i64> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        fresh_for(&headers)
    }

    #[test]
    fn headers_say_how_long_an_answer_is_fresh() {
        let date = ("date", "Sat, 21 Nov 2026 12:00:00 GMT");
        for (headers, expected) in [
            (vec![], None),
            (vec![("cache-control", "public")], None),
            (vec![("cache-control", "max-age=600")], Some(600)),
            (
                vec![("cache-control", "Public, MAX-AGE=\"600\"")],
                Some(600),
            ),
            (
                vec![("cache-control", "max-age=600, s-maxage=60")],
                Some(60),
            ),
            (
                vec![("cache-control", "max-age=600"), ("age", "100")],
                Some(500),
            ),
            (
                vec![("cache-control", "max-age=600"), ("age", "9000")],
                Some(0),
            ),
            (
                vec![("cache-control", "max-age=600"), ("age", "-5")],
                Some(600),
            ),
            (
                vec![
                    ("cache-control", "max-age=600"),
                    ("cache-control", "no-store"),
                ],
                Some(0),
            ),
            (vec![("cache-control", "no-cache")], Some(0)),
            (vec![("cache-control", "max-age=soon")], Some(0)),
            (
                vec![date, ("expires", "Sat, 21 Nov 2026 12:10:00 GMT")],
                Some(600),
            ),
            (
                vec![date, ("expires", "Sat, 21 Nov 2026 11:00:00 GMT")],
                Some(0),
            ),
            (vec![date, ("expires", "0")], Some(0)),
            (vec![("expires", "Sat, 21 Nov 2026 12:10:00 GMT")], None),
            (
                vec![
                    date,
                    ("expires", "Sat, 21 Nov 2026 12:10:00 GMT"),
                    ("cache-control", "max-age=5"),
                ],
                Some(5),
            ),
        ] {
            assert_eq!(of(&headers), expected, "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_a_negative_life(control in "[ -~]{0,40}", age in "[ -~]{0,20}", expires in "[ -~]{0,40}") {
            let life = of(&[("cache-control", &control), ("age", &age), ("expires", &expires)]);
            prop_assert!(life.is_none_or(|life| life >= 0));
        }
    }
}
