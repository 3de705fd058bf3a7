#include "llm/bench.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <random>

#include "core/format.h"
#include "core/json.h"
#include "core/mapped_file.h"

namespace brayton {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

std::vector<int32_t> random_ids(int64_t vocab, int64_t count, std::mt19937_64& random) {
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab));
  return ids;
}

SamplingParams fixed_length(int64_t tokens) {
  SamplingParams params;
  params.max_tokens = tokens;
  params.ignore_eos = true;
  return params;
}

// When each token of a request arrived; written by the loop thread until `done` is set.
struct Arrivals {
  std::vector<Clock::time_point> times;
  std::promise<RequestResult> done;
};

using AllArrivals = std::vector<std::shared_ptr<Arrivals>>;

AllArrivals run_all(LLM& llm, const std::vector<ThroughputRequest>& requests) {
  AllArrivals all;
  for (const ThroughputRequest& request : requests) {
    const auto arrivals = std::make_shared<Arrivals>();
    arrivals->times.reserve(request.output);
    llm.executor().enqueue(
        {.prompt = request.prompt, .sampling = fixed_length(request.output)},
        {.on_token =
             [arrivals](const TokenOutput&) {
               arrivals->times.push_back(Clock::now());
               return true;
             },
         .on_finish = [arrivals](const RequestResult& r) { arrivals->done.set_value(r); }});
    all.push_back(arrivals);
  }
  for (const auto& arrivals : all) {
    const RequestResult result = arrivals->done.get_future().get();
    if (result.finish_reason == FinishReason::kError)
      throw Error(ErrorCode::kInternal, result.error);
  }
  return all;
}

// When the last sequence got its first token.
Clock::time_point all_first_tokens(const AllArrivals& arrivals) {
  Clock::time_point first = arrivals.front()->times.front();
  for (const auto& request : arrivals) first = std::max(first, request->times.front());
  return first;
}

// Milliseconds of the steps that every sequence has a token of and no prompt: after all have their
// first token, until the first has its last.
std::vector<double> decode_steps(const AllArrivals& arrivals, Clock::time_point first) {
  Clock::time_point end = Clock::time_point::max();
  for (const auto& request : arrivals) end = std::min(end, request->times.back());
  std::vector<double> steps;
  for (const auto& request : arrivals) {
    const auto& times = request->times;
    for (size_t i = 1; i < times.size(); ++i)
      if (times[i - 1] >= first && times[i] <= end)
        steps.push_back(seconds(times[i] - times[i - 1]) * 1e3);
  }
  return steps;
}

int64_t token_count(const LLM& llm, const std::string& text) {
  return static_cast<int64_t>(llm.encode(text, false).size());
}

// Prompt and, where the record has one, answer.
std::pair<std::string, std::string> read_record(const Json& record, const std::string& where) {
  for (const char* key : {"conversations", "conversation"})
    if (record.contains(key) && record[key].is_array() && !record[key].empty()) {
      const Json& turns = record[key];
      const std::string first = JsonReader(turns[0], where).get_string({"value", "content"});
      if (turns.size() < 2) return {first, ""};
      return {first, JsonReader(turns[1], where).get_string({"value", "content"})};
    }
  if (record.contains("turns") && record["turns"].is_array() && !record["turns"].empty() &&
      record["turns"][0].is_string())
    return {record["turns"][0].get<std::string>(), ""};
  return {JsonReader(record, where).get_string({"prompt", "text", "question"}), ""};
}

std::vector<Json> read_records(const std::string& path) {
  const std::string text = read_text_file(path);
  const size_t start = text.find_first_not_of(" \t\r\n");
  std::vector<Json> records;
  if (start != std::string::npos && text[start] == '[') {
    for (Json& record : parse_json(text, path)) records.push_back(std::move(record));
    return records;
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (line.find_first_not_of(" \t\r") != std::string::npos)
      records.push_back(parse_json(line, format("{}, line {}", path, records.size() + 1)));
    at = end + 1;
  }
  return records;
}

}  // namespace

Percentiles percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.99)};
}

