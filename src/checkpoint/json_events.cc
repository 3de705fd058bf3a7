#include "checkpoint/json_events.h"

#include "checkpoint/printable.h"
#include "core/format.h"
#include "core/json.h"

namespace brayton {
namespace {

constexpr int kMaxDepth = 64;

class Adapter final : public Json::json_sax_t {
 public:
  Adapter(const std::string& where, const std::string& what, JsonEvents& events)
      : where_(where), what_(what), events_(events) {}

  bool null() override { return other("null"); }
  bool boolean(bool value) override { return other(value ? "true" : "false"); }
  bool number_integer(int64_t value) override { return other(std::to_string(value)); }
  bool number_float(double, const std::string& token) override { return other(token); }
  bool number_unsigned(uint64_t value) override {
    events_.value({JsonScalar::Kind::kUnsigned, value, std::to_string(value)});
    return true;
  }
  bool string(std::string& value) override {
    events_.value({JsonScalar::Kind::kString, 0, std::move(value)});
    return true;
  }
  bool binary(Json::binary_t&) override { return other("binary"); }
  bool key(std::string& name) override {
    events_.key(std::move(name));
    return true;
  }
  bool start_object(size_t) override { return open('{'); }
  bool start_array(size_t) override { return open('['); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string& token,
                   const Json::exception& fault) override {
    if (fault.id == 406)  // out_of_range: a number that no double holds
      throw_error(ErrorCode::kInvalidModel, "[{}] {} must hold finite numbers, got {} at byte {}",
                  where_, what_, printable(token), position);
    throw_error(ErrorCode::kInvalidModel, "[{}] {} must be JSON, got a fault at byte {} after '{}'",
                where_, what_, position, printable(token));
  }

 private:
  bool other(std::string text) {
    events_.value({JsonScalar::Kind::kOther, 0, std::move(text)});
    return true;
  }
  bool open(char bracket) {
    if (++depth_ > kMaxDepth)
      throw_error(ErrorCode::kInvalidModel, "[{}] {} must nest at most {} levels", where_, what_,
                  kMaxDepth);
    events_.open(bracket);
    return true;
  }
  bool close() {
    --depth_;
    events_.close();
    return true;
  }

  const std::string& where_;
  const std::string& what_;
  JsonEvents& events_;
  int depth_ = 0;
};

}  // namespace

void read_json_events(std::string_view text, const std::string& where, const std::string& what,
                      JsonEvents& events) {
  Adapter adapter(where, what, events);
  Json::sax_parse(text.begin(), text.end(), &adapter);
}

}  // namespace brayton
