//! What is printed parses to the same tree, in one line and prettified.

use ferula_promql::functions::{Function, FunctionId, Variadic};
use ferula_promql::syntax::{Features, ValueType, parse};
use proptest::prelude::*;

/// A well-typed query of a type, as text with odd spacing and casing.
fn query(wanted: ValueType, depth: u32) -> BoxedStrategy<String> {
    match wanted {
        ValueType::String => string().boxed(),
        ValueType::Scalar if depth == 0 => number().boxed(),
        ValueType::Vector if depth == 0 => instant_selector().boxed(),
        ValueType::Matrix if depth == 0 => range_selector().boxed(),
        ValueType::Matrix => {
            let subquery = (paren_vector(depth), length(false), prop::option::of(length(false)), modifiers()).prop_map(
                |(inner, range, step, modifiers)| format!("{inner}[{range}:{}]{modifiers}", step.unwrap_or_default()),
            );
            prop_oneof![range_selector(), subquery].boxed()
        }
        ValueType::Scalar => {
            let arithmetic = (query(ValueType::Scalar, depth - 1), operator(), query(ValueType::Scalar, depth - 1))
                .prop_map(|(left, op, right)| format!("({left}) {op} ({right})"));
            prop_oneof![number(), arithmetic, call(ValueType::Scalar, depth), signed(ValueType::Scalar, depth)].boxed()
        }
        ValueType::Vector => prop_oneof![
            instant_selector(),
            aggregate(depth),
            call(ValueType::Vector, depth),
            signed(ValueType::Vector, depth),
            join(depth),
            set(depth),
            compare(depth),
        ]
        .boxed(),
    }
}

fn paren_vector(depth: u32) -> impl Strategy<Value = String> {
    query(ValueType::Vector, depth - 1).prop_map(|inner| format!("({inner})"))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_filter("literals are finite", |value| value.is_finite()).prop_map(|value| value.to_string()),
        any::<u32>().prop_map(|value| value.to_string()),
        prop::sample::select(vec![
            "Inf", "nan", "0x1f", "010", "1_000", "5m", "1h30m", "1e3", "-0", "+3", "90s", "365d"
        ])
        .prop_map(str::to_owned),
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zé🦀 \n\"']{0,6}".prop_map(|text| ferula_model::go_quote(&text)),
        prop::sample::select(vec!["'a\"b'", "`\\raw`", "\"\\xff\"", "\"\\x41\""]).prop_map(str::to_owned),
    ]
}

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "job",
        "instance",
        "by",
        "on",
        "le",
        "\"a b\"",
        "\"without\"",
        "\"é\"",
        "offset",
        "\"nan\"",
    ])
    .prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 0..3).prop_map(|labels| format!("({})", labels.join(" ,")))
}

fn bare_selector() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["up", "sum", "a:b", "offset", "fill", "step", "AND", "anchored"]);
    let op = prop::sample::select(vec!["=", "!=", "=~", "!~"]);
    let matcher = (prop::sample::select(vec!["job", "\"a b\"", "le", "nan"]), op, "[a-c.*]{0,3}").prop_filter_map(
        "an expression",
        |(label, op, value)| {
            let expression = value.starts_with('*') || value.contains("**");
            (!expression).then(|| format!("{label}{op}\"{value}\""))
        },
    );
    // Matchers are printed sorted, which is what identity is measured against.
    let matchers = || {
        prop::collection::vec(matcher.clone(), 0..3).prop_map(|mut matchers| {
            matchers.sort();
            matchers
        })
    };
    prop_oneof![
        (name, matchers()).prop_map(|(name, matchers)| format!("{name}{{{}}}", matchers.join(","))),
        matchers().prop_map(|mut matchers| {
            // It is printed as `__name__="m é"`, behind names in quotes and before those of letters.
            let at = matchers.iter().take_while(|matcher| matcher.starts_with('"')).count();
            matchers.insert(at, "\"m é\"".to_owned());
            format!("{{ {} }}", matchers.join(" , "))
        }),
    ]
}

fn length(signed: bool) -> BoxedStrategy<String> {
    let literal =
        prop::sample::select(vec!["5m", "1h30m", "300", "0.5", "90s", "1d", "0.0001"]).prop_map(str::to_owned);
    let expr = prop::sample::select(vec![
        "step()",
        "range() + 1m",
        "(5m+1m)*2",
        "max_of(step(), 1m)",
        "2^3",
        "-(step()-5m)",
        "min_of(1m,(2m+ 1))",
    ])
    .prop_map(move |text| if signed { format!("({text})") } else { text.to_owned() });
    let negative = prop::sample::select(vec!["-5m", "- 1h", "--3", "-step()"]).prop_map(str::to_owned);
    if signed { prop_oneof![literal, expr, negative].boxed() } else { prop_oneof![literal, expr].boxed() }
}

fn modifiers() -> impl Strategy<Value = String> {
    let at = prop::sample::select(vec!["", " @ start()", " @ end( )", " @ 5", " @ -1.5", " @ 1600000000.123"]);
    (prop::option::of(length(true)), at, any::<bool>()).prop_map(|(offset, at, swap)| {
        let offset = offset.map(|offset| format!(" offset {offset}")).unwrap_or_default();
        if swap { format!("{at}{offset}") } else { format!("{offset}{at}") }
    })
}

