// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body.h"
#include "adapters/http/stream_event.h"
#include "adapters/http/stream_filter.h"
#include "gateway/core/cell.h"
#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace fieldgate::http {

class StreamHub;

// One reader of the live stream: what waits for it, and how far it has come.
// Thread: the loop's. Bounds: ApiStreamSettings::subscriber_bytes_max; what is beyond it
//         is counted, and said in a `missed` event as soon as there is room.
class StreamSubscription final : public BodySource {
 public:
  // `replay_after`: first what the history has after that event; nullopt: from now on.
  // `lead`: what is sent before anything else.
  StreamSubscription(std::shared_ptr<StreamHub> hub, StreamFilter filter, std::string token,
                     std::int64_t expires_unix_ms, std::optional<std::uint64_t> replay_after, std::string lead);
  ~StreamSubscription() override;

  void next(Give give) override;
  bool endless() const noexcept override { return true; }

  const StreamFilter& filter() const noexcept { return filter_; }
  const std::string& token() const noexcept { return token_; }
  bool expired(std::int64_t unix_ms) const noexcept { return expires_unix_ms_ != 0 && unix_ms >= expires_unix_ms_; }

  // Precondition: the event is one that it wants.
  void take(const StreamEventPtr& event);
  // Events that were lost before it could be said whose they are.
  void lose(std::uint64_t count);
  // Gives the reader what there is, if it is waiting.
  void pump();
  void keep_alive(Monotonic now, milliseconds every);
  void end();

 private:
  struct Missed {
    std::uint64_t count = 0;
    std::uint64_t from = 0;  // numbers; 0: none of those that are counted has one
    std::uint64_t to = 0;
  };

  bool waiting() const noexcept;
  std::string gather();
  void gather_replay(std::string& out);
  std::string missed_text();
  void give(std::string bytes);

  const std::weak_ptr<StreamHub> hub_;
  const StreamFilter filter_;
  const std::string token_;
  const std::int64_t expires_unix_ms_;
  GaugeHold hold_;
  Give give_;  // set: the reader waits
  std::string lead_;
  std::optional<std::uint64_t> replay_;  // set: the history is not caught up with
  std::deque<StreamEventPtr> queue_;
  std::size_t bytes_ = 0;  // of queue_
  Missed missed_;          // since the newest of queue_
  Monotonic given_at_;
  bool ended_ = false;
};

}  // namespace fieldgate::http
