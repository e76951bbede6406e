// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/environment.h"

#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::config {

struct Substituted {
  std::string text;
  std::vector<std::string> problems;
};

// `text` with each ${VAR} replaced by that variable's value, once: what comes
// in is not looked at again. $$ is a dollar sign; so is a $ before anything else.
Substituted substitute(std::string_view text, const Environment& environment);

}  // namespace fieldgate::config
