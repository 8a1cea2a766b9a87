//! Holds the sources to what `ARCHITECTURE.md` says: which module imports which, where unsafe code
//! lives, how long files and functions get, and that each file says what it is for.
//!
//! The rules are read from the document, so that it cannot drift away from the code. Paths are
//! found among the tokens of a file, not among its items: what stands inside a macro counts too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;

#[test]
fn modules_import_what_the_table_allows() {
    let rows = table();
    let mut faults = Vec::new();
    for file in sources(&["src", "bench"]) {
        let paths = paths(&file.tokens(), &file.module);
        faults.extend(import_faults(&file, &paths, &rows));
    }
    report(&faults);
}

#[test]
fn the_table_names_every_module_and_allows_nothing_unused() {
    let rows = table();
    let mut used: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for file in sources(&["src", "bench"]) {
        let found = paths(&file.tokens(), &file.module);
        let inner = found.into_iter().filter_map(|found| inner(&found.path, &file.module));
        used.entry(file.top().to_owned()).or_default().extend(inner);
    }
    used.remove("lib");
    let mut faults = Vec::new();
    for module in used.keys().filter(|module| !rows.contains_key(*module)) {
        faults.push(format!("the table has no row for {module}"));
    }
    for (module, row) in &rows {
        let Some(paths) = used.get(module) else {
            faults.push(format!("the table has a row for {module}, which does not exist"));
            continue;
        };
        for grant in &row.may_import {
            if !paths.iter().any(|path| path.starts_with(grant)) {
                faults.push(format!("{module} may import {}, but does not", grant.join("::")));
            }
        }
    }
    report(&faults);
}

#[test]
fn unsafe_code_lives_in_the_named_files() {
    let named: BTreeSet<_> = code_spans(&section("unsafe")).into_iter().collect();
    let mut found = BTreeSet::new();
    for file in sources(&["src", "bench", "build.rs"]) {
        if first_unsafe(file.tokens()).is_some() {
            found.insert(file.name);
        }
    }
    let surplus = found.difference(&named).map(|name| format!("{name} holds unsafe code"));
    let stale = named.difference(&found).map(|name| format!("{name} holds no unsafe code"));
    report(&surplus.chain(stale).collect::<Vec<_>>());
}

#[test]
fn files_and_functions_stay_short_and_files_say_what_they_are_for() {
    let mut faults = Vec::new();
    for file in sources(&["src", "bench", "benches", "examples", "tests", "build.rs"]) {
        faults.extend(text_faults(&file.text));
        faults.extend(long_functions(&file.text));
        for fault in faults.iter_mut().filter(|fault| fault.starts_with(':')) {
            fault.insert_str(0, &file.name);
        }
    }
    report(&faults);
}

/// One row of the table of modules.
#[derive(Debug, Default)]
struct Row {
    /// Paths inside the crate; each allows what lies below it.
    may_import: Vec<Vec<String>>,
    /// Paths outside of it; each forbids what lies below it.
    must_not: Vec<Vec<String>>,
}

/// The table of modules, by module.
fn table() -> BTreeMap<String, Row> {
    parse_table(&section("modules"))
}

fn parse_table(text: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<_> = line.trim_matches('|').split('|').collect();
        let [modules, _, may_import, must_not] = columns[..] else {
            panic!("a row has four columns: {line}");
        };
        let split = |column| {
            let spans = code_spans(column).into_iter();
            spans.map(|span| span.split("::").map(str::to_owned).collect()).collect()
        };
        for module in code_spans(modules) {
            let row = Row { may_import: split(may_import), must_not: split(must_not) };
            assert!(rows.insert(module.clone(), row).is_none(), "{module} has two rows");
        }
    }
    assert!(!rows.is_empty(), "the table has no rows");
    rows
}

/// What `ARCHITECTURE.md` has between the markers of this name.
fn section(name: &str) -> String {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document exists");
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let section = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    section.unwrap_or_else(|| panic!("ARCHITECTURE.md lacks {begin} or {end}")).0.to_owned()
}

/// The texts between backticks.
fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A file of ours.
struct Source {
    /// Its path from the root.
    name: String,
    /// Where its items live: `["ring", "fd"]`; `["lib"]`, `["main"]` and `["bench"]` stand for
    /// themselves.
    module: Vec<String>,
    text: String,
}

impl Source {
    fn tokens(&self) -> TokenStream {
        self.text.parse().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The row of the table it belongs to.
    fn top(&self) -> &str {
        &self.module[0]
    }
}

/// Every Rust file below `places`.
fn sources(places: &[&str]) -> Vec<Source> {
    let mut names = Vec::new();
    for place in places {
        walk(Path::new(place), &mut names);
    }
    names.sort();
    let read = |name: PathBuf| Source {
        text: fs::read_to_string(root().join(&name)).expect("it was listed"),
        module: module_of(&name),
        name: name.to_str().expect("names are ASCII").to_owned(),
    };
    names.into_iter().map(read).collect()
}

fn walk(name: &Path, names: &mut Vec<PathBuf>) {
    let path = root().join(name);
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("it was listed") {
            walk(&name.join(entry.expect("readable").file_name()), names);
        }
    } else if name.extension().is_some_and(|extension| extension == "rs") {
        names.push(name.to_owned());
    }
}

