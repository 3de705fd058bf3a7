//! The functions of text_abi.h. A panic below becomes a status, it never crosses the boundary.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Once};

use crate::chat_template::ChatTemplate;
use crate::decode::DecodeState;
use crate::error::{Error, Kind, Result};
use crate::gguf::{self, GgufVocab};
use crate::huggingface::HuggingFace;
use crate::sentencepiece_model::SentencePiece;
use crate::tokenizer::Tokenizer;
use crate::{bpe_files, pre_tokenizers};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    data: *const u8,
    size: usize,
}

impl Bytes {
    /// # Safety: the caller of the ABI vouches for pointer and length during the call.
    unsafe fn get<'a>(self) -> &'a [u8] {
        slice(self.data, self.size)
    }
}

#[repr(C)]
pub struct Buffer {
    data: *mut u8,
    size: usize,
    capacity: usize,
}

#[repr(C)]
pub struct RawGgufVocab {
    model: Bytes,
    pre: Bytes,
    tokens: *const Bytes,
    num_tokens: usize,
    scores: *const f32,
    num_scores: usize,
    token_types: *const i32,
    num_token_types: usize,
    merges: *const Bytes,
    num_merges: usize,
    bos: i32,
    eos: i32,
    unk: i32,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
}

pub struct Stream {
    tokenizer: Arc<Tokenizer>,
    state: DecodeState,
}

unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

unsafe fn set(out: *mut Buffer, bytes: Vec<u8>) {
    let mut bytes = std::mem::ManuallyDrop::new(bytes);
    *out = Buffer { data: bytes.as_mut_ptr(), size: bytes.len(), capacity: bytes.capacity() };
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics of a crate on a damaged file are answers, not news for stderr.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let said = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let said = said.or_else(|| payload.downcast_ref::<String>().cloned());
            let place = info.location().map(|at| {
                format!(" ({}:{})", at.file().rsplit('/').next().unwrap_or_default(), at.line())
            });
            let text = said.unwrap_or_default() + &place.unwrap_or_default();
            PANIC.with(|last| *last.borrow_mut() = text.replace('\n', " "));
        }));
    });
}

/// Runs `work`; its bytes or its message go to `out`, its status is returned. A panic while a model
/// is loaded is the model's fault.
unsafe fn guard(out: *mut Buffer, on_panic: Kind, work: impl FnOnce() -> Result<Vec<u8>>) -> i32 {
    keep_panics_quiet();
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let text = PANIC.with(|text| std::mem::take(&mut *text.borrow_mut()));
        Err(Error { kind: on_panic, message: format!("the text library gave up: {text}") })
    });
    match result {
        Ok(bytes) => {
            set(out, bytes);
            0
        }
        Err(error) => {
            set(out, error.message.into_bytes());
            error.kind as i32
        }
    }
}

