// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/message.h"

#include <array>
#include <deque>
#include <optional>
#include <vector>

namespace fieldgate::mqtt {

// Messages published and not yet acknowledged, in the order of publishing.
// Thread: one. Bounds: the caller keeps size() within the window, which keeps the
// look-up by packet id short (acknowledgements come nearly in order).
class InFlight {
 public:
  void add(int packet_id, Message message, Monotonic now);

  struct Taken {
    Message message;
    Monotonic sent;
  };
  // nullopt: there is none with that packet id.
  std::optional<Taken> take(int packet_id);

  // All that is left, oldest first.
  std::vector<Message> drain();

  std::size_t size() const noexcept { return entries_.size(); }
  std::size_t count(MessageKind kind) const noexcept { return counts_[static_cast<std::size_t>(kind)]; }

 private:
  struct Entry {
    int packet_id;
    Monotonic sent;
    Message message;
  };
  std::deque<Entry> entries_;
  std::array<std::size_t, k_message_kinds> counts_{};
};

}  // namespace fieldgate::mqtt
