// The C ABI of the Rust half of the text layer. Every call is thread-safe on a const object.
// A call that returns a status leaves its result, or the message of its failure, in `out`.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct BraytonTokenizer BraytonTokenizer;
typedef struct BraytonStream BraytonStream;
typedef struct BraytonTemplate BraytonTemplate;

// Borrowed for the length of a call; `data` may be null when `size` is 0.
typedef struct {
  const uint8_t* data;
  size_t size;
} BraytonBytes;

// Owned by the caller until brayton_text_buffer_free.
typedef struct {
  uint8_t* data;
  size_t size;
  size_t capacity;
} BraytonBuffer;

typedef enum {
  kBraytonTextOk = 0,
  kBraytonTextInvalidModel = 1,
  kBraytonTextInvalidArgument = 2,
  kBraytonTextUnsupported = 3,
  kBraytonTextInternal = 4,  // a panic
} BraytonTextStatus;

// tokenizer.ggml.* of a GGUF file. `bos`, `eos`, `unk`: -1 when absent.
typedef struct {
  BraytonBytes model;
  BraytonBytes pre;
  const BraytonBytes* tokens;
  size_t num_tokens;
  const float* scores;
  size_t num_scores;
  const int32_t* token_types;
  size_t num_token_types;
  const BraytonBytes* merges;
  size_t num_merges;
  int32_t bos;
  int32_t eos;
  int32_t unk;
  bool add_bos;
  bool add_eos;
  bool add_space_prefix;
} BraytonGgufVocab;

void brayton_text_buffer_free(BraytonBuffer buffer);

int32_t brayton_text_from_huggingface(BraytonBytes json, BraytonTokenizer** tokenizer,
                                      BraytonBuffer* out);
int32_t brayton_text_from_sentencepiece(BraytonBytes model, BraytonTokenizer** tokenizer,
                                        BraytonBuffer* out);
int32_t brayton_text_from_gguf(const BraytonGgufVocab* vocab, BraytonTokenizer** tokenizer,
                               BraytonBuffer* out);
int32_t brayton_text_from_bpe_files(BraytonBytes vocab_json, BraytonBytes merges, BraytonBytes pre,
                                    const BraytonBytes* special_tokens, size_t num_special_tokens,
                                    BraytonTokenizer** tokenizer, BraytonBuffer* out);
void brayton_text_tokenizer_free(BraytonTokenizer* tokenizer);
// Whether a pre-tokenizer of this name is in the table.
bool brayton_text_knows_pre_tokenizer(BraytonBytes name);

// `out`: int32 ids.
int32_t brayton_text_encode(const BraytonTokenizer* tokenizer, BraytonBytes text, bool add_special,
                            bool parse_special, BraytonBuffer* out);
int32_t brayton_text_decode(const BraytonTokenizer* tokenizer, const int32_t* ids, size_t num_ids,
                            bool skip_special, BraytonBuffer* out);
int32_t brayton_text_vocab_size(const BraytonTokenizer* tokenizer);
int32_t brayton_text_token(const BraytonTokenizer* tokenizer, int32_t id, BraytonBuffer* out);
int32_t brayton_text_id(const BraytonTokenizer* tokenizer, BraytonBytes token);  // -1: none
bool brayton_text_is_special(const BraytonTokenizer* tokenizer, int32_t id);
// 0: tokenizer.json, 1: a SentencePiece model.
int32_t brayton_text_kind(const BraytonTokenizer* tokenizer);
int32_t brayton_text_serialize(const BraytonTokenizer* tokenizer, BraytonBuffer* out);

BraytonStream* brayton_text_stream_new(const BraytonTokenizer* tokenizer, bool skip_special);
int32_t brayton_text_stream_push(BraytonStream* stream, int32_t id, BraytonBuffer* out);
int32_t brayton_text_stream_finish(BraytonStream* stream, BraytonBuffer* out);
void brayton_text_stream_free(BraytonStream* stream);

int32_t brayton_text_template_new(BraytonBytes source, BraytonTemplate** chat_template,
                                  BraytonBuffer* out);
// `variables`: a JSON object.
int32_t brayton_text_template_render(const BraytonTemplate* chat_template, BraytonBytes variables,
                                     BraytonBuffer* out);
void brayton_text_template_free(BraytonTemplate* chat_template);

#ifdef __cplusplus
}
#endif
