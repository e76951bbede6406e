// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/config/bind_text.h"

#include "adapters/yaml/yaml.h"

#include <utility>

namespace fieldgate::config {

Bound bind_text(std::string_view text, const Environment& environment) {
  yaml::Parsed parsed = yaml::parse(text, "f.yaml");
  if (!parsed.root) return {std::nullopt, std::move(parsed.problems), Places({"f.yaml", 1, 1})};
  Bound bound = bind(std::move(*parsed.root), environment);
  bound.problems.insert(bound.problems.end(), parsed.problems.begin(), parsed.problems.end());
  sort_by_place(bound.problems);
  return bound;
}

Lines lines(const std::vector<Problem>& problems) {
  Lines all;
  for (const Problem& problem : problems) all.push_back(to_string(problem));
  return all;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

testing::AssertionResult says(const Lines& all, const Lines& parts) {
  bool good = all.size() == parts.size();
  for (std::size_t i = 0; good && i < all.size(); ++i) good = contains(all[i], parts[i]);
  if (good) return testing::AssertionSuccess();
  return testing::AssertionFailure() << testing::PrintToString(all) << "\ninstead of " << testing::PrintToString(parts);
}

testing::AssertionResult mentions(const Lines& all, std::string_view part, std::string_view other) {
  for (const std::string& line : all) {
    if (contains(line, part) && contains(line, other)) return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << testing::PrintToString(all) << "\nwithout " << part << " and " << other;
}

Lines problems_with(std::string_view section, const Environment& environment) {
  return lines(bind_text(std::string(k_sound).append(section).append("\n"), environment).problems);
}

}  // namespace fieldgate::config
