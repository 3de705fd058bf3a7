//! Token strings -> text, one token at a time.
//!
//! A decoder of tokenizer.json is a chain of functions over the list of all tokens. Here each is a
//! stage that passes on what can no longer change, so that pushing tokens one by one gives the
//! text of the whole list. Stages keep a few bytes at most, but for the rare chains that need all
//! of the text (`Stage::Whole`).
//!
//! One meaning differs from the crate's: in a run of byte tokens with a fault, the valid characters
//! stay and each faulty byte becomes U+FFFD, as SentencePiece does it; the crate drops the run.

use std::collections::VecDeque;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::Decoder;

use crate::error::{Error, Result};

const SPACE_SYMBOL: char = '\u{2581}';
const FAULT: &str = "\u{FFFD}";

/// What SentencePiece's decoding depends on.
#[derive(Clone, Debug, Default)]
pub struct PieceRules {
    pub add_dummy_prefix: bool,
    pub remove_extra_whitespaces: bool,
    pub unk_surface: String,
}

/// What flows between stages. Tokens become text where a stage joins them.
enum Unit<'a> {
    Token(&'a str),
    Text(&'a str),
}

#[derive(Clone)]
enum Stage {
    ByteLevel(Utf8),
    ByteFallback(Utf8),
    Fuse,
    ReplaceInToken { from: String, to: String },
    StripToken { content: char, start: usize, stop: usize },
    StripText { content: char, start: usize, stop: usize, held: usize },
    Metaspace { symbol: char, drop_in_first: bool, is_first: bool },
    WordPiece { prefix: String, cleanup: bool, is_first: bool },
    Bpe { suffix: String, held: Option<String> },
    Spaced { is_first: bool },
    Whole { decoder: DecoderWrapper, tokens: VecDeque<String>, joined: bool },
}

/// How a byte that belongs to no character is shown.
#[derive(Clone, Copy, PartialEq)]
enum Faults {
    PerSequence, // one U+FFFD for a maximal faulty part, as String::from_utf8_lossy
    PerByte,
}

#[derive(Clone)]
struct Utf8 {
    faults: Faults,
    pending: Vec<u8>, // the start of a character: at most 3 bytes between pushes
}

impl Utf8 {
    fn new(faults: Faults) -> Self {
        Utf8 { faults, pending: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            let rest = &self.pending[done..];
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    out.push_str(valid);
                    done += rest.len();
                    break;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    out.push_str(std::str::from_utf8(&rest[..valid]).unwrap_or_default());
                    done += valid;
                    let Some(faulty) = error.error_len() else { break };
                    out.push_str(FAULT);
                    done += if self.faults == Faults::PerByte { 1 } else { faulty };
                }
            }
        }
        self.pending.drain(..done);
    }

    fn finish(&mut self, out: &mut String) {
        let count = match self.faults {
            Faults::PerSequence => usize::from(!self.pending.is_empty()),
            Faults::PerByte => self.pending.len(),
        };
        out.push_str(&FAULT.repeat(count));
        self.pending.clear();
    }
}

/// "<0xE5>" -> 0xE5.
pub fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_byte = digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_hexdigit());
    is_byte.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// A character of the byte-level alphabet -> its byte.
fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// What tokenizer.json says of decoding, as stages in their first state.
#[derive(Clone)]
pub struct DecodeState {
    pub skip_special: bool,
    stages: Vec<Stage>,
    pieces: Option<PieceState>,
}

#[derive(Clone)]
struct PieceState {
    rules: PieceRules,
    bytes: Utf8,
    is_start: bool, // a leading space symbol is still to be dropped
    is_empty: bool,
}

impl DecodeState {
    pub fn huggingface(decoder: Option<&DecoderWrapper>, skip_special: bool) -> Self {
        let mut stages = Vec::new();
        let mut joined = false;
        match decoder {
            Some(decoder) => add_stages(decoder, &mut stages, &mut joined),
            None => stages.push(Stage::Spaced { is_first: true }),
        }
        DecodeState { skip_special, stages, pieces: None }
    }

    pub fn sentencepiece(rules: PieceRules, skip_special: bool) -> Self {
        let bytes = Utf8::new(Faults::PerByte);
        let pieces = PieceState { rules, bytes, is_start: true, is_empty: true };
        DecodeState { skip_special, stages: Vec::new(), pieces: Some(pieces) }
    }

    /// A token of a tokenizer.json.
    pub fn push_token(&mut self, token: &str, out: &mut String) -> Result<()> {
        run(&mut self.stages, Unit::Token(token), out)
    }

    /// A piece of a SentencePiece model.
    pub fn push_piece(&mut self, piece: Piece, out: &mut String) {
        if let Some(state) = &mut self.pieces {
            state.push(piece, out);
        }
    }

    pub fn finish(&mut self, out: &mut String) -> Result<()> {
        for i in 0..self.stages.len() {
            let (stage, rest) = self.stages[i..].split_first_mut().expect("i is in range");
            stage.finish(rest, out)?;
        }
        if let Some(state) = &mut self.pieces {
            state.bytes.finish(out);
        }
        Ok(())
    }
}

