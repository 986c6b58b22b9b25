//! The written list of accepted differences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Difference;
use super::shape::IGNORED;

const BEGIN: &str = "<!-- checked by tests/fidelity.rs from here on -->";
const UNEXPLAINED: &str = "Unexplained";
/// Ends a place where answers differ now and then.
const RACE: char = '?';
/// More places than this are written as their common part.
const MOST_PLACES: usize = 5;

/// A reason, and the exchanges that it explains.
#[derive(Clone, Debug, Default)]
struct Section {
    title: String,
    text: String,
    /// By name: the places, in which a `*` at the end stands for any rest.
    rows: BTreeMap<String, BTreeSet<String>>,
}

/// The list.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    before: String,
    sections: Vec<Section>,
}

fn covers(pattern: &str, place: &str) -> bool {
    let pattern = pattern.strip_suffix(RACE).unwrap_or(pattern);
    pattern
        .strip_suffix('*')
        .map_or(pattern == place, |start| place.starts_with(start))
}

impl Accepted {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// If a line of the checked part is neither heading, prose nor row.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (before, checked) = text
            .split_once(BEGIN)
            .ok_or("the checked part is missing")?;
        let mut list = Self {
            before: before.to_owned(),
            sections: Vec::new(),
        };
        for line in checked.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                list.sections.push(Section {
                    title: title.to_owned(),
                    ..Section::default()
                });
                continue;
            }
            let Some(section) = list.sections.last_mut() else {
                continue;
            };
            let Some(row) = line.strip_prefix("- `") else {
                if !line.trim().is_empty() {
                    section.text.push_str(line);
                    section.text.push('\n');
                }
                continue;
            };
            let bad = || format!("a row without places: {line}");
            let (name, places) = row.split_once("`: ").ok_or_else(bad)?;
            let places = places
                .split(", ")
                .map(|place| place.trim_matches('`').to_owned())
                .collect();
            section.rows.insert(name.to_owned(), places);
        }
        Ok(list)
    }

    /// How many reasons there are.
    #[must_use]
    pub fn reasons(&self) -> usize {
        self.sections.len()
    }

    /// What of these differences is not in the list, and which rows have no difference any more.
    #[must_use]
    pub fn check(
        &self,
        found: &BTreeMap<String, Vec<Difference>>,
    ) -> (BTreeMap<String, Vec<Difference>>, Vec<String>) {
        let mut unexplained = BTreeMap::new();
        for (name, differences) in found {
            let rest: Vec<_> = differences
                .iter()
                .filter(|difference| {
                    !self.sections.iter().any(|section| {
                        section.rows.get(name).is_some_and(|places| {
                            places.iter().any(|place| covers(place, &difference.place))
                        })
                    })
                })
                .cloned()
                .collect();
            if !rest.is_empty() {
                unexplained.insert(name.clone(), rest);
            }
        }
        let mut stale = Vec::new();
        for section in &self.sections {
            for (name, places) in &section.rows {
                for place in places {
                    if !is_found(found, name, place) {
                        stale.push(format!("{}: {name}: {place}", section.title));
                    }
                }
            }
        }
        (unexplained, stale)
    }

    /// The list without stale rows, and with what is new under a heading that fails the check.
    #[must_use]
    pub fn brought_up_to_date(&self, found: &BTreeMap<String, Vec<Difference>>) -> Self {
        let mut list = self.clone();
        for section in &mut list.sections {
            section.rows.retain(|name, places| {
                places.retain(|place| is_found(found, name, place));
                !places.is_empty()
            });
        }
        list.sections
            .retain(|section| !section.rows.is_empty() && section.title != UNEXPLAINED);
        let (unexplained, _) = list.check(found);
        if !unexplained.is_empty() {
            let rows = unexplained.into_iter().map(|(name, differences)| {
                let places: BTreeSet<_> = differences.into_iter().map(|d| d.place).collect();
                (name, shortened(places))
            });
            list.sections.push(Section {
                title: UNEXPLAINED.to_owned(),
                text: String::new(),
                rows: rows.collect(),
            });
        }
        list
    }

    /// Whether somebody has to find a reason.
    #[must_use]
    pub fn has_unexplained(&self) -> bool {
        self.sections
            .iter()
            .any(|section| section.title == UNEXPLAINED)
    }

    /// The text of the list.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{}{BEGIN}\n", self.before);
        for section in &self.sections {
            let _ = write!(out, "\n## {}\n\n", section.title);
            if !section.text.is_empty() {
                let _ = writeln!(out, "{}", section.text);
            }
            for (name, places) in &section.rows {
                let places: Vec<_> = places.iter().map(|place| format!("`{place}`")).collect();
                let _ = writeln!(out, "- `{name}`: {}", places.join(", "));
            }
        }
        out
    }

    /// What is not compared, as a table.
    #[must_use]
    pub fn ignored() -> String {
        let mut out = String::from("| not compared | because |\n| --- | --- |\n");
        for (what, why) in IGNORED {
            let _ = writeln!(out, "| {what} | {why} |");
        }
        out
    }

    /// Whether the text above the rows says what is not compared.
    #[must_use]
    pub fn tells_what_is_ignored(&self) -> bool {
        self.before.contains(&Self::ignored())
    }
}

