//! What the model is told, for one turn, of the page a person has open.

use std::collections::BTreeMap;

/// Longest page name that is looked up, in bytes.
const PAGE_BYTES: usize = 128;
/// What the web client puts before its pages' names.
const VERSION: &str = "v2:";
/// Pages that have two names.
const ALIASES: [(&str, &str); 2] = [("agents", "agent_pool"), ("teams", "agent_teams")];

/// The hints there are when the operator says nothing.
pub(super) fn shipped() -> BTreeMap<String, String> {
    let pages = [
        ("dashboard", "dashboard"),
        ("workflows", "workflows"),
        ("runs", "runs"),
        ("teams", "teams"),
        ("canvas", "canvas"),
        ("agents", "agents"),
        ("integrations", "integrations"),
        ("config", "configuration"),
        ("assets", "assets"),
        ("skills", "skills"),
        ("logs", "logs"),
        ("audit", "audit"),
        ("doctor", "diagnostics"),
        ("memory", "memory"),
        ("cost", "cost"),
        ("cron", "scheduled jobs"),
        ("tools", "tools"),
        ("pairing", "pairing"),
        ("code", "code"),
        ("code:operator", "code operator"),
    ];
    let hint = |(page, name): (&str, &str)| (page.to_owned(), format!("The user has the {name} page open."));
    pages.into_iter().map(hint).collect()
}

/// The hint for a page as a client names it.
pub(super) fn find<'a>(hints: &'a BTreeMap<String, String>, page: &str) -> Option<&'a str> {
    if page.len() > PAGE_BYTES {
        return None;
    }
    let mut page = page;
    loop {
        let bare = page.strip_prefix(VERSION).unwrap_or(page);
        let found = [page, bare].into_iter().chain(other_name(bare)).find_map(|name| hints.get(name));
        if let Some(found) = found {
            return Some(found);
        }
        let cut = bare.rfind([':', '/'])?;
        page = &bare[..cut];
    }
}

fn other_name(page: &str) -> Option<&'static str> {
    ALIASES.iter().find_map(|&(a, b)| match page {
        _ if page == a => Some(b),
        _ if page == b => Some(a),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_page_finds_its_hint() {
        let hints = shipped();
        let find = |page: &str| find(&hints, page);
        assert_eq!(find("agent_pool"), find("v2:agents"));
        assert_eq!(find("agent_teams"), find("teams"));
        assert_eq!(find("v2:code:operator"), Some("The user has the code operator page open."));
        assert_eq!(find("v2:code:other/deep"), find("code"));
        assert!(find("agent_pool").is_some());
        for nothing in ["", "v2:", "nonsense", ":", "/", "v2:v2:agents", &"a".repeat(129)] {
            assert_eq!(find(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn an_operators_own_key_is_found_as_it_is_written() {
        let hints = BTreeMap::from([("v2:skills".to_owned(), "a".to_owned()), ("teams".into(), "b".into())]);
        assert_eq!(find(&hints, "v2:skills"), Some("a"));
        assert_eq!(find(&hints, "skills"), None);
        assert_eq!(find(&hints, "agent_teams/7"), Some("b"));
    }
}
