//! The vocabulary of a GGUF file (tokenizer.ggml.*): a BPE becomes what a tokenizer.json gives, an
//! SPM becomes a SentencePiece model.

use ahash::AHashMap;
use serde_json::json;
use tokenizers::models::bpe::BPE;
use tokenizers::models::ModelWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, TokenizerBuilder};

use crate::decode::byte_token;
use crate::error::{Error, Result};
use crate::huggingface::{HuggingFace, Pipeline, SharedModel};
use crate::pre_tokenizers;
use crate::sentencepiece_model::{ModelProto, PieceKind, SentencePiece};
use crate::tokenizer::Tokenizer;

pub struct GgufVocab<'a> {
    pub model: &'a str,
    pub pre: &'a str,
    pub tokens: Vec<&'a str>,
    pub scores: &'a [f32],
    pub token_types: &'a [i32],
    pub merges: Vec<&'a str>,
    pub bos: Option<i32>,
    pub eos: Option<i32>,
    pub unk: Option<i32>,
    pub add_bos: bool,
    pub add_eos: bool,
    pub add_space_prefix: bool,
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

pub fn load(vocab: &GgufVocab) -> Result<Tokenizer> {
    check(vocab)?;
    match vocab.model {
        "gpt2" => load_bpe(vocab).map(Tokenizer::HuggingFace),
        "llama" => load_spm(vocab).map(Tokenizer::SentencePiece),
        other => Err(Error::unsupported(format!(
            "tokenizer.ggml.model must be \"gpt2\" or \"llama\", got {other:?}; convert the model \
             with its tokenizer.json beside it"
        ))),
    }
}

fn check(vocab: &GgufVocab) -> Result<()> {
    let count = vocab.tokens.len();
    if count == 0 || i32::try_from(count).is_err() {
        return Err(Error::model(format!(
            "tokenizer.ggml.tokens must have between 1 and 2^31 - 1 entries, got {count}"
        )));
    }
    for (name, size) in [("scores", vocab.scores.len()), ("token_type", vocab.token_types.len())] {
        if size != 0 && size != count {
            return Err(Error::model(format!(
                "tokenizer.ggml.{name} must have as many entries as tokens, {count}, got {size}"
            )));
        }
    }
    for (name, id) in [("bos", vocab.bos), ("eos", vocab.eos), ("unknown", vocab.unk)] {
        if id.is_some_and(|id| id as usize >= count) {
            return Err(Error::model(format!(
                "tokenizer.ggml.{name}_token_id must be in [0, {count}), got {}",
                id.unwrap_or_default()
            )));
        }
    }
    for (name, wanted, id) in [("bos", vocab.add_bos, vocab.bos), ("eos", vocab.add_eos, vocab.eos)]
    {
        if wanted && id.is_none() {
            return Err(Error::model(format!(
                "tokenizer.ggml.add_{name}_token is true, so there must be a {name}_token_id"
            )));
        }
    }
    Ok(())
}

/// The spelling of token `i`; converters leave some empty.
fn spelling(token: &str, i: usize) -> String {
    if token.is_empty() {
        format!("[EMPTY_{i}]")
    } else {
        token.to_owned()
    }
}

fn load_bpe(vocab: &GgufVocab) -> Result<HuggingFace> {
    let mut ids = AHashMap::with_capacity(vocab.tokens.len());
    for (i, token) in vocab.tokens.iter().enumerate() {
        if let Some(first) = ids.insert(spelling(token, i), i as u32) {
            return Err(Error::model(format!(
                "tokenizer.ggml.tokens must differ, got {token:?} at {first} and at {i}"
            )));
        }
    }
    let row = pre_tokenizers::get(vocab.pre);
    let model = BPE::builder()
        .vocab_and_merges(ids, merges(vocab)?)
        .ignore_merges(row.ignore_merges)
        .build()
        .map_err(|error| Error::model(format!("tokenizer.ggml.merges: {error}")))?;
    let mut pipeline: Pipeline = TokenizerBuilder::new()
        .with_model(SharedModel::new(ModelWrapper::BPE(model)))
        .with_normalizer(row.normalizer())
        .with_pre_tokenizer(Some(row.build()?))
        .with_post_processor(post_processor(vocab)?)
        .with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::new(false, true, false))))
        .build()
        .map_err(|error| Error::model(error.to_string()))?;
    pipeline.add_tokens(&added_tokens(vocab));
    HuggingFace::new(pipeline, Some(vocab.tokens.len() as u32 - 1), None)
}