fn add_stages(decoder: &DecoderWrapper, stages: &mut Vec<Stage>, joined: &mut bool) {
    use DecoderWrapper as D;
    let whole = |joined| Stage::Whole { decoder: decoder.clone(), tokens: VecDeque::new(), joined };
    let stage = match decoder {
        D::Sequence(sequence) => {
            for decoder in sequence.get_decoders() {
                add_stages(decoder, stages, joined);
            }
            return;
        }
        D::Fuse(_) => Stage::Fuse,
        D::Strip(s) if *joined => {
            Stage::StripText { content: s.content, start: s.start, stop: s.stop, held: 0 }
        }
        _ if *joined => whole(true),
        D::ByteLevel(_) => Stage::ByteLevel(Utf8::new(Faults::PerSequence)),
        D::ByteFallback(_) => Stage::ByteFallback(Utf8::new(Faults::PerByte)),
        D::Strip(s) => Stage::StripToken { content: s.content, start: s.start, stop: s.stop },
        D::Metaspace(m) => Stage::Metaspace {
            symbol: m.get_replacement(),
            drop_in_first: m.get_prepend_scheme() != PrependScheme::Never,
            is_first: true,
        },
        D::WordPiece(w) => {
            Stage::WordPiece { prefix: w.prefix.clone(), cleanup: w.cleanup, is_first: true }
        }
        D::BPE(b) => Stage::Bpe { suffix: b.suffix.clone(), held: None },
        D::Replace(r) => match literal_pattern(r) {
            Some(from) => Stage::ReplaceInToken { from, to: r.content.clone() },
            None => whole(false),
        },
        D::CTC(_) => whole(false),
    };
    *joined |= matches!(stage, Stage::Fuse | Stage::ByteLevel(_));
    stages.push(stage);
}

