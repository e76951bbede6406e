// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/command_line.h"
#include "gateway/core/settings.h"

#include <string>

namespace fieldgate {

// `fieldgate drain`: for whoever is about to stop the process, such as a preStop hook.
struct DrainRequest {
  std::string state_dir;
  std::string timeout;     // as written; empty: as long as the settings allow, and 10 s
  seconds drain_max{120};  // without settings
  void from(const Settings& settings);
};
// 0: drained. 1: not in time, or the process ended before. 64: no such time. 69: there is no gateway.
int run_drain(const DrainRequest& request, const CommandLineContext& context);

// `fieldgate health`: for whoever watches the process and cannot speak HTTP.
struct HealthRequest {
  std::string admin;  // http://HOST:PORT
  bool ready = false;
  void from(const Settings& settings);
};
// 0: it is well. 1: it says that it is not. 69: there is no answer.
int run_health(const HealthRequest& request, const CommandLineContext& context);

}  // namespace fieldgate
