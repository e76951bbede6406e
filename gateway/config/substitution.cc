// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/substitution.h"

#include "gateway/config/problem.h"

namespace fieldgate::config {
namespace {

bool is_variable_name(std::string_view name) {
  constexpr std::string_view k_letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
  return !name.empty() && name.find_first_not_of(k_letters) == std::string_view::npos &&
         !(name.front() >= '0' && name.front() <= '9');
}

}  // namespace

Substituted substitute(std::string_view text, const Environment& environment) {
  Substituted result;
  while (!text.empty()) {
    const std::size_t dollar = std::min(text.find('$'), text.size());
    result.text.append(text.substr(0, dollar));
    text.remove_prefix(dollar);
    if (text.starts_with("${")) {
      const std::size_t end = text.find('}');
      const std::string name(text.substr(2, end == std::string_view::npos ? end : end - 2));
      if (end == std::string_view::npos || !is_variable_name(name)) {
        result.problems.push_back("${ must be followed by a variable's name and }; write $${ for a plain ${");
        return result;
      }
      const auto variable = environment.find(name);
      if (variable == environment.end()) {
        result.problems.push_back("environment variable " + name + " is not set");
      } else {
        result.text.append(variable->second);
      }
      text.remove_prefix(end + 1);
    } else if (!text.empty()) {
      result.text.push_back('$');
      text.remove_prefix(text.starts_with("$$") ? 2 : 1);
    }
  }
  return result;
}

}  // namespace fieldgate::config
