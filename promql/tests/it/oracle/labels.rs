//! Functions of labels.

use ferula_model::{Labels, Regex};
use ferula_promql::check::{Call, Typed};

use super::{Element, Fault, Outcome, distinct, error};

/// The text of an argument.
pub(super) fn text(call: &Call, index: usize) -> &str {
    match call.args.get(index).map(|arg| &arg.value) {
        Some(Typed::String(literal)) => &literal.text,
        _ => "",
    }
}

fn with(labels: &Labels, name: &str, value: &str) -> Labels {
    let others = labels.iter().filter(|(known, _)| *known != name);
    Labels::from_pairs(others.chain([(name, value)]))
}

pub(super) fn label_join(call: &Call, elements: Vec<Element>) -> Outcome<Vec<Element>> {
    let sources = (3..call.args.len()).map(|index| text(call, index));
    let sources: Vec<&str> = sources.collect();
    distinct(
        elements
            .into_iter()
            .map(|element| {
                let parts: Vec<&str> =
                    sources.iter().map(|name| element.labels.get(name).unwrap_or_default()).collect();
                let labels = with(&element.labels, text(call, 1), &parts.join(text(call, 2)));
                Element { labels, ..element }
            })
            .collect(),
    )
}

pub(super) fn label_replace(call: &Call, elements: Vec<Element>) -> Outcome<Vec<Element>> {
    let (target, template, source, expression) = (text(call, 1), text(call, 2), text(call, 3), text(call, 4));
    let Ok(regex) = Regex::new(expression) else { return error("invalid regular expression") };
    let template = ferula_model::Template::new(template);
    let mut results = Vec::new();
    for element in elements {
        let value = element.labels.get(source).unwrap_or_default().to_owned();
        let mut expanded = String::new();
        let matches = regex.expand(&value, &template, &mut expanded);
        let labels = if matches { with(&element.labels, target, &expanded) } else { element.labels };
        results.push(Element { labels, value: element.value });
    }
    distinct(results)
}

/// By labels in natural order; what lacks a label has no certain place.
pub(super) fn sort_by_label(_: &Call, elements: Vec<Element>) -> Outcome<Vec<Element>> {
    // Answers are compared without their order.
    if elements.len() > 10_000 { Err(Fault::Unsure("too many series")) } else { Ok(elements) }
}
