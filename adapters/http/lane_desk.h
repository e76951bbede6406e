// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/dead_letter_query.h"
#include "adapters/http/message.h"
#include "adapters/http/problem.h"
#include "adapters/http/routes.h"
#include "adapters/http/sealed_cursor.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/lane_control.h"
#include "gateway/ports/node_status.h"

#include <string_view>

namespace fieldgate::http {

// Answers what concerns lanes and dead letters: looks them up, and does to them what
// an operator asks. Knows nothing of tokens.
// Thread:  any, one call at a time; may take a short look at the disk.
// Borrows: everything given by reference.
// Bounds:  k_dead_letters_max letters for each call.
class LaneDesk {
 public:
  LaneDesk(const NodeStatus& status, LaneControl& control, const CursorSeal& seal, const Clock& clock)
      : status_(status), control_(control), seal_(seal), clock_(clock) {}

  // Precondition: the route is one of lanes or dead letters, and takes the method.
  Response answer(Route route, const Request& request);

 private:
  using Step = Result<void> (LaneControl::*)(std::string_view);
  using One = Result<void> (LaneControl::*)(std::uint64_t);
  using All = LaneControl::Bulk (LaneControl::*)(const DeadLetterQuery&);

  Response show_lane(const Request& request) const;
  Response turn_lane(const Request& request, Step step);
  Response list_letters(const Request& request) const;
  Response show_letter(const Request& request) const;
  Response do_one(const Request& request, One act);
  Response do_all(const Request& request, All act);
  // Whether a letter behind `after` was there when the first of the requests came.
  bool any_older(const DeadLetterRequest& wanted, std::uint64_t after) const;
  Response lane_not_found(const Request& request) const;

  const NodeStatus& status_;
  LaneControl& control_;
  const CursorSeal& seal_;
  const Clock& clock_;
};

}  // namespace fieldgate::http
