// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/load.h"

#include "adapters/yaml/yaml.h"

#include <utility>

namespace fieldgate {

Result<config::Bound> load_configuration(const std::string& path, const config::Environment& environment) {
  const Result<std::string> text = yaml::read_file(path);
  if (!text) return text.error();
  yaml::Parsed parsed = yaml::parse(*text, path);
  if (!parsed.root) return config::Bound{std::nullopt, std::move(parsed.problems), config::Places({path, 0, 0})};
  config::Bound bound = config::bind(std::move(*parsed.root), environment);
  bound.problems.insert(bound.problems.end(), parsed.problems.begin(), parsed.problems.end());
  config::sort_by_place(bound.problems);
  if (config::any_error(bound.problems)) bound.settings.reset();
  return bound;
}

}  // namespace fieldgate
