#include "backends/cpu/packed_linear.h"

namespace brayton::cpu {

PackedLinear::PackedLinear(LinearForm form, int64_t n, int64_t k, std::string tactic, Buffer data)
    : form(form),
      n(n),
      k(k),
      data(data.data()),
      buffer_(std::move(data)),
      tactic_(std::move(tactic)) {}

PackedLinear::~PackedLinear() = default;

int64_t PackedLinear::bytes() const { return static_cast<int64_t>(buffer_.size()); }

const std::string& PackedLinear::tactic() const { return tactic_; }

const PackedLinear& packed_linear(const PackedWeight& weight) {
  return static_cast<const PackedLinear&>(weight);
}

}  // namespace brayton::cpu
