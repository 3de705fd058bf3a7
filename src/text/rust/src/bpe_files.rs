//! vocab.json and merges.txt of a byte-level BPE -> the tokenizer.json that they stand for.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{json, Map, Value};

use crate::error::{Error, Result};
use crate::pre_tokenizers;

pub fn to_tokenizer_json(
    vocab_json: &str,
    merges: &str,
    pre: &str,
    special_tokens: &[&str],
) -> Result<String> {
    let fault = |error: serde_json::Error| Error::model(format!("vocab.json: {error}"));
    let raw: &RawValue = serde_json::from_str(vocab_json).map_err(fault)?;
    let vocab: Map<String, Value> = Map::deserialize(raw).map_err(fault)?;

    let mut added: Vec<(u64, &str)> = Vec::new();
    let mut next = vocab.values().filter_map(Value::as_u64).max().map_or(0, |id| id + 1);
    for token in special_tokens {
        let id = vocab.get(*token).and_then(Value::as_u64).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        added.push((id, token));
    }
    added.sort_unstable();
    let added: Vec<Value> = added.iter().map(|(id, token)| special(*id, token)).collect();

    let row = pre_tokenizers::get(pre);
    let part = |value: serde_json::Result<Value>| {
        value.map_err(|error| Error::internal(format!("tokenizer.json: {error}")))
    };
    let head = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": part(serde_json::to_value(row.normalizer()))?,
        "pre_tokenizer": part(serde_json::to_value(row.build()?))?,
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
        },
    });
    let merges = part(serde_json::to_value(pairs(merges)?))?;
    let model = format!(
        "{{\"type\":\"BPE\",\"ignore_merges\":{},\"vocab\":{},\"merges\":{merges}}}",
        row.ignore_merges,
        raw.get(),
    );
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or_default();
    Ok(format!("{open},\"model\":{model}}}"))
}

fn special(id: u64, token: &str) -> Value {
    json!({
        "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    })
}

fn pairs(merges: &str) -> Result<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    for (i, line) in merges.lines().enumerate() {
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains(' ') =>
            {
                pairs.push((left, right));
            }
            _ => {
                return Err(Error::model(format!(
                    "merges.txt: line {} must be two tokens with a space between, got {line:?}",
                    i + 1
                )))
            }
        }
    }
    Ok(pairs)
}
