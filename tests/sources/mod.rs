//! What the sources say, for rules that no run can show: a feature that is not used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Whether the code under `src` (comments and docs apart) holds any of these words.
pub(crate) fn mention(words: &[&str]) -> bool {
    let sources = sources_of(Path::new("src"));
    assert!(sources.len() > 10, "the sources were not found");
    sources.iter().any(|path| {
        let code = code_of(path);
        words.iter().any(|word| code.contains(word))
    })
}

/// The operations `src/ring` makes, by the name io-uring gives them.
pub(crate) fn ring_operations() -> Vec<String> {
    let mut operations = Operations(BTreeSet::new());
    for path in sources_of(Path::new("src/ring")) {
        operations.visit_file(&parse(&path));
    }
    operations.0.into_iter().collect()
}

/// The last argument of every call of `method` in one file.
pub(crate) fn last_argument(path: &str, method: &str) -> Vec<String> {
    let mut arguments = LastArguments { method, found: Vec::new() };
    arguments.visit_file(&parse(Path::new(path)));
    arguments.found
}

struct Operations(BTreeSet<String>);

impl Visit<'_> for Operations {
    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        let after = names.iter().position(|name| name == "opcode").map(|index| index + 1);
        self.0.extend(after.and_then(|index| names.get(index).cloned()));
        visit::visit_path(self, path);
    }
}

struct LastArguments<'a> {
    method: &'a str,
    found: Vec<String>,
}

impl Visit<'_> for LastArguments<'_> {
    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        if call.method == self.method {
            let text = match call.args.last() {
                Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. })) => {
                    number.base10_digits().to_owned()
                }
                _ => "not a number".to_owned(),
            };
            self.found.push(text);
        }
        visit::visit_expr_method_call(self, call);
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn parse(path: &Path) -> syn::File {
    let text = std::fs::read_to_string(root().join(path)).expect("a source file");
    syn::parse_file(&text).expect("a source that compiles")
}

/// A file's lines without those that are comments.
fn code_of(path: &Path) -> String {
    let text = std::fs::read_to_string(root().join(path)).expect("a source file");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn sources_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).expect("a folder of sources") {
        let entry = entry.expect("a readable folder");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(sources_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
