// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/device_transport.h"
#include "gateway/config/environment.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate {

// What the process ends with, beside what `serve` returns. 64 and up as in
// BSD's sysexits.h.
inline constexpr int k_exit_ok = 0;
inline constexpr int k_exit_check_failed = 1;   // check-config found problems
inline constexpr int k_exit_usage = 64;         // the command line is wrong
inline constexpr int k_exit_no_input = 66;      // a file to be read cannot be
inline constexpr int k_exit_internal = 70;      // a bug
inline constexpr int k_exit_cannot_write = 73;  // a file cannot be written
inline constexpr int k_exit_config = 78;        // the configuration has problems

// gateway/serve.h's serve(), or a test's stand-in.
using ServeFunction =
    std::function<int(Settings settings, const std::string& config_path, std::function<Result<Settings>()> reload)>;

// What the command line reads and writes beside files.
struct CommandLineContext {
  std::ostream& out;
  std::ostream& err;
  config::Environment environment;
  bool err_is_terminal = false;  // then progress is shown on it
  // What `device` reaches the API by.
  std::function<std::unique_ptr<ApiTransport>(const ApiAddress&)> connect = make_curl_transport;
};

// Does what the arguments say and returns the exit status. `serve` is called for
// the command `serve` alone, with settings that have passed every check.
int run_command_line(const std::vector<std::string>& arguments, const CommandLineContext& context,
                     const ServeFunction& serve);

// The same for main(): standard streams and the process's own environment.
int run_command_line(int argc, char** argv, const ServeFunction& serve);

}  // namespace fieldgate
