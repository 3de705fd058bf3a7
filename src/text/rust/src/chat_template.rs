//! Chat templates in the dialect of Transformers: Jinja with trim_blocks and lstrip_blocks, methods
//! of Python's types, raise_exception, strftime_now and tojson.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error as JinjaError, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::error::{Error, Result};
use crate::python_json;
use crate::strftime::strftime;

const NAME: &str = "chat_template";
const MAX_STEPS: u64 = 10_000_000;
const MAX_OUTPUT: usize = 64 << 20;
const MAX_INDENT: usize = 16;
const RAISED: &str = "raise_exception: ";

pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    pub fn new(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(print_as_python);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_recursion_limit(100);
        environment.set_fuel(Some(MAX_STEPS));
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", tojson);
        environment.add_filter("title", title);
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| Error::model(describe(&error)))?;
        Ok(ChatTemplate { environment })
    }

    /// `variables`: a JSON object. `now` in it (Unix seconds) fixes what strftime_now tells.
    pub fn render(&self, variables: &[u8]) -> Result<String> {
        let mut variables: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(variables)
                .map_err(|error| Error::argument(format!("template variables: {error}")))?;
        let now = variables.remove("now").and_then(|now| now.as_i64()).unwrap_or_else(unix_time);
        let clock = Value::from_function(move |format: &str| strftime(format, now));
        let fields =
            variables.into_iter().map(|(name, value)| (name, Value::from_serialize(value)));
        let context: Value = fields.chain([("strftime_now".to_owned(), clock)]).collect();
        let mut out = Bounded(Vec::new());
        let template =
            self.environment.get_template(NAME).map_err(|error| Error::model(describe(&error)))?;
        template.render_captured_to(context, &mut out).map_err(render_error)?;
        String::from_utf8(out.0).map_err(|error| Error::internal(error.to_string()))
    }
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other(format!("more than {MAX_OUTPUT} bytes of output")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// True, None and the items of lists as Python's str() shows them.
fn print_as_python(
    out: &mut Output,
    _: &State,
    value: &Value,
) -> std::result::Result<(), JinjaError> {
    let literal = match value.kind() {
        ValueKind::Bool | ValueKind::None | ValueKind::Seq | ValueKind::Map => {
            serde_json::to_value(value).ok()
        }
        _ => None,
    };
    match literal {
        Some(literal) => out.write_str(&python_json::to_str(&literal))?,
        None => write!(out, "{value}")?,
    }
    Ok(())
}

fn unix_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

fn raise_exception(message: &str) -> std::result::Result<String, JinjaError> {
    Err(JinjaError::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

fn tojson(value: &Value, kwargs: Kwargs) -> std::result::Result<String, JinjaError> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let fault = |text: String| JinjaError::new(ErrorKind::InvalidOperation, text);
    if indent.is_some_and(|indent| indent > MAX_INDENT) {
        return Err(fault(format!("tojson: indent must be at most {MAX_INDENT}")));
    }
    let json = serde_json::to_value(value).map_err(|error| fault(format!("tojson: {error}")))?;
    Ok(python_json::dump(&json, indent))
}

/// Jinja's own: a word starts after a blank, a hyphen or an opening bracket.
fn title(text: &str) -> String {
    let mut is_start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_start {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        is_start = c.is_whitespace() || "-({[<".contains(c);
    }
    out
}

fn render_error(error: JinjaError) -> Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(current) = cause {
        if let Some(jinja) = current.downcast_ref::<JinjaError>() {
            if let Some(message) = jinja.detail().and_then(|text| text.strip_prefix(RAISED)) {
                return Error::argument(message);
            }
            if jinja.kind() == ErrorKind::OutOfFuel {
                return Error::argument(format!("{}, more than {MAX_STEPS}", describe(jinja)));
            }
        }
        cause = current.source();
    }
    Error::argument(describe(&error))
}

/// "line 3: syntax error: unexpected end of block", with the causes.
fn describe(error: &JinjaError) -> String {
    let mut text = match error.line() {
        Some(line) => format!("line {line}: {}", error.kind()),
        None => error.kind().to_string(),
    };
    if let Some(detail) = error.detail() {
        text += &format!(": {detail}");
    }
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        text += &format!(": {current}");
        cause = current.source();
    }
    text
}

/// Transformers marks the assistant's words with {% generation %} … {% endgeneration %}, for
/// training. Here the tags become ones without effect.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let name = tag.trim_matches(|c: char| "{%-+}".contains(c) || c.is_whitespace());
        match name {
            "generation" => out.push_str(&tag.replace(name, "if true")),
            "endgeneration" => out.push_str(&tag.replace(name, "endif")),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
