#include "sampling/device_sampler.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "core/check.h"
#include "ops/admit_slots.h"

namespace brayton {
namespace {

// Pieces of one buffer, each at a multiple of 64 bytes.
class Layout {
 public:
  explicit Layout(void* begin = nullptr) : begin_(reinterpret_cast<uintptr_t>(begin)) {}
  TensorView take(DType dtype, const Shape& shape) {
    const TensorView view(reinterpret_cast<void*>(begin_ + static_cast<uintptr_t>(bytes_)), dtype,
                          shape);
    bytes_ += (view.bytes() + 63) / 64 * 64;
    return view;
  }
  TensorView take_structs(int64_t count, size_t size) {
    return take(DType::kU8, {count, static_cast<int64_t>(size)});
  }
  int64_t bytes() const { return bytes_; }

 private:
  uintptr_t begin_;
  int64_t bytes_ = 0;
};

struct DeviceArrays {
  SampleSlots slots;
  TensorView sampled, row_slots, rows, top, admissions;
};

// A new slot's record at its longest; a launch brings the device as many as fit, then more.
int64_t most_admission_words(const DeviceSampler::Options& options) {
  constexpr int64_t kMost = kSampleRules + 1024;  // the parameters too
  return kMost + std::min(options.max_length, options.vocab_size);
}
int64_t staging_words(const DeviceSampler::Options& options) {
  return std::max(most_admission_words(options), int64_t{1} << 16);
}

DeviceArrays lay_out(Layout& layout, const DeviceSampler::Options& options) {
  DeviceArrays a;
  a.slots.params = layout.take_structs(options.slots, sizeof(SampleParams));
  a.slots.states = layout.take_structs(options.slots, sizeof(SampleState));
  a.slots.rules = layout.take(DType::kI32, {options.slots, kSampleRules});
  a.slots.marks = layout.take(DType::kU16, {options.slots, sample_marks(options.vocab_size)});
  a.sampled = options.sampled ? options.sampled : layout.take(DType::kI32, {options.slots});
  a.row_slots = layout.take(DType::kI32, {options.max_rows});
  a.rows = layout.take_structs(options.max_rows, sizeof(SampledRow));
  a.top = layout.take_structs(options.max_rows, sizeof(SampledTop));
  a.admissions = layout.take(DType::kI32, {staging_words(options)});
  return a;
}

SampleParams device_params(const SamplingParams& p, uint64_t seed) {
  const auto to_int = [](int64_t x) {
    return static_cast<int32_t>(std::min<int64_t>(x, std::numeric_limits<int32_t>::max()));
  };
  SampleParams out;
  out.top_p = p.top_p;
  out.min_p = p.min_p;
  out.typical_p = p.typical_p;
  out.repetition_penalty = p.repetition_penalty;
  out.frequency_penalty = p.frequency_penalty;
  out.presence_penalty = p.presence_penalty;
  out.seed = seed;
  out.greedy = p.temperature == 0.0 ? 1 : 0;
  if (out.greedy == 0)
    out.scale = std::max(static_cast<float>(std::min(1.0 / p.temperature, 1e30)),
                         std::numeric_limits<float>::min());
  out.top_k = to_int(p.top_k);
  out.min_tokens = to_int(p.min_tokens);
  out.logprobs = to_int(p.logprobs);
  out.penalties =
      p.repetition_penalty != 1.0 || p.frequency_penalty != 0.0 || p.presence_penalty != 0.0;
  return out;
}

// The slot's lists, one behind the other, and their lengths.
void add_rules(const SamplingParams& p, std::span<const int32_t> end_ids, SampleParams& out,
               std::vector<int32_t>& rules) {
  auto biases = p.logit_bias;
  std::stable_sort(biases.begin(), biases.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& bias : biases) rules.push_back(bias.first);
  for (const auto& bias : biases) rules.push_back(std::bit_cast<int32_t>(bias.second));
  int32_t end = 0;
  for (const auto& word : p.bad_words) rules.push_back(end += static_cast<int32_t>(word.size()));
  for (const auto& word : p.bad_words) rules.insert(rules.end(), word.begin(), word.end());
  if (p.min_tokens > 0) {
    rules.insert(rules.end(), end_ids.begin(), end_ids.end());
    out.end_ids = static_cast<int32_t>(end_ids.size());
  }
  out.biases = static_cast<int32_t>(biases.size());
  out.bad_words = static_cast<int32_t>(p.bad_words.size());
  out.bad_word_tokens = end;
}

SampleState state_after(std::span<const int32_t> prompt) {
  SampleState state;
  const auto recent = std::min<size_t>(prompt.size(), kSampleRecent);
  std::fill(std::begin(state.recent), std::end(state.recent), -1);
  std::copy(prompt.end() - static_cast<std::ptrdiff_t>(recent), prompt.end(),
            std::end(state.recent) - recent);
  return state;
}

const char* error_text(SampleError error) {
  switch (error) {
    case SampleError::kNone:
      return "";
    case SampleError::kInvalidLogits:
      return "[sampler] logits must not be NaN or +infinity: the model gave such values";
    case SampleError::kAllForbidden:
      break;
  }
  return "[sampler] at least one token must be allowed: bad_words and min_tokens forbid all that "
         "the model offers";
}

template <class T>
void require_at_most(const T& got, int64_t most, std::string_view what) {
  if (static_cast<int64_t>(got) > most)
    throw_error(ErrorCode::kInvalidArgument, "[request] {} must be at most {} on a GPU, got {}",
                what, most, got);
}

}  // namespace

struct DeviceSampler::State {
  struct Slot {
    bool used = false;
    bool plain = true;  // greedy and nothing else
    int64_t logprobs = -1;
  };
  struct Entry {  // of a launch: one row
    int64_t row = 0;
    int64_t logprobs = -1;
  };
  struct Flight {
    Buffer pinned;
    TensorView row_slots, rows, top;  // in there
    std::vector<Entry> entries;
    std::unique_ptr<Event> done;
  };
  struct Staging {
    Buffer pinned;
    std::unique_ptr<Event> copied;
  };