/// The text that a Replace looks for, unless it is a regular expression. The field is private in
/// the crate; its JSON is not.
fn literal_pattern(replace: &tokenizers::normalizers::replace::Replace) -> Option<String> {
    let json = serde_json::to_value(replace).ok()?;
    match serde_json::from_value(json.get("pattern")?.clone()).ok()? {
        ReplacePattern::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn run(stages: &mut [Stage], unit: Unit, out: &mut String) -> Result<()> {
    match stages.split_first_mut() {
        Some((stage, rest)) => stage.push(unit, rest, out),
        None => {
            let (Unit::Token(text) | Unit::Text(text)) = unit;
            out.push_str(text);
            Ok(())
        }
    }
}

impl Stage {
    fn push(&mut self, unit: Unit, rest: &mut [Stage], out: &mut String) -> Result<()> {
        let (Unit::Token(token) | Unit::Text(token)) = unit;
        match self {
            Stage::ByteLevel(utf8) => {
                let mut text = String::new();
                let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
                utf8.push(bytes.as_deref().unwrap_or(token.as_bytes()), &mut text);
                run_text(rest, &text, out)
            }
            Stage::ByteFallback(utf8) => {
                let mut text = String::new();
                match byte_token(token) {
                    Some(byte) => utf8.push(&[byte], &mut text),
                    None => utf8.finish(&mut text),
                }
                run_chars(rest, &text, out)?;
                match byte_token(token) {
                    Some(_) => Ok(()),
                    None => run(rest, Unit::Token(token), out),
                }
            }
            Stage::Fuse => run_text(rest, token, out),
            Stage::ReplaceInToken { from, to } => {
                run(rest, Unit::Token(&token.replace(from.as_str(), to)), out)
            }
            Stage::StripToken { content, start, stop } => {
                let token = strip_leading(token, *content, *start);
                let kept = token.trim_end_matches(*content);
                let trailing = (token.len() - kept.len()) / content.len_utf8();
                let keep = trailing.saturating_sub(*stop) * content.len_utf8();
                run(rest, Unit::Token(&token[..kept.len() + keep]), out)
            }
            Stage::StripText { content, start, stop, held } => {
                strip_text(token, *content, start, *stop, held, rest, out)
            }
            Stage::Metaspace { symbol, drop_in_first, is_first } => {
                let space = if *is_first && *drop_in_first { "" } else { " " };
                *is_first = false;
                run(rest, Unit::Token(&token.replace(*symbol, space)), out)
            }
            Stage::WordPiece { prefix, cleanup, is_first } => {
                let mut text = match token.strip_prefix(prefix.as_str()) {
                    _ if *is_first => token.to_owned(),
                    Some(tail) => tail.to_owned(),
                    None => format!(" {token}"),
                };
                *is_first = false;
                if *cleanup {
                    text = tokenizers::decoders::wordpiece::cleanup(&text);
                }
                run(rest, Unit::Token(&text), out)
            }
            Stage::Bpe { suffix, held } => match held.replace(token.to_owned()) {
                Some(before) => run(rest, Unit::Token(&before.replace(suffix.as_str(), " ")), out),
                None => Ok(()),
            },
            Stage::Spaced { is_first } => {
                if !std::mem::take(is_first) {
                    run(rest, Unit::Token(" "), out)?;
                }
                run(rest, Unit::Token(token), out)
            }
            Stage::Whole { tokens, joined, .. } => {
                match tokens.back_mut() {
                    Some(text) if *joined => text.push_str(token),
                    _ => tokens.push_back(token.to_owned()),
                }
                Ok(())
            }
        }
    }

    fn finish(&mut self, rest: &mut [Stage], out: &mut String) -> Result<()> {
        let mut text = String::new();
        match self {
            Stage::ByteLevel(utf8) => {
                utf8.finish(&mut text);
                run_text(rest, &text, out)
            }
            Stage::ByteFallback(utf8) => {
                utf8.finish(&mut text);
                run_chars(rest, &text, out)
            }
            Stage::StripText { content, stop, held, .. } => {
                text.extend(std::iter::repeat_n(*content, held.saturating_sub(*stop)));
                *held = 0;
                run_text(rest, &text, out)
            }
            Stage::Bpe { suffix, held } => match held.take() {
                Some(last) => run(rest, Unit::Token(&last.replace(suffix.as_str(), "")), out),
                None => Ok(()),
            },
            Stage::Whole { decoder, tokens, .. } => {
                if tokens.is_empty() {
                    return Ok(());
                }
                let decoded = decoder
                    .decode_chain(std::mem::take(tokens).into())
                    .map_err(|error| Error::internal(format!("decoding failed: {error}")))?;
                decoded.iter().try_for_each(|token| run(rest, Unit::Token(token), out))
            }
            _ => Ok(()),
        }
    }
}

fn run_text(stages: &mut [Stage], text: &str, out: &mut String) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    run(stages, Unit::Text(text), out)
}

/// The characters of byte tokens: a token each.
fn run_chars(stages: &mut [Stage], text: &str, out: &mut String) -> Result<()> {
    let mut buffer = [0; 4];
    text.chars().try_for_each(|c| run(stages, Unit::Token(c.encode_utf8(&mut buffer)), out))
}

fn strip_leading(text: &str, content: char, most: usize) -> &str {
    let count = text.chars().take(most).take_while(|&c| c == content).count();
    &text[count * content.len_utf8()..]
}

/// Strip over all of the text: `start` is what may still be dropped in front, `held` counts the
/// last characters that are dropped if nothing follows them.
fn strip_text(
    text: &str,
    content: char,
    start: &mut usize,
    stop: usize,
    held: &mut usize,
    rest: &mut [Stage],
    out: &mut String,
) -> Result<()> {
    let stripped = strip_leading(text, content, *start);
    if stripped.is_empty() {
        *start -= text.chars().count();
        return Ok(());
    }
    *start = 0;
    let kept = stripped.trim_end_matches(content);
    let trailing = (stripped.len() - kept.len()) / content.len_utf8();
    let mut ready = String::new();
    if !kept.is_empty() {
        ready.extend(std::iter::repeat_n(content, std::mem::take(held)));
        ready.push_str(kept);
    }
    // More than `stop` of them need not wait: only the last `stop` can be dropped.
    *held += trailing;
    let surplus = held.saturating_sub(stop);
    ready.extend(std::iter::repeat_n(content, surplus));
    *held -= surplus;
    run_text(rest, &ready, out)
}

/// A piece of a SentencePiece vocabulary, by what decoding makes of it.
pub enum Piece<'a> {
    Byte(u8),
    Unknown,
    Hidden,           // a control symbol that is skipped
    Control(&'a str), // a control symbol that is shown
    Text(&'a str),
}

impl PieceState {
    fn push(&mut self, piece: Piece, out: &mut String) {
        let mut text = String::new();
        match piece {
            Piece::Byte(byte) => self.bytes.push(&[byte], &mut text),
            piece => {
                self.bytes.finish(&mut text);
                self.is_empty &= text.is_empty();
                self.is_start &= self.is_empty;
                match piece {
                    Piece::Text(piece) => self.push_text(piece, &mut text),
                    Piece::Unknown => text.push_str(&self.rules.unk_surface),
                    Piece::Control(piece) => {
                        out.push_str(&text);
                        out.push_str(piece);
                        return;
                    }
                    _ => {}
                }
            }
        }
        self.is_empty &= text.is_empty();
        out.push_str(&text);
    }

    fn push_text(&mut self, piece: &str, text: &mut String) {
        let strips = self.rules.add_dummy_prefix || self.rules.remove_extra_whitespaces;
        let stripped = match piece.strip_prefix(SPACE_SYMBOL) {
            Some(tail) if self.is_start && strips => {
                self.is_start = self.rules.remove_extra_whitespaces;
                tail
            }
            _ => piece,
        };
        text.push_str(&stripped.replace(SPACE_SYMBOL, " "));
    }
}
