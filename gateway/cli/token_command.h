// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/command_line.h"

#include <functional>
#include <memory>

namespace CLI {
class App;
}

namespace fieldgate {

// `fieldgate token new|device|jwt`: makes the secrets that people and devices show.
class TokenCommand {
 public:
  // Takes what it is to do, once the command line has been read.
  using Choose = std::function<void(std::function<int()>)>;

  // Adds its commands to `token`. Everything given outlives it.
  TokenCommand(CLI::App& token, const CommandLineContext& context, const Choose& choose);
  ~TokenCommand();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate
