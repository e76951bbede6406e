// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/command_line.h"

#include <functional>
#include <memory>

namespace CLI {
class App;
}

namespace fieldgate {

// `fieldgate device ...`: the registry, credentials and commands, through the HTTP API.
class DeviceCommand {
 public:
  // Takes what it is to do, once the command line has been read.
  using Choose = std::function<void(std::function<int()>)>;

  // Adds its commands to `device`. Everything given outlives it.
  DeviceCommand(CLI::App& device, const CommandLineContext& context, const Choose& choose);
  ~DeviceCommand();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate
