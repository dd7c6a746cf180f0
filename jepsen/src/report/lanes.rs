//! What was done and what each node said it was, as bars over time: a lane for every kind of fault
//! and a lane for every node.
use super::faults::{Family, Fault, classes};
use super::plot::{legend, place};
use super::text::{clip, duration, escape, moment, targets};
use super::view::View;
use crate::evidence::{NodeStatus, Sample};

/// With more faults than this their bars tell nothing on hovering: the page would grow too large.
const TITLES_MAX: usize = 2_000;
/// A node of which nothing was heard for longer is drawn as not known.
const SAMPLE_LASTS_NS: u64 = 5_000_000_000;

/// A chart that is made of lanes.
fn figure(id: &str, title: &str, note: &str, legend: &str, lanes: &str) -> String {
    format!(
        "<figure class=\"chart lanes\" id=\"{id}\"><figcaption><b>{title}</b> <span class=\"note\">{note}</span>{legend}</figcaption>\n\
         {lanes}</figure>\n"
    )
}

fn lane(name: &str, class: &str, bars: &str) -> String {
    let name = escape(name);
    format!(
        "<div class=\"row lane {class}\"><div class=\"gutter\" title=\"{name}\">{name}</div><div class=\"field\">{bars}</div></div>\n"
    )
}

/// One lane for every kind of fault.
pub(super) fn faults(view: &View<'_>) -> String {
    if view.faults.is_empty() {
        return "<p class=\"quiet\">No fault was injected.</p>\n".into();
    }
    let is_many = view.faults.len() > TITLES_MAX;
    let classes = classes(&view.faults);
    let lanes: String = classes
        .iter()
        .map(|class| {
            let bars = view.faults.iter().filter(|fault| fault.name == class.name);
            let bars: String = bars
                .map(|fault| fault_bar(fault, view.end_ns, is_many))
                .collect();
            lane(class.name, "", &bars)
        })
        .collect();
    let keys = Family::ALL.into_iter().filter_map(|family| {
        let is_here = classes.iter().any(|class| class.family == family);
        is_here.then(|| (family.class().to_owned(), family.title().to_owned()))
    });
    let mut keys: Vec<(String, String)> = keys.collect();
    if view
        .faults
        .iter()
        .any(|fault| fault.is_installed && !fault.has_bitten())
    {
        keys.push(("toothless".into(), "not seen to bite".into()));
    }
    if view.faults.iter().any(|fault| !fault.is_installed) {
        keys.push(("skipped".into(), "skipped".into()));
    }
    figure(
        "faults-lanes",
        "What was done to the cluster",
        "a lane for each kind of fault; the same times are shaded in the charts below",
        &legend(&keys),
        &lanes,
    )
}

fn fault_bar(fault: &Fault<'_>, end_ns: u64, is_many: bool) -> String {
    let until = fault.until_ns(end_ns);
    let aim = targets(fault.targets);
    let bite = match fault.bites.first() {
        _ if !fault.is_installed => "skipped".to_owned(),
        Some((_, how)) => clip(how, 200),
        None => "not seen to bite".into(),
    };
    if is_many {
        return format!(
            "<i class=\"bar {}\" style=\"{}\"></i>",
            fault.family.class(),
            place(fault.from_ns, until)
        );
    }
    let title = format!(
        "{} {} · {} for {} · {} · {}",
        fault.name,
        aim,
        moment(fault.from_ns),
        duration(until - fault.from_ns),
        clip(fault.detail, 200),
        bite
    );
    let style = match (fault.is_installed, fault.has_bitten()) {
        (false, _) => "skipped",
        (true, false) => "toothless",
        (true, true) => "",
    };
    format!(
        "<a class=\"bar {} {style}\" href=\"#fault-{}\" data-fault=\"{}\" style=\"{}\" title=\"{}\"><b>{}</b></a>",
        fault.family.class(),
        fault.id,
        fault.id,
        place(fault.from_ns, until),
        escape(&title),
        escape(&aim),
    )
}