fn is_found(found: &BTreeMap<String, Vec<Difference>>, name: &str, place: &str) -> bool {
    if place.ends_with(RACE) {
        return found.contains_key(name);
    }
    found.get(name).is_some_and(|all| {
        all.iter()
            .any(|difference| covers(place, &difference.place))
    })
}

/// Many places below one are written as that one.
fn shortened(mut places: BTreeSet<String>) -> BTreeSet<String> {
    for depth in (1..6).rev() {
        if places.len() <= MOST_PLACES {
            break;
        }
        places = places
            .into_iter()
            .map(|place| match place.match_indices('.').nth(depth - 1) {
                Some((at, _)) => format!("{}*", &place[..at]),
                None => place,
            })
            .collect();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "intro\n<!-- checked by tests/fidelity.rs from here on -->\n\n## No such thing\n\nIt is not built.\n\n- `a`: `body.x*`, `status`\n";

    fn found(all: &[(&str, &str)]) -> BTreeMap<String, Vec<Difference>> {
        let mut map: BTreeMap<String, Vec<Difference>> = BTreeMap::new();
        for (name, place) in all {
            let difference = Difference::new(*place, "");
            map.entry((*name).to_owned()).or_default().push(difference);
        }
        map
    }

    #[test]
    fn a_list_fails_for_what_it_lacks_and_for_what_is_gone() {
        let list = Accepted::parse(LIST).unwrap();
        let (unexplained, stale) = list.check(&found(&[("a", "status"), ("a", "body.x.y")]));
        assert!(unexplained.is_empty() && stale.is_empty());
        let (unexplained, stale) = list.check(&found(&[("a", "status"), ("b", "status")]));
        assert_eq!(unexplained.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(stale, ["No such thing: a: body.x*"]);
    }

    #[test]
    fn a_race_may_be_lost_or_won() {
        let list = Accepted::parse(&LIST.replace("`status`", "`status?`")).unwrap();
        let both = found(&[("a", "status"), ("a", "body.x")]);
        for differences in [both, found(&[("a", "body.x")])] {
            let (unexplained, stale) = list.check(&differences);
            assert!(unexplained.is_empty() && stale.is_empty(), "{stale:?}");
        }
    }

    #[test]
    fn a_list_is_brought_up_to_date() {
        let list = Accepted::parse(LIST).unwrap();
        assert_eq!(list.text(), LIST);
        let now = found(&[("a", "status"), ("b", "status")]);
        let list = list.brought_up_to_date(&now);
        assert!(list.has_unexplained());
        let (unexplained, stale) = Accepted::parse(&list.text()).unwrap().check(&now);
        assert!(unexplained.is_empty() && stale.is_empty());
    }
}
