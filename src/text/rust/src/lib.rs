//! Text <-> token ids and chat templates: the Rust crates behind the C ABI of `text_abi.h`.

mod abi;
mod bpe_files;
mod chat_template;
mod decode;
mod error;
mod gguf;
mod huggingface;
mod pre_tokenizers;
mod python_json;
mod sentencepiece_model;
mod strftime;
mod tokenizer;