/// One lane for every node: what it said it was, and beneath it what was done to it.
pub(super) fn nodes(view: &View<'_>) -> String {
    if view.evidence.samples.is_empty() {
        return String::new();
    }
    let lanes: String = view
        .nodes()
        .into_iter()
        .map(|node| {
            let mut bars: String = states(&view.evidence.samples, node)
                .iter()
                .map(|state| state.bar(node))
                .collect();
            let done = view.installed().filter(|fault| is_hit(fault, node));
            bars.extend(done.map(|fault| strip(fault, view.end_ns)));
            lane(node, "node", &bars)
        })
        .collect();
    let keys = node_keys(view);
    figure(
        "nodes-lanes",
        "What the nodes said they were",
        "role and term; the strip beneath shows faults aimed at that node",
        &legend(&keys),
        &lanes,
    )
}

/// What the colours of the nodes' lanes mean, of those that are there.
fn node_keys(view: &View<'_>) -> Vec<(String, String)> {
    let is_seen = |class: &str| {
        let samples = view.evidence.samples.iter();
        let mut seen = samples.map(|sample| match &sample.status {
            Some(status) => role(&status.role),
            None => "silent",
        });
        seen.any(|one| one == class)
    };
    let keys = [
        ("leader", "leader"),
        ("follower", "follower"),
        ("candidate", "candidate"),
        ("learner", "learner"),
        ("other-role", "other role"),
        ("silent", "does not answer"),
    ];
    let keys = keys.into_iter().filter(|(class, _)| is_seen(class));
    let always = [
        ("reign-key", "leader change"),
        ("gap-key", "no write succeeded for more than 1 s"),
    ];
    keys.chain(always)
        .map(|(class, name)| (class.to_owned(), name.to_owned()))
        .collect()
}

/// Whether a fault was aimed at this node or at one of its links.
fn is_hit(fault: &Fault<'_>, node: &str) -> bool {
    let mut ends = fault.targets.iter().flat_map(|target| {
        target.split(|letter: char| {
            !letter.is_alphanumeric() && !matches!(letter, '-' | '_' | '.' | ':')
        })
    });
    ends.any(|end| end == node)
}

fn strip(fault: &Fault<'_>, end_ns: u64) -> String {
    format!(
        "<i class=\"strip {}\" style=\"{}\" title=\"{} {}\"></i>",
        fault.family.class(),
        place(fault.from_ns, fault.until_ns(end_ns)),
        escape(fault.name),
        escape(&targets(fault.targets)),
    )
}

/// A time in which a node said the same of itself.
struct State<'a> {
    from_ns: u64,
    until_ns: u64,
    status: Option<&'a NodeStatus>,
}

impl State<'_> {
    fn bar(&self, node: &str) -> String {
        let (class, text) = match self.status {
            None => ("silent", String::new()),
            Some(status) => (role(&status.role), format!("t{}", status.term)),
        };
        let said = self.status.map_or("does not answer".to_owned(), |status| {
            format!("{}, term {}", status.role, status.term)
        });
        let length = duration(self.until_ns - self.from_ns);
        let (style, from) = (place(self.from_ns, self.until_ns), moment(self.from_ns));
        format!(
            "<i class=\"bar {class}\" style=\"{style}\" title=\"{}: {}, {from} for {length}\"><b>{text}</b></i>",
            escape(node),
            escape(&said),
        )
    }
}

fn role(role: &str) -> &'static str {
    match role {
        "leader" => "leader",
        // A member with a vote that does not lead.
        "follower" | "voter" => "follower",
        "candidate" => "candidate",
        "learner" => "learner",
        _ => "other-role",
    }
}

fn states<'a>(samples: &'a [Sample], node: &str) -> Vec<State<'a>> {
    let mut states: Vec<State<'a>> = Vec::new();
    let key = |status: Option<&'a NodeStatus>| status.map(|one| (one.role.as_str(), one.term));
    for sample in samples.iter().filter(|sample| sample.node == node) {
        let status = sample.status.as_ref();
        if let Some(last) = states.last_mut() {
            last.until_ns = sample.time_ns.min(last.until_ns + SAMPLE_LASTS_NS);
            if key(last.status) == key(status) && last.until_ns == sample.time_ns {
                continue;
            }
        }
        states.push(State {
            from_ns: sample.time_ns,
            until_ns: sample.time_ns,
            status,
        });
    }
    states
}
