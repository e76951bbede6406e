// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/sim/basics.h"

#include "fieldgate/v1/device.pb.h"

#include <boost/json/object.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace fieldgate::sim {

// What a device does when it is told something: it carries out commands, each once
// however often it comes, and keeps a twin.
//
//   ping            succeeds with {"pong": true, "time": ms}
//   echo            succeeds with the payload it was sent
//   sleep           succeeds after {"seconds": S} (1); can be cancelled meanwhile
//   fail, reject    ends so
//   ignore          is acknowledged, and never heard of again
//   anything else   is rejected
//
// A desired document is merged into the reported one and taken over as it is, but for
// a member "refuse", which is answered with an error.
// Thread: its device's. Bounds: the last k_remembered commands, and as many at work.
class Duties {
 public:
  static constexpr std::size_t k_remembered = 64;
  // Takes a data frame without its number, to be sent in order.
  using Emit = std::function<void(v1::DeviceFrame&)>;

  // The reported document as it is at first; to be called once per connection.
  void report(std::int64_t now_ms, const Emit& emit);
  // False: it has come before, and what was answered then is answered again.
  bool command(const v1::Command& command, const Now& now, const Emit& emit);
  void cancel(const std::string& id, const Emit& emit);
  void desired(const v1::Desired& desired, const Emit& emit);
  // Ends what is due.
  void wake(const Now& now, const Emit& emit);
  std::int64_t next_us() const noexcept;

 private:
  struct Known {
    std::string id;
    v1::CommandResult result;  // without an id: none yet
  };
  struct Working {
    std::string id;
    std::int64_t due_us = 0;
  };
  void conclude(const std::string& id, v1::CommandResult::Outcome outcome, const std::string& text,
                const std::string& payload, const Emit& emit);
  void carry_out(const v1::Command& command, const Now& now, const Emit& emit);

  std::deque<Known> known_;  // oldest first
  std::vector<Working> working_;
  boost::json::object reported_{{"mode", "auto"}, {"interval_s", 10}};
  bool reported_once_ = false;
};

}  // namespace fieldgate::sim
