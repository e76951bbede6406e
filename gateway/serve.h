// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <functional>
#include <string>

namespace fieldgate {

// Reads the configuration again, as it stands now. Any thread; reads files.
// Errors: Errc::invalid_argument with the first problem in `detail`.
using ReloadSettings = std::function<Result<Settings>()>;

// Runs the gateway until it is told to end. `config_path` is for messages.
// Returns the exit status of the process.
int serve(Settings settings, const std::string& config_path, ReloadSettings reload);

}  // namespace fieldgate