fn module_of(name: &Path) -> Vec<String> {
    let text = name.with_extension("");
    let mut module: Vec<_> = text.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    // Files of another package keep their whole path: its first part names their row.
    if module[0] == "src" {
        module.remove(0);
    }
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// A path of two or more segments, as written.
#[derive(Debug)]
struct Found {
    line: usize,
    path: Vec<String>,
    /// The inline modules around it, within the file's own.
    inline: Vec<String>,
}

/// Every path among the tokens of a file, use trees spread out.
fn paths(tokens: &TokenStream, module: &[String]) -> Vec<Found> {
    let mut found = Vec::new();
    collect(tokens.clone(), module, &mut found);
    found
}

fn collect(tokens: TokenStream, inline: &[String], found: &mut Vec<Found>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index..] {
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
                if word == "mod" && body.delimiter() == Delimiter::Brace =>
            {
                collect(body.stream(), &[inline, &[name.to_string()]].concat(), found);
                index += 3;
            }
            [TokenTree::Ident(_), ..] => {
                index += read_path(&tokens[index..], &[], inline, found);
            }
            [TokenTree::Group(group), ..] => {
                collect(group.stream(), inline, found);
                index += 1;
            }
            _ => index += 1,
        }
    }
}

/// Reads one path (or use tree) below `prefix` and says how many tokens it took.
fn read_path(
    tokens: &[TokenTree],
    prefix: &[String],
    inline: &[String],
    found: &mut Vec<Found>,
) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens.first().map_or(0, |token| token.span().start().line);
    let mut index = 0;
    loop {
        match tokens.get(index) {
            Some(TokenTree::Ident(ident)) => path.push(ident.to_string()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' && !path.is_empty() => {
                path.push("*".to_owned());
            }
            Some(TokenTree::Group(tree)) if index > 0 && tree.delimiter() == Delimiter::Brace => {
                let entries: Vec<_> = tree.stream().into_iter().collect();
                for entry in entries.split(|token| is_punct(token, ',')) {
                    read_path(entry, &path, inline, found);
                }
                return index + 1;
            }
            _ => break,
        }
        index += 1;
        let is_path = |token: Option<&TokenTree>| token.is_some_and(|token| is_punct(token, ':'));
        if !(is_path(tokens.get(index)) && is_path(tokens.get(index + 1))) {
            break;
        }
        index += 2;
    }
    if path.len() > 1 {
        found.push(Found { line, path, inline: inline.to_vec() });
    }
    index.max(1)
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// The path from the crate's root, if it leads into the crate from a file of `module`. Paths of
/// `bench` into the library count as such.
fn inner(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let outside = ["main", "bench"].contains(&module[0].as_str());
    match first.as_str() {
        "crate" if !outside => Some(rest.to_vec()),
        "tidegate" if outside => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        // A package's own structure is no matter of the table's, and `super` cannot leave it.
        "super" if outside => None,
        "super" => {
            let (_, parent) = module.split_last()?;
            match rest.first().map(String::as_str) {
                Some("super") => inner(rest, parent),
                _ => Some([parent, rest].concat()),
            }
        }
        _ => None,
    }
}

fn import_faults(file: &Source, paths: &[Found], rows: &BTreeMap<String, Row>) -> Vec<String> {
    let unknown = Row::default();
    let row = rows.get(file.top()).unwrap_or(&unknown);
    let mut faults = Vec::new();
    for Found { line, path, inline } in paths {
        let forbidden = match inner(path, inline) {
            Some(inner) => {
                let own = inner.first().is_some_and(|top| top == file.top());
                !own && !row.may_import.iter().any(|grant| inner.starts_with(grant))
            }
            None => row.must_not.iter().any(|outside| path.starts_with(outside)),
        };
        if forbidden {
            let (name, top, path) = (&file.name, file.top(), path.join("::"));
            faults.push(format!("{name}:{line}: the table does not allow {top} to use {path}"));
        }
    }
    faults
}

/// The line of the first `unsafe`, macros included, comments and texts not.
fn first_unsafe(tokens: TokenStream) -> Option<usize> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == "unsafe" => Some(ident.span().start().line),
        TokenTree::Group(group) => first_unsafe(group.stream()),
        _ => None,
    })
}

/// Faults of a file's text, each beginning with the colon before the line.
fn text_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push(":1: the file does not begin with its module doc".to_owned());
    }
    let count = text.lines().count();
    if count >= FILE_LINES {
        faults.push(format!(":{count}: a file stays under {FILE_LINES} lines"));
    }
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim_start().starts_with("//") && text.chars().count() > WIDTH {
            faults.push(format!(":{line}: the comment is wider than {WIDTH}"));
        }
    }
    faults
}