unsafe fn load(
    tokenizer: *mut *const Tokenizer,
    out: *mut Buffer,
    work: impl FnOnce() -> Result<Tokenizer>,
) -> i32 {
    guard(out, Kind::InvalidModel, || {
        *tokenizer = Arc::into_raw(Arc::new(work()?));
        Ok(Vec::new())
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_buffer_free(buffer: Buffer) {
    if !buffer.data.is_null() {
        drop(Vec::from_raw_parts(buffer.data, buffer.size, buffer.capacity));
    }
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_from_huggingface(
    json: Bytes,
    tokenizer: *mut *const Tokenizer,
    out: *mut Buffer,
) -> i32 {
    load(tokenizer, out, || Ok(Tokenizer::HuggingFace(HuggingFace::from_json(json.get())?)))
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_from_sentencepiece(
    model: Bytes,
    tokenizer: *mut *const Tokenizer,
    out: *mut Buffer,
) -> i32 {
    load(tokenizer, out, || Ok(Tokenizer::SentencePiece(SentencePiece::from_bytes(model.get())?)))
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_from_gguf(
    raw: *const RawGgufVocab,
    tokenizer: *mut *const Tokenizer,
    out: *mut Buffer,
) -> i32 {
    load(tokenizer, out, || {
        let raw = &*raw;
        let index = |id: i32| (id >= 0).then_some(id);
        gguf::load(&GgufVocab {
            model: text(raw.model, "tokenizer.ggml.model")?,
            pre: text(raw.pre, "tokenizer.ggml.pre")?,
            tokens: texts(raw.tokens, raw.num_tokens, "tokenizer.ggml.tokens")?,
            scores: slice(raw.scores, raw.num_scores),
            token_types: slice(raw.token_types, raw.num_token_types),
            merges: texts(raw.merges, raw.num_merges, "tokenizer.ggml.merges")?,
            bos: index(raw.bos),
            eos: index(raw.eos),
            unk: index(raw.unk),
            add_bos: raw.add_bos,
            add_eos: raw.add_eos,
            add_space_prefix: raw.add_space_prefix,
        })
    })
}

unsafe fn text<'a>(bytes: Bytes, name: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes.get())
        .map_err(|error| Error::model(format!("{name} must be UTF-8: {error}")))
}

unsafe fn texts<'a>(data: *const Bytes, size: usize, name: &str) -> Result<Vec<&'a str>> {
    let mut result = Vec::with_capacity(size);
    for (i, bytes) in slice(data, size).iter().enumerate() {
        result.push(
            std::str::from_utf8(bytes.get())
                .map_err(|error| Error::model(format!("{name}[{i}] must be UTF-8: {error}")))?,
        );
    }
    Ok(result)
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_from_bpe_files(
    vocab_json: Bytes,
    merges: Bytes,
    pre: Bytes,
    special_tokens: *const Bytes,
    num_special_tokens: usize,
    tokenizer: *mut *const Tokenizer,
    out: *mut Buffer,
) -> i32 {
    load(tokenizer, out, || {
        let special = texts(special_tokens, num_special_tokens, "special tokens")?;
        let json = bpe_files::to_tokenizer_json(
            text(vocab_json, "vocab.json")?,
            text(merges, "merges.txt")?,
            text(pre, "the pre-tokenizer's name")?,
            &special,
        )?;
        Ok(Tokenizer::HuggingFace(HuggingFace::from_json(json.as_bytes())?))
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_tokenizer_free(tokenizer: *const Tokenizer) {
    drop(Arc::from_raw(tokenizer));
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_knows_pre_tokenizer(name: Bytes) -> bool {
    std::str::from_utf8(name.get()).is_ok_and(pre_tokenizers::is_known)
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_encode(
    tokenizer: *const Tokenizer,
    text: Bytes,
    add_special: bool,
    parse_special: bool,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::Internal, || {
        let ids = (*tokenizer).encode(text.get(), add_special, parse_special)?;
        Ok(ids.iter().flat_map(|id| id.to_ne_bytes()).collect())
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_decode(
    tokenizer: *const Tokenizer,
    ids: *const i32,
    num_ids: usize,
    skip_special: bool,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::Internal, || {
        Ok((*tokenizer).decode(slice(ids, num_ids), skip_special)?.into_bytes())
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_vocab_size(tokenizer: *const Tokenizer) -> i32 {
    (*tokenizer).vocab_size()
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_token(
    tokenizer: *const Tokenizer,
    id: i32,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::Internal, || Ok((*tokenizer).token(id)?.into_bytes()))
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_id(tokenizer: *const Tokenizer, token: Bytes) -> i32 {
    std::str::from_utf8(token.get()).ok().and_then(|t| (*tokenizer).id(t)).unwrap_or(-1)
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_is_special(tokenizer: *const Tokenizer, id: i32) -> bool {
    (*tokenizer).is_special(id)
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_kind(tokenizer: *const Tokenizer) -> i32 {
    match &*tokenizer {
        Tokenizer::HuggingFace(_) => 0,
        Tokenizer::SentencePiece(_) => 1,
    }
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_serialize(
    tokenizer: *const Tokenizer,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::Internal, || (*tokenizer).serialize())
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_stream_new(
    tokenizer: *const Tokenizer,
    skip_special: bool,
) -> *mut Stream {
    Arc::increment_strong_count(tokenizer);
    let tokenizer = Arc::from_raw(tokenizer);
    let state = tokenizer.decode_state(skip_special);
    Box::into_raw(Box::new(Stream { tokenizer, state }))
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_stream_push(
    stream: *mut Stream,
    id: i32,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::Internal, || {
        let Stream { tokenizer, state } = &mut *stream;
        let mut text = String::new();
        tokenizer.push(state, id, &mut text)?;
        Ok(text.into_bytes())
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_stream_finish(stream: *mut Stream, out: *mut Buffer) -> i32 {
    guard(out, Kind::Internal, || {
        let mut text = String::new();
        (*stream).state.finish(&mut text)?;
        Ok(text.into_bytes())
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_stream_free(stream: *mut Stream) {
    drop(Box::from_raw(stream));
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_template_new(
    source: Bytes,
    chat_template: *mut *mut ChatTemplate,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::InvalidModel, || {
        let source = text(source, "the chat template")?;
        *chat_template = Box::into_raw(Box::new(ChatTemplate::new(source)?));
        Ok(Vec::new())
    })
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_template_render(
    chat_template: *const ChatTemplate,
    variables: Bytes,
    out: *mut Buffer,
) -> i32 {
    guard(out, Kind::Internal, || Ok((*chat_template).render(variables.get())?.into_bytes()))
}

#[no_mangle]
pub unsafe extern "C" fn brayton_text_template_free(chat_template: *mut ChatTemplate) {
    drop(Box::from_raw(chat_template));
}