  Options options;
  const KernelTable* kernels = nullptr;
  Buffer memory;
  DeviceArrays device;
  std::vector<Slot> slots;
  std::vector<Flight> flights;
  size_t oldest = 0, under_way = 0;
  std::vector<int32_t> records;  // admissions that the device does not know yet
  std::vector<int64_t> record_begins;
  std::vector<int32_t> rules, prompt;  // of the one being admitted
  Staging stagings[2];
  size_t next_staging = 0;

  void bring_admissions(Stream& stream);
};

int64_t DeviceSampler::device_bytes(const Options& options) {
  Layout layout;
  lay_out(layout, options);
  return layout.bytes();
}

void DeviceSampler::check_limits(const SamplingParams& params, size_t end_ids) {
  require_at_most(params.logprobs, kSampleTop, "logprobs");
  size_t numbers = 2 * params.logit_bias.size() + params.bad_words.size() + end_ids;
  for (const auto& word : params.bad_words) {
    require_at_most(word.size(), kSampleRecent + 1, "the ids of a bad word");
    numbers += word.size();
  }
  require_at_most(params.bad_words.size() + end_ids, kSampleForbidden,
                  "the number of bad_words and end ids");
  require_at_most(numbers, kSampleRules,
                  "the size of logit_bias (2 each), bad_words (1 and their ids) and end ids");
}

DeviceSampler::DeviceSampler(Backend& backend, const Options& options)
    : state_(std::make_unique<State>()) {
  BRAYTON_CHECK_LE(options.vocab_size, kSampleVocab);
  BRAYTON_CHECK_GE(options.depth, size_t{1});
  State& s = *state_;
  s.options = options;
  s.kernels = &backend.kernels();
  BRAYTON_CHECK(s.kernels->sample != nullptr && s.kernels->admit_slots != nullptr);
  s.memory = backend.allocate(static_cast<size_t>(device_bytes(options)));
  Layout layout(s.memory.data());
  s.device = lay_out(layout, options);
  s.slots.resize(static_cast<size_t>(options.slots));
  s.flights.resize(options.depth);
  for (State::Flight& flight : s.flights) {
    const auto lay_out_results = [&](Layout& results) {
      flight.row_slots = results.take(DType::kI32, {options.max_rows});
      flight.rows = results.take_structs(options.max_rows, sizeof(SampledRow));
      flight.top = results.take_structs(options.max_rows, sizeof(SampledTop));
    };
    Layout sizes;
    lay_out_results(sizes);
    flight.pinned = backend.allocate_pinned(static_cast<size_t>(sizes.bytes()));
    Layout results(flight.pinned.data());
    lay_out_results(results);
    flight.entries.reserve(static_cast<size_t>(options.max_rows));
  }
  for (State::Staging& staging : s.stagings)
    staging.pinned = backend.allocate_pinned(static_cast<size_t>(s.device.admissions.bytes()));
}

DeviceSampler::~DeviceSampler() = default;

void DeviceSampler::admit(int64_t slot, const SamplingParams& params, uint64_t seed,
                          std::span<const int32_t> prompt, std::span<const int32_t> end_ids) {
  check_limits(params, end_ids.size());
  State& s = *state_;
  State::Slot& own = s.slots.at(static_cast<size_t>(slot));
  BRAYTON_CHECK(!own.used);
  SlotAdmission admission;
  admission.slot = static_cast<int32_t>(slot);
  admission.params = device_params(params, seed);
  admission.state = state_after(prompt);
  s.rules.clear();
  add_rules(params, end_ids, admission.params, s.rules);
  admission.rules = s.rules;
  s.prompt.clear();
  if (params.repetition_penalty != 1.0) {
    s.prompt.assign(prompt.begin(), prompt.end());
    std::sort(s.prompt.begin(), s.prompt.end());
    s.prompt.erase(std::unique(s.prompt.begin(), s.prompt.end()), s.prompt.end());
    admission.prompt = s.prompt;
  }
  const int64_t words = admission_words(admission);
  BRAYTON_CHECK_LT(words, staging_words(s.options));  // else max_length was too small
  own = {true,
         admission.params.greedy != 0 && s.rules.empty() && admission.params.penalties == 0 &&
             params.logprobs < 0,
         params.logprobs};
  const size_t begin = s.records.size();
  s.record_begins.push_back(static_cast<int64_t>(begin));
  s.records.resize(begin + static_cast<size_t>(words));
  write_admission(admission, s.records.data() + begin);
}

void DeviceSampler::release(int64_t slot) {
  State::Slot& own = state_->slots.at(static_cast<size_t>(slot));
  BRAYTON_CHECK(own.used);
  own.used = false;
}

// As few copies as the staging memory allows: nearly always one.
void DeviceSampler::State::bring_admissions(Stream& stream) {
  const int64_t capacity = device.admissions.dim(0);
  const auto total = static_cast<int64_t>(records.size());
  for (size_t first = 0; first < record_begins.size();) {
    const int64_t begin = record_begins[first];
    size_t last = first;  // behind the ones of this copy
    int64_t end = begin;
    while (last < record_begins.size()) {
      const int64_t next = last + 1 < record_begins.size() ? record_begins[last + 1] : total;
      if (next - begin + static_cast<int64_t>(last + 1 - first) > capacity) break;
      end = next;
      ++last;
    }
    BRAYTON_CHECK(last > first);
    Staging& staging = stagings[next_staging];
    next_staging ^= 1;
    if (staging.copied)
      staging.copied->wait();
    else
      staging.copied = stream.make_event();
    auto* words = static_cast<int32_t*>(staging.pinned.data());
    const auto count = static_cast<int64_t>(last - first);
    for (size_t i = first; i < last; ++i)
      *words++ = static_cast<int32_t>(count + record_begins[i] - begin);
    std::copy(records.begin() + begin, records.begin() + end, words);
    stream.copy_to_device(device.admissions.data, staging.pinned.data(),
                          static_cast<size_t>(count + end - begin) * sizeof(int32_t));
    staging.copied->record();
    kernels->admit_slots(stream, {.packed = device.admissions,
                                  .count = count,
                                  .state = device.slots,
                                  .vocab = options.vocab_size});
    first = last;
  }
  records.clear();
  record_begins.clear();
}

void DeviceSampler::launch(Stream& stream, const TensorView& device_logits,
                           std::span<const Sampler::Row> rows) {
  State& s = *state_;
  BRAYTON_CHECK_LT(s.under_way, s.flights.size());
  s.bring_admissions(stream);
  State::Flight& flight = s.flights[(s.oldest + s.under_way) % s.flights.size()];
  if (!flight.done) flight.done = stream.make_event();
  flight.entries.clear();
  int64_t count = 0;
  for (const Sampler::Row& row : rows) count = std::max(count, row.row + 1);
  BRAYTON_CHECK(count <= s.options.max_rows && count <= device_logits.dim(0));
  auto* row_slots = flight.row_slots.as<int32_t>();
  std::fill_n(row_slots, count, -1);
  bool plain = true, wants_top = false;
  for (const Sampler::Row& row : rows) {
    const State::Slot& slot = s.slots.at(static_cast<size_t>(row.slot));
    BRAYTON_CHECK(slot.used && row_slots[row.row] < 0);
    row_slots[row.row] = static_cast<int32_t>(row.slot);
    flight.entries.push_back({row.row, slot.logprobs});
    plain = plain && slot.plain;
    wants_top = wants_top || slot.logprobs > 0;
  }
  if (count > 0) {
    const auto bytes_of = [&](const TensorView& view) {
      return static_cast<size_t>(count * view.bytes() / view.dim(0));
    };
    const auto first_rows = [&](const TensorView& view) { return view.slice(0, 0, count); };
    stream.copy_to_device(s.device.row_slots.data, row_slots, bytes_of(flight.row_slots));
    s.kernels->sample(stream, {.logits = first_rows(device_logits),
                               .slots = first_rows(s.device.row_slots),
                               .state = s.device.slots,
                               .sampled = s.device.sampled,
                               .rows = first_rows(s.device.rows),
                               .top = first_rows(s.device.top),
                               .mode = plain ? SampleMode::kGreedy : SampleMode::kFull});
    stream.copy_to_host(flight.rows.data, s.device.rows.data, bytes_of(flight.rows));
    if (wants_top) stream.copy_to_host(flight.top.data, s.device.top.data, bytes_of(flight.top));
  }
  flight.done->record();
  ++s.under_way;
}

void DeviceSampler::collect(std::vector<SampledToken>& outputs) {
  State& s = *state_;
  BRAYTON_CHECK_GE(s.under_way, size_t{1});
  State::Flight& flight = s.flights[s.oldest];
  s.oldest = (s.oldest + 1) % s.flights.size();
  --s.under_way;
  flight.done->wait();
  outputs.resize(flight.entries.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const State::Entry& entry = flight.entries[i];
    const SampledRow& row = *flight.rows.row_as<SampledRow>(entry.row);
    TokenOutput& output = outputs[i].output;
    output.token = row.token;
    output.logprob = row.logprob;
    output.top_logprobs.clear();
    outputs[i].error = error_text(row.error);
    if (row.error != SampleError::kNone) continue;
    const SampledTop& top = *flight.top.row_as<SampledTop>(entry.row);
    for (int64_t n = 0; n < entry.logprobs; ++n)
      output.top_logprobs.push_back({top.tokens[n], top.logprobs[n]});
  }
}

TensorView DeviceSampler::sampled() const { return state_->device.sampled; }

void DeviceSampler::note_kernels(Stream& stream, const KernelTable& kernels, const Options& options,
                                 const TensorView& logits) {
  alignas(64) static std::byte nowhere[64];
  Layout layout(nowhere);
  const DeviceArrays device = lay_out(layout, options);
  kernels.admit_slots(stream, {.packed = device.admissions,
                               .count = 1,
                               .state = device.slots,
                               .vocab = options.vocab_size});
  for (SampleMode mode : {SampleMode::kGreedy, SampleMode::kFull})
    kernels.sample(stream, {.logits = logits,
                            .slots = device.row_slots,
                            .state = device.slots,
                            .sampled = device.sampled,
                            .rows = device.rows,
                            .top = device.top,
                            .mode = mode});
}

}  // namespace brayton
