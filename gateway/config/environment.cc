// SPDX-License-Identifier: Apache-2.0
#include "gateway/config/environment.h"

#include <unistd.h>

#include <string_view>

namespace fieldgate::config {

Environment process_environment() {
  Environment environment;
  for (char** line = environ; line != nullptr && *line != nullptr; ++line) {
    const std::string_view text(*line);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

}  // namespace fieldgate::config
