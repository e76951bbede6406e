// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

namespace fieldgate::config {

// Environment variables by name, in order.
using Environment = std::map<std::string, std::string>;

// The process's own.
Environment process_environment();

}  // namespace fieldgate::config
