// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/stream_event.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

namespace fieldgate::http {

// The newest events, for those who come back.
// Thread: one. Bounds: events_max and bytes_max; beyond them the oldest go.
class StreamHistory {
 public:
  StreamHistory(std::size_t events_max, std::size_t bytes_max) : events_max_(events_max), bytes_max_(bytes_max) {}

  // Numbers rise from one to the next.
  void add(StreamEventPtr event) {
    bytes_ += event->text.size();
    events_.push_back(std::move(event));
    while (events_.size() > events_max_ || bytes_ > bytes_max_) {
      given_up_ = events_.front()->number;
      bytes_ -= events_.front()->text.size();
      events_.pop_front();
    }
  }

  // Gives up everything up to `number`: something among it never came.
  void forget(std::uint64_t number) {
    events_.clear();
    bytes_ = 0;
    given_up_ = number;
  }

  // The newest of those that have gone; 0: none has.
  std::uint64_t given_up() const noexcept { return given_up_; }

  using Events = std::deque<StreamEventPtr>;
  Events::const_iterator after(std::uint64_t number) const {
    return std::partition_point(events_.begin(), events_.end(),
                                [number](const StreamEventPtr& event) { return event->number <= number; });
  }
  Events::const_iterator end() const noexcept { return events_.end(); }

 private:
  const std::size_t events_max_;
  const std::size_t bytes_max_;
  Events events_;
  std::size_t bytes_ = 0;
  std::uint64_t given_up_ = 0;
};

}  // namespace fieldgate::http
