// SPDX-License-Identifier: Apache-2.0
// A configuration file from its text to settings, and back.
#include "adapters/yaml/yaml.h"
#include "gateway/config/binder.h"
#include "gateway/config/print.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace {

using fieldgate::Settings;
using fieldgate::config::Bound;
using fieldgate::config::Environment;
using fieldgate::config::Problem;

void require(bool holds) {
  if (!holds) std::abort();
}

Bound bound_from(std::string_view text, const Environment& environment, bool& parsed_whole) {
  auto parsed = fieldgate::yaml::parse(text, "fuzz");
  for (const Problem& problem : parsed.problems) {
    require(!problem.message.empty());
    require(problem.message.find('\n') == std::string::npos);
  }
  parsed_whole = parsed.root.has_value() && parsed.problems.empty();
  require(parsed.root.has_value() || !parsed.problems.empty());
  if (!parsed.root) return {std::nullopt, std::move(parsed.problems), fieldgate::config::Places({"fuzz", 1, 1})};
  return fieldgate::config::bind(std::move(*parsed.root), environment);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Environment environment{{"A", "1"}, {"EMPTY", ""}, {"FIELDGATE_MQTT_0_PORT", "1884"}};
  bool parsed_whole = false;
  const Bound bound = bound_from(text, environment, parsed_whole);
  require(bound.settings.has_value() || fieldgate::config::any_error(bound.problems) || !parsed_whole);
  for (const Problem& problem : bound.problems) require(problem.message.find('\n') == std::string::npos);
  if (!bound.settings) return 0;
  // What is printed means the same.
  const std::string printed = fieldgate::config::print_yaml(*bound.settings);
  const Bound again = bound_from(printed, {}, parsed_whole);
  require(parsed_whole && again.settings.has_value());
  require(fieldgate::config::print_yaml(*again.settings) == printed);
  return 0;
}
