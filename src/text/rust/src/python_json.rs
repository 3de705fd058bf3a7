//! JSON as Python's json.dumps(ensure_ascii=False) writes it, which is what templates were made with.

use serde_json::Value;

/// `indent`: spaces a level; none: one line.
pub fn dump(value: &Value, indent: Option<usize>) -> String {
    let mut out = String::new();
    write(value, indent, 0, &mut out);
    out
}

fn write(value: &Value, indent: Option<usize>, level: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                separate(i, indent, level + 1, out);
                write(item, indent, level + 1, out);
            }
            close(']', indent, level, out);
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('{');
            for (i, (name, item)) in fields.iter().enumerate() {
                separate(i, indent, level + 1, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                write(item, indent, level + 1, out);
            }
            close('}', indent, level, out);
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn separate(i: usize, indent: Option<usize>, level: usize, out: &mut String) {
    match indent {
        Some(width) => {
            out.push_str(if i > 0 { ",\n" } else { "\n" });
            out.push_str(&" ".repeat(width * level));
        }
        None => out.push_str(if i > 0 { ", " } else { "" }),
    }
}

fn close(bracket: char, indent: Option<usize>, level: usize, out: &mut String) {
    if let Some(width) = indent {
        out.push('\n');
        out.push_str(&" ".repeat(width * level));
    }
    out.push(bracket);
}
