//! One tokenizer of either kind.

use crate::decode::DecodeState;
use crate::error::{Error, Result};
use crate::huggingface::HuggingFace;
use crate::sentencepiece_model::SentencePiece;

pub enum Tokenizer {
    HuggingFace(HuggingFace),
    SentencePiece(SentencePiece),
}

impl Tokenizer {
    pub fn encode(&self, text: &[u8], add_special: bool, parse_special: bool) -> Result<Vec<i32>> {
        let text = String::from_utf8_lossy(text);
        match self {
            Tokenizer::HuggingFace(t) => t.encode(&text, add_special, parse_special),
            Tokenizer::SentencePiece(t) => t.encode(&text, add_special, parse_special),
        }
    }

    pub fn decode(&self, ids: &[i32], skip_special: bool) -> Result<String> {
        let mut state = self.decode_state(skip_special);
        let mut text = String::new();
        for &id in ids {
            self.push(&mut state, id, &mut text)?;
        }
        state.finish(&mut text)?;
        Ok(text)
    }

    pub fn decode_state(&self, skip_special: bool) -> DecodeState {
        match self {
            Tokenizer::HuggingFace(t) => t.decode_state(skip_special),
            Tokenizer::SentencePiece(t) => t.decode_state(skip_special),
        }
    }

    /// Appends to `out` what is certain once `id` follows the ids pushed before.
    pub fn push(&self, state: &mut DecodeState, id: i32, out: &mut String) -> Result<()> {
        match self {
            Tokenizer::HuggingFace(t) => t.push(state, id, out),
            Tokenizer::SentencePiece(t) => t.push(state, id, out),
        }
    }

    /// The greatest id + 1.
    pub fn vocab_size(&self) -> i32 {
        match self {
            Tokenizer::HuggingFace(t) => t.vocab_size(),
            Tokenizer::SentencePiece(t) => t.vocab_size(),
        }
    }

    pub fn token(&self, id: i32) -> Result<String> {
        match self {
            Tokenizer::HuggingFace(t) => t.token(id),
            Tokenizer::SentencePiece(t) => t.token(id).map(str::to_owned),
        }
        .ok_or_else(|| no_such_id(id, self.vocab_size()))
    }

    pub fn id(&self, token: &str) -> Option<i32> {
        match self {
            Tokenizer::HuggingFace(t) => t.id(token),
            Tokenizer::SentencePiece(t) => t.id(token),
        }
    }

    pub fn is_special(&self, id: i32) -> bool {
        match self {
            Tokenizer::HuggingFace(t) => t.is_special(id),
            Tokenizer::SentencePiece(t) => t.is_special(id),
        }
    }

    pub fn serialize(&self) -> Result<Vec<u8>> {
        match self {
            Tokenizer::HuggingFace(t) => t.serialize(),
            Tokenizer::SentencePiece(t) => Ok(t.serialize()),
        }
    }
}

pub fn no_such_id(id: i32, vocab_size: i32) -> Error {
    Error::argument(format!("token id must be one of the vocabulary's [0, {vocab_size}), got {id}"))
}
