//! tokenizer.json by the crate `tokenizers`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahash::AHashSet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tokenizers::models::bpe::BPE;
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::{
    AddedToken, DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Token, TokenizerBuilder, TokenizerImpl,
};

use crate::decode::DecodeState;
use crate::error::{Error, Result};
use crate::tokenizer::no_such_id;

pub type Pipeline = TokenizerImpl<
    SharedModel,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// The vocabulary, shared by the two pipelines of a tokenizer.
#[derive(Clone)]
pub struct SharedModel(Arc<ModelWrapper>);

impl SharedModel {
    pub fn new(mut model: ModelWrapper) -> Self {
        if let ModelWrapper::BPE(bpe) = &mut model {
            bpe.dropout = None; // for training; encoding is a function
        }
        SharedModel(Arc::new(model))
    }
}

impl Model for SharedModel {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, sequence: &str) -> tokenizers::Result<Vec<Token>> {
        self.0.tokenize(sequence)
    }
    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }
    fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.id_to_token(id)
    }
    fn get_vocab(&self) -> HashMap<String, u32> {
        self.0.get_vocab()
    }
    fn get_vocab_size(&self) -> usize {
        self.0.get_vocab_size()
    }
    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        self.0.save(folder, prefix)
    }
    fn get_trainer(&self) -> TrainerWrapper {
        self.0.get_trainer()
    }
}

impl Serialize for SharedModel {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A BPE is read straight from its text; the crate's way through a tree of values takes three times
/// as long.
impl<'de> Deserialize<'de> for SharedModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let fault = |error| D::Error::custom(format!("model: {error}"));
        let model = match serde_json::from_str::<BPE>(text) {
            Ok(bpe) => ModelWrapper::BPE(bpe),
            Err(error) => match kind_of_model(text).map_err(fault)?.as_deref() {
                Some("BPE") => return Err(fault(error)),
                Some("WordPiece" | "WordLevel" | "Unigram") | None => {
                    serde_json::from_str(text).map_err(fault)?
                }
                Some(other) => {
                    return Err(D::Error::custom(format!(
                        "model: type must be BPE, WordPiece, WordLevel or Unigram, got {other:?}"
                    )))
                }
            },
        };
        Ok(SharedModel::new(model))
    }
}

fn kind_of_model(text: &str) -> serde_json::Result<Option<String>> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    serde_json::from_str::<Kind>(text).map(|kind| kind.kind)
}

/// A tokenizer.json but for truncation and padding, which are a caller's business.
#[derive(Deserialize)]
struct File {
    version: Option<String>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    model: SharedModel,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

pub struct HuggingFace {
    parsing: Pipeline, // text that spells a special token becomes that token
    plain: Pipeline,   // ... stays text
    special: AHashSet<u32>,
    vocab_size: i32,
    source: Option<Vec<u8>>, // the tokenizer.json it was made from
}

impl HuggingFace {
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let fault = |text: String| Error::model(format!("tokenizer.json: {text}"));
        let file: File = serde_json::from_slice(json).map_err(|error| fault(error.to_string()))?;
        if let Some(version) = file.version.filter(|version| version != "1.0") {
            return Err(fault(format!("version must be \"1.0\", got {version:?}")));
        }
        let mut pipeline: Pipeline = TokenizerBuilder::new()
            .with_model(file.model)
            .with_normalizer(file.normalizer)
            .with_pre_tokenizer(file.pre_tokenizer)
            .with_post_processor(file.post_processor)
            .with_decoder(file.decoder)
            .build()
            .map_err(|error| fault(error.to_string()))?;
        let (ids, tokens): (Vec<u32>, Vec<AddedToken>) =
            file.added_tokens.into_iter().map(|added| (added.id, added.token)).unzip();
        pipeline.add_tokens(&tokens);
        check_added_tokens(&ids, &tokens, &pipeline)?;
        let greatest = pipeline.get_vocab(true).values().copied().max();
        Self::new(pipeline, greatest, Some(json.to_vec()))
    }

    /// `greatest`: the last id of the vocabulary with added tokens.
    pub fn new(pipeline: Pipeline, greatest: Option<u32>, source: Option<Vec<u8>>) -> Result<Self> {
        let vocab_size = match greatest {
            None => return Err(Error::model("the vocabulary must not be empty")),
            Some(id) => i32::try_from(u64::from(id) + 1)
                .map_err(|_| Error::model(format!("ids must be below 2^31 - 1, got {id}")))?,
        };
        let added = pipeline.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let mut plain = pipeline.clone();
        plain.set_encode_special_tokens(true);
        let result = HuggingFace { parsing: pipeline, plain, special, vocab_size, source };
        result.encode("", true, true)?; // a post-processor with ids that the vocabulary lacks
        Ok(result)
    }

    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<i32>> {
        let pipeline = if parse_special { &self.parsing } else { &self.plain };
        let encoding = pipeline
            .encode_fast(text, add_special)
            .map_err(|error| Error::model(format!("encoding failed: {error}")))?;
        let known = |&id: &u32| match i32::try_from(id) {
            Ok(id) if id < self.vocab_size => Ok(id),
            _ => Err(Error::model(format!(
                "post_processor: ids must be below the vocabulary's {}, got {id}",
                self.vocab_size
            ))),
        };
        encoding.get_ids().iter().map(known).collect()
    }

    pub fn decode_state(&self, skip_special: bool) -> DecodeState {
        DecodeState::huggingface(self.parsing.get_decoder(), skip_special)
    }

    pub fn push(&self, state: &mut DecodeState, id: i32, out: &mut String) -> Result<()> {
        let Some(token) = self.token(id) else {
            return if (0..self.vocab_size).contains(&id) {
                Ok(()) // a hole in the numbering
            } else {
                Err(no_such_id(id, self.vocab_size))
            };
        };
        if state.skip_special && self.is_special(id) {
            return Ok(());
        }
        state.push_token(&token, out)
    }

    pub fn vocab_size(&self) -> i32 {
        self.vocab_size
    }

    pub fn token(&self, id: i32) -> Option<String> {
        self.parsing.id_to_token(u32::try_from(id).ok()?)
    }

    pub fn id(&self, token: &str) -> Option<i32> {
        self.parsing.token_to_id(token).and_then(|id| i32::try_from(id).ok())
    }

    pub fn is_special(&self, id: i32) -> bool {
        u32::try_from(id).is_ok_and(|id| self.special.contains(&id))
    }

    pub fn serialize(&self) -> Result<Vec<u8>> {
        match &self.source {
            Some(json) => Ok(json.clone()),
            None => serde_json::to_vec(&self.parsing)
                .map_err(|error| Error::internal(format!("writing tokenizer.json: {error}"))),
        }
    }
}

/// The crate numbers added tokens itself and only logs when the file says otherwise; prompts would
/// then be of other ids than the model's.
fn check_added_tokens(ids: &[u32], tokens: &[AddedToken], pipeline: &Pipeline) -> Result<()> {
    for (id, token) in ids.iter().zip(tokens) {
        let got = pipeline.token_to_id(&token.content);
        if got != Some(*id) && !token.content.is_empty() {
            return Err(Error::model(format!(
                "tokenizer.json: added_tokens: {:?} must have the id {}, got {id}; ids of added \
                 tokens follow the vocabulary without gaps",
                token.content,
                got.map_or("none".to_owned(), |got| got.to_string()),
            )));
        }
    }
    Ok(())
}
