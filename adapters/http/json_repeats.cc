// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/json_repeats.h"

#include "adapters/http/json_body.h"

#include <boost/json/basic_parser_impl.hpp>

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <utility>
#include <vector>

namespace fieldgate::http {
namespace {

namespace json = boost::json;
using boost::system::error_code;

// What Boost.JSON's parser tells; false ends it.
class Handler {
 public:
  static constexpr std::size_t max_object_size = ~std::size_t{0};
  static constexpr std::size_t max_array_size = ~std::size_t{0};
  static constexpr std::size_t max_key_size = ~std::size_t{0};
  static constexpr std::size_t max_string_size = ~std::size_t{0};

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) { return open(true); }
  bool on_object_end(std::size_t, error_code&) { return close(); }
  bool on_array_begin(error_code&) { return open(false); }
  bool on_array_end(std::size_t, error_code&) { return close(); }
  bool on_key_part(json::string_view part, std::size_t, error_code&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, std::size_t, error_code& ec) {
    key_.append(part.data(), part.size());
    Level& level = levels_.back();
    level.step = std::exchange(key_, {});
    if (level.names.insert(level.step).second) return true;
    found.emplace();
    for (const Level& each : levels_) *found += pointer_step(each.object ? each.step : std::to_string(each.at));
    ec = json::error::syntax;
    return false;
  }
  bool on_string_part(json::string_view, std::size_t, error_code&) { return true; }
  bool on_string(json::string_view, std::size_t, error_code&) { return value(); }
  bool on_number_part(json::string_view, error_code&) { return true; }
  bool on_int64(std::int64_t, json::string_view, error_code&) { return value(); }
  bool on_uint64(std::uint64_t, json::string_view, error_code&) { return value(); }
  bool on_double(double, json::string_view, error_code&) { return value(); }
  bool on_bool(bool, error_code&) { return value(); }
  bool on_null(error_code&) { return value(); }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

  std::optional<std::string> found;

 private:
  // An object or array that is open: the member, or the place, that is being read.
  struct Level {
    bool object = false;
    std::size_t at = 0;
    std::string step{};
    std::unordered_set<std::string> names{};
  };

  bool open(bool object) {
    levels_.push_back({.object = object});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return value();
  }
  bool value() {
    if (!levels_.empty()) ++levels_.back().at;
    return true;
  }

  std::vector<Level> levels_;
  std::string key_;
};

}  // namespace

std::optional<std::string> repeated_member(std::string_view text, std::size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::basic_parser<Handler> parser(options);
  error_code ec;
  parser.write_some(false, text.data(), text.size(), ec);
  return std::move(parser.handler().found);
}

}  // namespace fieldgate::http
