//! File patterns: `*` within a name, `**` across folders, `?` for one character. Nothing else is special.

/// Whether `path` (parts separated by `/`) matches `pattern`. A pattern without `/` matches the file name in any folder.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    if !pattern.contains('/') {
        let name = path.rsplit('/').next().unwrap_or(path);
        return name_matches(pattern.as_bytes(), name.as_bytes());
    }
    let pattern: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            (0..=path.len()).any(|skipped| parts_match(rest, &path[skipped..]))
        }
        (Some((first, pattern)), Some((name, path))) => {
            name_matches(first.as_bytes(), name.as_bytes()) && parts_match(pattern, path)
        }
        _ => false,
    }
}

/// Linear in practice: after a mismatch only the last `*` is tried again, one byte further.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while pos < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, pos));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[pos] => {
                at += 1;
                pos += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    at = star + 1;
                    pos = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_people_expect() {
        for (pattern, path, expected) in [
            ("*.csv", "orders.csv", true),
            ("*.csv", "deep/down/orders.csv", true),
            ("*.csv", "orders.csv.bak", false),
            ("orders/*.csv", "orders/2026.csv", true),
            ("orders/*.csv", "orders/old/2026.csv", false),
            ("orders/**/*.csv", "orders/old/2026.csv", true),
            ("orders/**/*.csv", "orders/2026.csv", true),
            ("**/old/*", "a/b/old/c", true),
            ("/orders/*", "orders/a", true),
            ("order-?.csv", "order-1.csv", true),
            ("order-?.csv", "order-12.csv", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
