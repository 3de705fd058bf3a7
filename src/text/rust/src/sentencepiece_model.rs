//! SentencePiece models: encoding by the C++ library (through the crate `sentencepiece`), the
//! vocabulary and decoding from the model's own message.

use ahash::{AHashMap, AHashSet};
use aho_corasick::{AhoCorasick, MatchKind};
use prost::Message;
use sentencepiece::SentencePieceProcessor;

use crate::decode::{byte_token, DecodeState, Piece, PieceRules};
use crate::error::{Error, Result};
use crate::tokenizer::no_such_id;

const UNK_SURFACE: &str = " \u{2047} ";

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum PieceKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// The parts of sentencepiece_model.proto that matter here.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceProto>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerProto>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerProto>,
    #[prost(message, optional, tag = "5")]
    denormalizer: Option<NormalizerProto>,
    /// Ours, in the range the format leaves to extensions: what goes around a text. Bit 0: the
    /// beginning token, bit 1: the end token. Absent: the beginning token, if there is one.
    #[prost(uint32, optional, tag = "30001")]
    ends: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct PieceProto {
    #[prost(string, tag = "1")]
    piece: String,
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(enumeration = "PieceKind", optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerProto {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40")]
    unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    eos_id: Option<i32>,
    #[prost(int32, optional, tag = "43")]
    pad_id: Option<i32>,
    #[prost(string, optional, tag = "44")]
    unk_surface: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerProto {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

const MODEL_TYPE_BPE: i32 = 2;

impl ModelProto {
    /// An empty model of the LLaMA kind: merges by score, text as it stands.
    pub fn bpe(add_dummy_prefix: bool) -> Self {
        let trainer = TrainerProto { model_type: Some(MODEL_TYPE_BPE), ..Default::default() };
        let normalizer = NormalizerProto {
            name: Some("identity".to_owned()),
            add_dummy_prefix: Some(add_dummy_prefix),
            remove_extra_whitespaces: Some(false),
            escape_whitespaces: Some(true),
            ..Default::default()
        };
        ModelProto { trainer: Some(trainer), normalizer: Some(normalizer), ..Default::default() }
    }

    pub fn add_piece(&mut self, piece: String, score: f32, kind: PieceKind) {
        self.pieces.push(PieceProto { piece, score, kind: Some(kind as i32) });
    }

    pub fn set_byte_fallback(&mut self, on: bool) {
        self.trainer.get_or_insert_with(Default::default).byte_fallback = Some(on);
    }

    pub fn set_ends(
        &mut self,
        bos: Option<i32>,
        eos: Option<i32>,
        unk: Option<i32>,
        add_bos: bool,
        add_eos: bool,
    ) {
        let trainer = self.trainer.get_or_insert_with(Default::default);
        trainer.bos_id = Some(bos.unwrap_or(-1));
        trainer.eos_id = Some(eos.unwrap_or(-1));
        trainer.pad_id = Some(-1);
        trainer.unk_id = unk;
        self.ends = Some(u32::from(add_bos) | u32::from(add_eos) << 1);
    }
}

pub struct SentencePiece {
    processor: SentencePieceProcessor,
    pieces: Vec<(Box<str>, PieceKind)>,
    ids: AHashMap<Box<str>, i32>,
    special: Option<SpecialTokens>,
    rules: PieceRules,
    before: Option<i32>,
    after: Option<i32>,
    model: Vec<u8>,
}

/// Control symbols, where a text spells them.
struct SpecialTokens {
    finder: AhoCorasick,
    ids: Vec<i32>,
}

impl SentencePiece {
    pub fn from_bytes(model: &[u8]) -> Result<Self> {
        let proto = ModelProto::decode(model).map_err(|error| {
            Error::model(format!("a SentencePiece model must be a ModelProto: {error}"))
        })?;
        Self::new(proto, model.to_vec())
    }

    pub fn from_proto(proto: ModelProto) -> Result<Self> {
        let model = proto.encode_to_vec();
        Self::new(proto, model)
    }

    fn new(proto: ModelProto, model: Vec<u8>) -> Result<Self> {
        check(&proto)?;
        let processor = SentencePieceProcessor::from_serialized_proto(&model)
            .map_err(|error| Error::model(format!("the SentencePiece library says: {error}")))?;
        let trainer = proto.trainer.clone().unwrap_or_default();
        let normalizer = proto.normalizer.clone().unwrap_or_default();
        let rules = PieceRules {
            add_dummy_prefix: normalizer.add_dummy_prefix.unwrap_or(true),
            remove_extra_whitespaces: normalizer.remove_extra_whitespaces.unwrap_or(true),
            unk_surface: trainer.unk_surface.clone().unwrap_or_else(|| UNK_SURFACE.to_owned()),
        };
        let pieces: Vec<(Box<str>, PieceKind)> =
            proto.pieces.iter().map(|p| (p.piece.as_str().into(), kind_of(p))).collect();
        let ids = pieces.iter().zip(0..).map(|((piece, _), id)| (piece.clone(), id)).collect();
        let special = SpecialTokens::new(&pieces)?;
        let control = |id: Option<i32>, otherwise: i32| {
            let id = id.unwrap_or(otherwise);
            let piece = usize::try_from(id).ok().and_then(|id| pieces.get(id));
            piece.is_some_and(|(_, kind)| *kind == PieceKind::Control).then_some(id)
        };
        let (bos, eos) = (control(trainer.bos_id, 1), control(trainer.eos_id, 2));
        let ends = proto.ends.unwrap_or(1);
        let before = bos.or(trainer.bos_id.filter(|&id| id >= 0 && proto.ends.is_some()));
        let after = eos.or(trainer.eos_id.filter(|&id| id >= 0 && proto.ends.is_some()));
        Ok(SentencePiece {
            processor,
            ids,
            special,
            rules,
            before: before.filter(|_| ends & 1 != 0),
            after: after.filter(|_| ends & 2 != 0),
            pieces,
            model,
        })
    }

    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<i32>> {
        let mut ids = Vec::new();
        ids.extend(self.before.filter(|_| add_special));
        let mut start = 0;
        if let Some(special) = self.special.as_ref().filter(|_| parse_special) {
            for found in special.finder.find_iter(text) {
                self.encode_plain(&text[start..found.start()], &mut ids)?;
                ids.push(special.ids[found.pattern().as_usize()]);
                start = found.end();
            }
        }
        self.encode_plain(&text[start..], &mut ids)?;
        ids.extend(self.after.filter(|_| add_special));
        Ok(ids)
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<i32>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let pieces = self
            .processor
            .encode(text)
            .map_err(|error| Error::model(format!("encoding failed: {error}")))?;
        ids.extend(pieces.iter().map(|piece| piece.id as i32));
        Ok(())
    }

    pub fn decode_state(&self, skip_special: bool) -> DecodeState {
        DecodeState::sentencepiece(self.rules.clone(), skip_special)
    }

    pub fn push(&self, state: &mut DecodeState, id: i32, out: &mut String) -> Result<()> {
        let entry = usize::try_from(id).ok().and_then(|id| self.pieces.get(id));
        let Some((piece, kind)) = entry else { return Err(no_such_id(id, self.vocab_size())) };
        let piece = match kind {
            PieceKind::Control if state.skip_special => Piece::Hidden,
            PieceKind::Control => Piece::Control(piece),
            PieceKind::Unknown => Piece::Unknown,
            PieceKind::Byte => byte_token(piece).map_or(Piece::Hidden, Piece::Byte),
            _ => Piece::Text(piece),
        };
        state.push_piece(piece, out);
        Ok(())
    }

    pub fn vocab_size(&self) -> i32 {
        self.pieces.len() as i32
    }

    pub fn token(&self, id: i32) -> Option<&str> {
        self.pieces.get(usize::try_from(id).ok()?).map(|(piece, _)| &**piece)
    }

    pub fn id(&self, token: &str) -> Option<i32> {
        self.ids.get(token).copied()
    }

    pub fn is_special(&self, id: i32) -> bool {
        let piece = usize::try_from(id).ok().and_then(|id| self.pieces.get(id));
        piece.is_some_and(|(_, kind)| *kind == PieceKind::Control)
    }

    pub fn serialize(&self) -> Vec<u8> {
        self.model.clone()
    }
}

impl SpecialTokens {
    fn new(pieces: &[(Box<str>, PieceKind)]) -> Result<Option<Self>> {
        let control = pieces.iter().zip(0..).filter(|((_, kind), _)| *kind == PieceKind::Control);
        let (names, ids): (Vec<&str>, Vec<i32>) =
            control.map(|((piece, _), id)| (&**piece, id)).unzip();
        if ids.is_empty() {
            return Ok(None);
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(names)
            .map_err(|error| Error::model(format!("control symbols: {error}")))?;
        Ok(Some(SpecialTokens { finder, ids }))
    }
}

fn kind_of(piece: &PieceProto) -> PieceKind {
    piece.kind.and_then(|kind| PieceKind::try_from(kind).ok()).unwrap_or(PieceKind::Normal)
}

/// What the C++ library takes on trust or reports without a name.
fn check(proto: &ModelProto) -> Result<()> {
    if proto.pieces.is_empty() || i32::try_from(proto.pieces.len()).is_err() {
        return Err(Error::model(format!(
            "a SentencePiece model must have between 1 and 2^31 - 1 pieces, got {}",
            proto.pieces.len()
        )));
    }
    let mut seen = AHashSet::with_capacity(proto.pieces.len());
    let mut bytes = 0;
    let mut unknown = 0;
    for (i, piece) in proto.pieces.iter().enumerate() {
        let text = piece.piece.as_str();
        if text.is_empty() || text.contains('\0') {
            return Err(Error::model(format!(
                "piece {i} must be a text without NUL bytes, got {text:?}"
            )));
        }
        if !seen.insert(text) {
            return Err(Error::model(format!("pieces must differ, got {text:?} again at {i}")));
        }
        if !piece.score.is_finite() {
            return Err(Error::model(format!(
                "the score of piece {i} must be finite, got {}",
                piece.score
            )));
        }
        match kind_of(piece) {
            PieceKind::Unknown => unknown += 1,
            PieceKind::Byte if byte_token(text).is_none() => {
                return Err(Error::model(format!(
                    "piece {i} is a byte and must look like <0x0A>, got {text:?}"
                )));
            }
            PieceKind::Byte => bytes += 1,
            _ => {}
        }
    }
    if unknown != 1 {
        return Err(Error::model(format!("there must be one unknown piece, got {unknown}")));
    }
    let fallback = proto.trainer.as_ref().and_then(|t| t.byte_fallback).unwrap_or(false);
    if bytes != if fallback { 256 } else { 0 } {
        return Err(Error::model(format!(
            "there must be 256 byte pieces with byte_fallback and none without, got {bytes}"
        )));
    }
    if let Some(denormalizer) = &proto.denormalizer {
        if denormalizer.precompiled_charsmap.as_ref().is_some_and(|map| !map.is_empty()) {
            return Err(Error::unsupported("a SentencePiece model with a denormalizer"));
        }
    }
    match proto.normalizer.as_ref().and_then(|n| n.precompiled_charsmap.as_ref()) {
        Some(map) if !map.is_empty() => check_charsmap(map),
        _ => Ok(()),
    }
}

/// The normaliser's map is [size of the trie][trie][texts]; the library follows its links unchecked.
fn check_charsmap(map: &[u8]) -> Result<()> {
    let broken = |what: &str| Error::model(format!("precompiled_charsmap: {what}"));
    let (size, rest) =
        map.split_first_chunk::<4>().ok_or_else(|| broken("must start with a size"))?;
    let size = u32::from_le_bytes(*size) as usize;
    if size == 0 || size % 4 != 0 || size >= rest.len() {
        return Err(broken(
            "the size of its trie must be a multiple of 4 that leaves room for text",
        ));
    }
    let (trie, texts) = rest.split_at(size);
    let units: Vec<u32> = trie
        .chunks_exact(4)
        .map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]))
        .collect();
    for (i, &unit) in units.iter().enumerate() {
        let is_value = unit >> 31 == 1;
        if is_value && i != 0 {
            continue;
        }
        let offset = ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let children = i ^ offset;
        if children | 0xFF >= units.len() {
            return Err(broken("a node's children must lie inside the trie"));
        }
        let has_text = unit >> 8 & 1 == 1;
        let text = (units[children] & 0x7FFF_FFFF) as usize;
        if has_text
            && texts.get(text..).and_then(|tail| tail.iter().position(|&c| c == 0)).is_none()
        {
            return Err(broken("a replacement must lie inside the texts and end there"));
        }
    }
    Ok(())
}