LatencyReport bench_latency(LLM& llm, int64_t batch, int64_t input, int64_t output,
                            int64_t repeats) {
  const double bandwidth = llm.measure_read_bandwidth();
  const auto requests = random_requests(llm, batch, input, output, 1);
  run_all(llm, random_requests(llm, batch, std::min<int64_t>(input, 16), 4, 2));  // warm up
  std::vector<double> first_tokens;
  for (int64_t i = 0; i < repeats; ++i) {
    const auto prompts = random_requests(llm, batch, input, 1, 3 + static_cast<uint64_t>(i));
    const auto begin = Clock::now();
    first_tokens.push_back(seconds(all_first_tokens(run_all(llm, prompts)) - begin) * 1e3);
  }
  const auto start = Clock::now();
  const auto arrivals = run_all(llm, requests);

  const Clock::time_point first = all_first_tokens(arrivals);
  Clock::time_point last = start;
  std::vector<double> gaps;
  int64_t later_tokens = 0;
  for (const auto& request : arrivals) {
    const auto& times = request->times;
    last = std::max(last, times.back());
    later_tokens += static_cast<int64_t>(times.size()) - 1;
    for (size_t i = 1; i < times.size(); ++i)
      gaps.push_back(seconds(times[i] - times[i - 1]) * 1e3);
  }
  LatencyReport report;
  report.ttft_ms = seconds(first - start) * 1e3;
  first_tokens.push_back(report.ttft_ms);
  report.ttft_median_ms = percentiles(first_tokens).p50;
  report.ttft_least_ms = *std::min_element(first_tokens.begin(), first_tokens.end());
  report.itl_ms = percentiles(gaps);
  report.step_ms = percentiles(decode_steps(arrivals, first));
  report.read_bandwidth = bandwidth;
  const double floor =
      static_cast<double>(llm.decode_read_bytes(batch, input + output / 2)) / bandwidth;
  report.floor_ms = floor * 1e3;
  if (later_tokens > 0 && last > first) {
    report.decode_tok_s = static_cast<double>(later_tokens) / seconds(last - first);
    report.fraction_of_floor = floor * report.decode_tok_s / static_cast<double>(batch);
  }
  return report;
}

ThroughputReport bench_throughput(LLM& llm, const std::vector<ThroughputRequest>& requests) {
  run_all(llm, random_requests(llm, 1, 16, 4, 2));  // warm up
  const ExecutorStats before = llm.executor().stats();
  const auto start = Clock::now();
  const auto arrivals = run_all(llm, requests);
  ThroughputReport report;
  report.seconds = seconds(Clock::now() - start);
  int64_t output = 0, input = 0;
  for (const auto& request : arrivals) output += static_cast<int64_t>(request->times.size());
  for (const ThroughputRequest& request : requests)
    input += static_cast<int64_t>(request.prompt.size());
  const ExecutorStats after = llm.executor().stats();
  report.requests = static_cast<int64_t>(requests.size());
  report.output_tok_s = static_cast<double>(output) / report.seconds;
  report.total_tok_s = static_cast<double>(output + input) / report.seconds;
  report.steps = after.steps - before.steps;
  report.host_us_per_step = percentiles({after.host_us.begin(), after.host_us.end()});
  return report;
}

std::vector<ThroughputRequest> random_requests(const LLM& llm, int64_t requests, int64_t input,
                                               int64_t output, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<ThroughputRequest> result;
  for (int64_t i = 0; i < requests; ++i)
    result.push_back({random_ids(llm.vocab_size(), input, random), output});
  return result;
}

std::vector<ThroughputRequest> dataset_requests(const LLM& llm, const std::string& path,
                                                int64_t requests, int64_t output) {
  std::vector<ThroughputRequest> result;
  for (const Json& record : read_records(path)) {
    if (requests > 0 && static_cast<int64_t>(result.size()) == requests) break;
    const auto [prompt, answer] = read_record(record, path);
    std::vector<int32_t> ids = llm.encode(prompt);
    const int64_t length = answer.empty() ? output : token_count(llm, answer);
    if (ids.empty() || length < 1 ||
        static_cast<int64_t>(ids.size()) + length > llm.max_positions())
      continue;
    result.push_back({std::move(ids), length});
  }
  if (result.empty())
    throw_error(ErrorCode::kInvalidArgument,
                "[bench] '{}' must hold prompts that fit into {} positions", path,
                llm.max_positions());
  return result;
}

}  // namespace brayton
