//! In which order the exchanges are repeated, and what has to be there first.
//!
//! The plans are the files `conformance/fidelity/*.plan`. A line is one of:
//!
//! | line | means |
//! | --- | --- |
//! | `@name` | a server of its own for what follows; `@name together` sends its exchanges at the same time |
//! | `name` | the recorded exchange of this name |
//! | `> METHOD TARGET BODY` | a request that has to succeed; PATCH is a merge patch, APPLY an apply patch |
//! | `? TARGET POINTER VALUE` | waits until this is the text or number at this place of the answer; the pointer `code` means the status code, `text` the whole body |
//! | `= NUMBER` | the server's resourceVersion here was this one in the recording |
//! | `+ NAME` | creates the objects of this exchange's recorded answer |
//! | `! cut`, `! compact` | connections are cut, history is forgotten |
//! | `!grant USER RESOURCE VERBS` | this user may do this, verbs separated by commas |
//! | `& mirror FROM COUNT` | does what the recorded events from this one on tell, all of them without a count |
//! | `& …` | one of these while the exchange above is open; `& after N` waits until this many events, lines or frames came |
//! | `# …` | a remark |

/// Something done to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A request that has to succeed.
    Request {
        method: String,
        target: String,
        body: String,
    },
    /// Wait for a value at a place.
    Until {
        target: String,
        pointer: String,
        value: String,
    },
    /// This recorded resourceVersion is the server's present one.
    Revision(String),
    /// The objects of this exchange's recorded answer are created.
    Seed(String),
    /// What the recorded events of the open exchange tell is done.
    Mirror {
        from: usize,
        count: usize,
    },
    Cut,
    Compact,
    Grant {
        user: String,
        resource: String,
        verbs: Vec<String>,
    },
    /// So many events, lines or frames of the open exchange came.
    After(usize),
}

/// One line of a plan.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Prepare(Action),
    Exchange { name: String, during: Vec<Action> },
}

/// The exchanges that share a server.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// Whether the exchanges may overlap.
    pub(super) together: bool,
    pub(super) steps: Vec<Step>,
}

const PLANS: &[(&str, &str)] = &[
    ("basics.plan", include_str!("../../fidelity/basics.plan")),
    ("objects.plan", include_str!("../../fidelity/objects.plan")),
    ("lists.plan", include_str!("../../fidelity/lists.plan")),
    ("watches.plan", include_str!("../../fidelity/watches.plan")),
    ("logs.plan", include_str!("../../fidelity/logs.plan")),
    (
        "subresources.plan",
        include_str!("../../fidelity/subresources.plan"),
    ),
    (
        "sessions.plan",
        include_str!("../../fidelity/sessions.plan"),
    ),
    (
        "variants.plan",
        include_str!("../../fidelity/variants.plan"),
    ),
];

/// All groups.
pub(super) fn groups() -> Result<Vec<Group>, String> {
    let mut groups = Vec::new();
    for (file, text) in PLANS {
        for (number, line) in text.lines().enumerate() {
            parse(line.trim(), &mut groups)
                .map_err(|why| format!("{file}:{}: {why}", number + 1))?;
        }
    }
    Ok(groups)
}

fn parse(line: &str, groups: &mut Vec<Group>) -> Result<(), String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(name) = line.strip_prefix('@') {
        let (name, together) = name
            .strip_suffix(" together")
            .map_or((name, false), |name| (name, true));
        groups.push(Group {
            name: name.to_owned(),
            together,
            steps: Vec::new(),
        });
        return Ok(());
    }
    let group = groups.last_mut().ok_or("a line before the first group")?;
    if let Some(rest) = line.strip_prefix("& ") {
        let Some(Step::Exchange { during, .. }) = group.steps.last_mut() else {
            return Err("no exchange is open".to_owned());
        };
        during.push(action(rest)?);
    } else if line.starts_with(['>', '?', '=', '!', '+']) {
        group.steps.push(Step::Prepare(action(line)?));
    } else {
        group.steps.push(Step::Exchange {
            name: line.to_owned(),
            during: Vec::new(),
        });
    }
    Ok(())
}

fn action(line: &str) -> Result<Action, String> {
    let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut words = rest.splitn(3, ' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    Ok(match sign {
        ">" => Action::Request {
            method: word(),
            target: word(),
            body: word(),
        },
        "?" => Action::Until {
            target: word(),
            pointer: word(),
            value: word(),
        },
        "=" => Action::Revision(rest.to_owned()),
        "+" => Action::Seed(rest.to_owned()),
        "mirror" => {
            let from = word().parse().map_err(|_| "mirror from which event?")?;
            let count = word().parse().unwrap_or(usize::MAX);
            Action::Mirror { from, count }
        }
        "!" if rest == "cut" => Action::Cut,
        "!" if rest == "compact" => Action::Compact,
        "!grant" => Action::Grant {
            user: word(),
            resource: word(),
            verbs: word().split(',').map(str::to_owned).collect(),
        },
        "after" => Action::After(rest.parse().map_err(|_| "after how many?")?),
        _ => return Err(format!("a line that means nothing: {line}")),
    })
}