fn long_functions(text: &str) -> Vec<String> {
    struct Lengths(Vec<String>);
    impl Lengths {
        fn check(&mut self, signature: &syn::Signature, body: &syn::Block) {
            let line = signature.span().start().line;
            let count = body.span().end().line + 1 - line;
            if count >= FUNCTION_LINES {
                let name = &signature.ident;
                let text = format!("{name} has {count} lines; under {FUNCTION_LINES} are allowed");
                self.0.push(format!(":{line}: {text}"));
            }
        }
    }
    impl<'a> Visit<'a> for Lengths {
        fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
            self.check(&item.sig, &item.block);
            syn::visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
            self.check(&item.sig, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
        fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
            if let Some(body) = &item.default {
                self.check(&item.sig, body);
            }
            syn::visit::visit_trait_item_fn(self, item);
        }
    }
    let mut lengths = Lengths(Vec::new());
    lengths.visit_file(&syn::parse_file(text).expect("it compiles"));
    lengths.0
}

/// A file has fewer lines.
const FILE_LINES: usize = 500;

/// A function has fewer lines, from its signature to its last brace.
const FUNCTION_LINES: usize = 70;

/// Columns of a comment; rustfmt sees to the code.
const WIDTH: usize = 100;

/// The faults the table below finds in `text`, a file of `module`.
fn faults_of(module: &[&str], text: &str) -> Vec<String> {
    let rows = parse_table(
        "| `hub` | channels | `limits`, `ring::fd` | `std::net` |\n| `bench` | - | `ws` | - |\n",
    );
    let module: Vec<_> = module.iter().map(|part| (*part).to_owned()).collect();
    let file = Source { name: "x".to_owned(), module, text: text.to_owned() };
    import_faults(&file, &paths(&file.tokens(), &file.module), &rows)
}

#[test]
fn forbidden_paths_are_found_wherever_they_stand() {
    for text in [
        "use crate::ring;",
        "use crate::{limits, ring::{fd, Driver}};",
        "use crate::*;",
        "pub use super::super::ring::Driver;",
        "mod tests { use super::super::super::ring::Driver; }",
        "fn f() { let _ = crate::ring::probe(); }",
        "fn f() { assert!(crate::ring::probe()); }",
        "type T = Option<crate::ring::Sock>;",
        "use std::{io, net::IpAddr};",
        "fn f(_: std::net::IpAddr) {}",
    ] {
        assert_eq!(faults_of(&["hub", "members"], text).len(), 1, "{text}");
    }
    assert_eq!(faults_of(&["bench"], "use tidegate::{ring, ws};").len(), 1);
    assert_eq!(faults_of(&["session"], "use crate::limits;").len(), 1, "no row allows nothing");
}

#[test]
fn allowed_paths_are_not() {
    for text in [
        "use crate::{limits, ring::fd::{self, AcceptFault}};",
        "use super::{Member, stream::Stream}; use self::inner::X;",
        "use crate::hub::Hub; mod tests { use super::*; use super::super::stream::Stream; }",
        "pub(crate) fn f() -> std::io::Result<()> { Vec::<u8>::new(); Ok(()) }",
        "//! Not crate::ring.\nconst T: &str = \"crate::ring\";",
    ] {
        assert_eq!(faults_of(&["hub", "members"], text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn each_limit_is_found_at_its_boundary() {
    let lines = |count: usize| "//! Doc.\n".to_owned() + &"// x\n".repeat(count - 1);
    assert!(text_faults(&lines(FILE_LINES - 1)).is_empty());
    assert_eq!(text_faults(&lines(FILE_LINES)).len(), 1);
    assert_eq!(text_faults("use std::io;\n").len(), 1, "no doc");
    let comment = |width: usize| format!("//! Doc.\n    // {}\n", "ü".repeat(width - 7));
    assert!(text_faults(&comment(WIDTH)).is_empty());
    assert_eq!(text_faults(&comment(WIDTH + 1)).len(), 1);
    let body = |count: usize| "\n".repeat(count - 1);
    for form in ["fn f() {BODY}", "impl X { fn f() {BODY} }", "trait X { fn f() {BODY} }"] {
        assert!(long_functions(&form.replace("BODY", &body(FUNCTION_LINES - 1))).is_empty());
        assert_eq!(long_functions(&form.replace("BODY", &body(FUNCTION_LINES))).len(), 1, "{form}");
    }
}

#[test]
fn unsafe_is_found_in_macros_and_not_in_texts() {
    let line = |text: &str| first_unsafe(text.parse().expect("tokens"));
    assert_eq!(line("fn f() {\n m!(unsafe { g() }) }"), Some(2));
    assert_eq!(line("#![forbid(unsafe_code)] // unsafe\nconst T: &str = \"unsafe\";"), None);
}