fn merges(vocab: &GgufVocab) -> Result<Vec<(String, String)>> {
    let pair = |(i, merge): (usize, &&str)| {
        // A token may hold a space, but not start with one: the first space after a character
        // separates.
        let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
        match at.map(|at| (&merge[..at], &merge[at + 1..])) {
            Some((left, right)) if !right.is_empty() => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::model(format!(
                "tokenizer.ggml.merges[{i}] must be two tokens with a space between, got {merge:?}"
            ))),
        }
    };
    vocab.merges.iter().enumerate().map(pair).collect()
}

fn added_tokens(vocab: &GgufVocab) -> Vec<AddedToken> {
    let added = |(i, &kind): (usize, &i32)| {
        let is_added = kind == CONTROL || kind == USER_DEFINED;
        let content = || spelling(vocab.tokens[i], i);
        is_added.then(|| AddedToken::from(content(), kind == CONTROL).normalized(false))
    };
    vocab.token_types.iter().enumerate().filter_map(added).collect()
}

fn post_processor(vocab: &GgufVocab) -> Result<Option<PostProcessorWrapper>> {
    let bos = vocab.bos.filter(|_| vocab.add_bos);
    let eos = vocab.eos.filter(|_| vocab.add_eos);
    if bos.is_none() && eos.is_none() {
        return Ok(None);
    }
    let token = |id: i32| spelling(vocab.tokens[id as usize], id as usize);
    let special = |id: i32| json!({"SpecialToken": {"id": token(id), "type_id": 0}});
    let mut single = Vec::new();
    let mut tokens = serde_json::Map::new();
    single.extend(bos.map(special));
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    single.extend(eos.map(special));
    for id in bos.into_iter().chain(eos) {
        let token = token(id);
        tokens.insert(token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}));
    }
    let mut pair = single.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    let template = json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens
    });
    serde_json::from_value(template)
        .map(Some)
        .map_err(|error| Error::model(format!("beginning and end tokens: {error}")))
}

fn load_spm(vocab: &GgufVocab) -> Result<SentencePiece> {
    if vocab.scores.is_empty() {
        return Err(Error::model(
            "tokenizer.ggml.scores must be there for a vocabulary of model \"llama\", got none",
        ));
    }
    let mut proto = ModelProto::bpe(vocab.add_space_prefix);
    let mut has_bytes = false;
    for (i, token) in vocab.tokens.iter().enumerate() {
        let kind = spm_kind(vocab, i);
        has_bytes |= kind == PieceKind::Byte;
        proto.add_piece(spelling(token, i), vocab.scores[i], kind);
    }
    proto.set_byte_fallback(has_bytes);
    proto.set_ends(vocab.bos, vocab.eos, vocab.unk, vocab.add_bos, vocab.add_eos);
    SentencePiece::from_proto(proto)
}

fn spm_kind(vocab: &GgufVocab, i: usize) -> PieceKind {
    let is = |id: Option<i32>| id == Some(i as i32);
    let guess = || {
        if is(vocab.unk) {
            UNKNOWN
        } else if is(vocab.bos) || is(vocab.eos) {
            CONTROL
        } else if byte_token(vocab.tokens[i]).is_some() {
            BYTE
        } else {
            NORMAL
        }
    };
    match vocab.token_types.get(i).copied().unwrap_or_else(guess) {
        UNKNOWN => PieceKind::Unknown,
        CONTROL => PieceKind::Control,
        USER_DEFINED => PieceKind::UserDefined,
        UNUSED => PieceKind::Unused,
        BYTE => PieceKind::Byte,
        _ => PieceKind::Normal,
    }
}
