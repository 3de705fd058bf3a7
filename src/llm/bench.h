// Speed of a loaded model: one batch's latency, and the throughput of many requests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "brayton/llm.h"

namespace brayton {

struct Percentiles {
  double p50 = 0;
  double p99 = 0;
};

Percentiles percentiles(std::vector<double> values);  // of any order; zeros for none

struct LatencyReport {
  double ttft_ms = 0;            // until every sequence has its first token
  double ttft_median_ms = 0;     // of this run and the repeats
  double ttft_least_ms = 0;      // of the same
  Percentiles itl_ms;            // between tokens of a sequence
  Percentiles step_ms;           // the same while the whole batch decodes
  double decode_tok_s = 0;       // all sequences together, first tokens excluded
  double read_bandwidth = 0;     // bytes/s, measured in this run
  double floor_ms = 0;           // least time to read weights and cache once, half way
  double fraction_of_floor = 0;  // of the mean time of a decode step
};

// `batch` sequences of `input` random ids, `output` tokens each, end tokens ignored; before it the
// time to the first token is measured `repeats` times.
LatencyReport bench_latency(LLM& llm, int64_t batch, int64_t input, int64_t output,
                            int64_t repeats = 0);

struct ThroughputRequest {
  std::vector<int32_t> prompt;
  int64_t output = 0;
};

struct ThroughputReport {
  int64_t requests = 0;
  double seconds = 0;
  double output_tok_s = 0;
  double total_tok_s = 0;  // prompt tokens counted too
  int64_t steps = 0;
  Percentiles host_us_per_step;
};

// All requests at once through the executor, end tokens ignored.
ThroughputReport bench_throughput(LLM& llm, const std::vector<ThroughputRequest>& requests);

std::vector<ThroughputRequest> random_requests(const LLM& llm, int64_t requests, int64_t input,
                                               int64_t output, uint64_t seed);
// A JSON array of ShareGPT conversations ({"conversations": [{"value": ...}, ...]}), or JSON lines
// with "prompt", "text", "question" or "turns"; answers set the output length where there are any.
std::vector<ThroughputRequest> dataset_requests(const LLM& llm, const std::string& path,
                                                int64_t requests, int64_t output);

}  // namespace brayton
