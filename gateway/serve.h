// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <functional>
#include <string>

namespace fieldgate {

// Exit statuses of serve(), beside those of the command line.
inline constexpr int k_exit_unflushed = 1;      // stopped, but records were lost: neither forwarded nor on disk
inline constexpr int k_exit_start_failed = 69;  // EX_UNAVAILABLE: a port, a file or a lane is not to be had

// Runs the gateway until SIGTERM or SIGINT, on the calling thread and those it
// starts. SIGHUP reloads: `reload` reads the configuration again; what a running
// process can take over it takes over, and the rest is named in the log.
int serve(Settings settings, const std::string& config_path, std::function<Result<Settings>()> reload);

}  // namespace fieldgate
