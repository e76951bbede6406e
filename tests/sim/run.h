// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/fleet.h"
#include "tests/sim/mqtt_subscriber.h"

#include <optional>
#include <string>
#include <vector>

namespace fieldgate::sim {

inline constexpr int k_exit_ok = 0;
inline constexpr int k_exit_fault = 1;    // the run was made, and something is wrong
inline constexpr int k_exit_problem = 2;  // it could not be made

struct RunSettings {
  FleetSettings fleet;
  std::string profile_name = "steady";
  double seconds = 0;               // 0: until a signal
  double grace_seconds = 15;        // for the last acknowledgements
  double signal_grace_seconds = 3;  // the same where a signal ended the run
  bool progress = false;            // even if stderr is no terminal
  std::string json_file;            // "-": standard output
  std::string ledger_file;
  std::optional<BrokerSettings> verify;
  double settle_seconds = 10;  // without a new record, before what is missing counts as lost
  bool require_order = false;
};

struct VerifySettings {
  BrokerSettings broker;
  std::vector<std::string> ledger_files;
  std::string ready_file;   // made once the subscriptions stand
  double wait_seconds = 0;  // for the ledgers; 0: until a signal
  double settle_seconds = 10;
  bool progress = false;
  bool require_order = false;
  std::string json_file;
};

// SIGINT and SIGTERM end both early and orderly. To be called on the main
// thread, before any other thread is started; return the exit status.
int run_fleet(const RunSettings& settings);
int run_verify(const VerifySettings& settings);

}  // namespace fieldgate::sim
