// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/config/binder.h"
#include "gateway/core/error.h"

#include <string>

namespace fieldgate {

// A configuration file read, parsed and bound, with every problem of each step.
// Errors: the file cannot be read; the detail names it.
Result<config::Bound> load_configuration(const std::string& path, const config::Environment& environment);

}  // namespace fieldgate
