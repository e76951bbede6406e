// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/command.h"

namespace fieldgate {

std::string_view to_string(CommandState state) noexcept {
  switch (state) {
    case CommandState::queued: return "queued";
    case CommandState::sent: return "sent";
    case CommandState::acknowledged: return "acknowledged";
    case CommandState::succeeded: return "succeeded";
    case CommandState::failed: return "failed";
    case CommandState::rejected: return "rejected";
    case CommandState::timed_out: return "timed_out";
    case CommandState::expired: return "expired";
    case CommandState::cancelled: return "cancelled";
  }
  return "unknown";
}

bool may_follow(CommandState from, CommandState to) noexcept {
  using enum CommandState;
  const bool result = to == succeeded || to == failed || to == rejected || to == cancelled;
  switch (from) {
    case queued: return true;
    case sent: return result || to == sent || to == acknowledged || to == timed_out;
    case acknowledged: return result || to == timed_out;
    case timed_out: return result;
    default: return false;
  }
}

}  // namespace fieldgate
