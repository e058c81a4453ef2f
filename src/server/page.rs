//! The pages of the user interface, until there is one: each says which answer of the API has what it would show.

use super::path::escape;

/// The first page.
pub(super) const HOME: &str = "/query";

/// The paths of Prometheus' user interface, and the answers of the API that they show.
const PAGES: &[(&str, &[&str])] = &[
    (HOME, &["query?query=up", "labels", "metadata"]),
    ("/alerts", &["alerts", "rules?type=alert"]),
    ("/rules", &["rules"]),
    ("/targets", &["targets?state=active", "scrape_pools"]),
    ("/service-discovery", &["targets"]),
    ("/alertmanager-discovery", &["alertmanagers"]),
    ("/status", &["status/runtimeinfo", "status/buildinfo"]),
    ("/tsdb-status", &["status/tsdb", "status/tsdb/blocks"]),
    ("/flags", &["status/flags"]),
    ("/config", &["status/config"]),
];

/// The name of a page as it stands in metrics, if there is such a page.
pub(super) fn name(path: &str) -> Option<&'static str> {
    PAGES.iter().map(|(page, _)| *page).find(|page| *page == path)
}

/// A page. `query` is the query string of the request: links of alerts have their expression in it.
pub(super) fn write(page: &str, query: &str) -> String {
    let answers = PAGES.iter().find(|(name, _)| *name == page).map_or(&[][..], |(_, answers)| answers);
    let mut links = answers.iter().map(|answer| (*answer).to_owned()).collect::<Vec<_>>();
    for (name, expression) in form_urlencoded::parse(query.as_bytes()) {
        if name.starts_with('g') && name.ends_with(".expr") {
            let pair = form_urlencoded::Serializer::new(String::new()).append_pair("query", &expression).finish();
            links.insert(0, format!("query?{pair}"));
        }
    }
    let mut html =
        "<!doctype html>\n<title>Ferula</title>\n<h1>Ferula</h1>\n<p>There is no user interface yet. What this \
                    page would show:</p>\n<ul>\n"
            .to_owned();
    for link in links {
        let link = escape(&link).into_owned();
        html.push_str(&format!("<li><a href=\"api/v1/{link}\">/api/v1/{link}</a></li>\n"));
    }
    html.push_str("</ul>\n<p>Other pages:");
    for (name, _) in PAGES {
        html.push_str(&format!(" <a href=\"{}\">{}</a>", &name[1..], &name[1..]));
    }
    html.push_str(" <a href=\"metrics\">metrics</a></p>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_of_an_alert_leads_to_its_expression() {
        let page = write(HOME, "g0.expr=up+%3D%3D+0+and+%22a%22&g0.tab=1");
        assert!(page.contains("href=\"api/v1/query?query=up+%3D%3D+0+and+%22a%22\""), "{page}");
        assert!(!write("/alerts", "g0.expr=%3Cscript%3E").contains("<script>"));
    }
}