fn extension() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " anchored", " SMOOTHED"])
}

fn instant_selector() -> impl Strategy<Value = String> {
    (bare_selector(), extension(), modifiers())
        .prop_map(|(selector, extension, modifiers)| format!("{selector}{extension}{modifiers}"))
}

fn range_selector() -> impl Strategy<Value = String> {
    (bare_selector(), length(false), extension(), modifiers())
        .prop_map(|(selector, range, extension, modifiers)| format!("{selector}[ {range} ]{extension}{modifiers}"))
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["+", "-", "*", "/", "%", "^", "atan2", "ATAN2", "== bool", ">= bool", "</", ">/"])
}

fn signed(wanted: ValueType, depth: u32) -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["-", "+", "- -", "-+"]), query(wanted, depth - 1))
        .prop_map(|(sign, inner)| format!("{sign}({inner})"))
}

fn aggregate(depth: u32) -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["sum", "Avg", "topk", "count_values", "quantile", "group", "limit_ratio"]);
    let grouping = (prop::sample::select(vec!["by", "without", "BY"]), labels(), any::<bool>());
    (op, prop::option::of(grouping), query(ValueType::Vector, depth - 1), number(), string()).prop_map(
        |(op, grouping, inner, number, string)| {
            let args = match op {
                "topk" | "quantile" | "limit_ratio" => format!("({number}, {inner})"),
                "count_values" => format!("({string},{inner})"),
                _ => format!("( {inner} )"),
            };
            match grouping {
                None => format!("{op}{args}"),
                Some((word, labels, true)) => format!("{op} {word}{labels}{args}"),
                Some((word, labels, false)) => format!("{op}{args}{word} {labels}"),
            }
        },
    )
}

fn call(wanted: ValueType, depth: u32) -> BoxedStrategy<String> {
    let functions: Vec<_> = FunctionId::ALL
        .iter()
        .copied()
        .filter(|id| id.signature().returns == wanted && *id != FunctionId::Info)
        .collect();
    (prop::sample::select(functions), 0..3_usize)
        .prop_flat_map(move |(id, extra)| {
            let function = Function::Builtin(id);
            let extra = match function.variadic() {
                Variadic::No => 0,
                Variadic::UpTo(most) => extra.min(most),
                Variadic::Any => extra,
            };
            let count = function.args_min() + extra;
            let args: Vec<_> =
                (0..count).filter_map(|index| function.arg(index)).map(|arg| query(arg, depth - 1)).collect();
            args.prop_map(move |args| format!("{}({})", id.name(), args.join(",")))
        })
        .boxed()
}

fn matching() -> impl Strategy<Value = String> {
    let group = prop::sample::select(vec!["", " group_left( )", " group_right (x)", " GROUP_LEFT()"]);
    let fill = prop::sample::select(vec!["", " fill(0)", " fill_left (-1)", " fill_right(NaN) fill_left(2)"]);
    let on = prop_oneof![
        Just(String::new()),
        (prop::sample::select(vec!["on", "ignoring"]), labels(), group)
            .prop_map(|(word, labels, group)| format!(" {word}{labels}{group}")),
    ];
    (on, fill).prop_map(|(on, fill)| format!("{on}{fill}"))
}

fn join(depth: u32) -> impl Strategy<Value = String> {
    (query(ValueType::Vector, depth - 1), operator(), matching(), query(ValueType::Vector, depth - 1))
        .prop_map(|(left, op, matching, right)| format!("({left}) {op}{matching} ({right})"))
}

fn set(depth: u32) -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["and", "or", "unless on(job)", "and ignoring (a, b)", "OR"]);
    (paren_vector(depth), op, paren_vector(depth)).prop_map(|(left, op, right)| format!("{left} {op} {right}"))
}

fn compare(depth: u32) -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["==", "!=", "> bool", "<", ">=", "<= bool", "*"]);
    (query(ValueType::Vector, depth - 1), op, query(ValueType::Scalar, depth - 1), any::<bool>()).prop_map(
        |(vector, op, scalar, swap)| {
            if swap { format!("({scalar}) {op} ({vector})") } else { format!("({vector}) {op} ({scalar})") }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn print_then_parse_is_identity(text in (0..4_u32).prop_flat_map(|depth| query(ValueType::Vector, depth))) {
        let features = Features::all();
        let expr = match parse(&text, &features) {
            Ok(expr) => expr,
            // `on` and `group` may name one label.
            Err(error) if error.message().contains("ON and GROUP") => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.drawn())),
        };
        for printed in [expr.to_string(), expr.pretty()] {
            let again = parse(&printed, &features).map_err(|error| TestCaseError::fail(error.drawn()))?;
            prop_assert_eq!(again.to_json(), expr.to_json(), "{}", printed);
            prop_assert_eq!(again.to_string(), expr.to_string());
            prop_assert_eq!(again.pretty(), expr.pretty());
        }
    }
}
