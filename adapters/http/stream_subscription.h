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

// One reader of the live stream: what waits for it, and how far it has come. A reader
// that falls behind goes on from the history, as one that comes back does; what that has
// given up by then is counted, and said in a `missed` event.
// Thread: the loop's. Bounds: ApiStreamSettings::subscriber_bytes_max of events of its own.
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
  // Events that were lost before it could be said whose they are; `uncounted`: and perhaps
  // others, of which nobody knows how many.
  void lose(std::uint64_t count, bool uncounted) noexcept {
    lost_ += count;
    uncounted_ = uncounted_ || uncounted;
  }
  // Gives the reader what there is, if it is waiting.
  void pump();
  void keep_alive(Monotonic now, milliseconds every);
  void end();

 private:
  std::string gather();
  void gather_replay(StreamHub& hub, std::string& out);
  std::string missed_in_history(StreamHub& hub);
  bool has_lost() const noexcept { return lost_ > 0 || uncounted_; }
  std::string lost_text();
  void give(std::string bytes);

  const std::weak_ptr<StreamHub> hub_;
  const StreamFilter filter_;
  const std::string token_;
  const std::int64_t expires_unix_ms_;
  GaugeHold hold_;
  Give give_;  // set: the reader waits
  std::string lead_;
  std::deque<StreamEventPtr> queue_;
  std::size_t bytes_ = 0;  // of queue_
  // Set: what comes after this number, and after the queue, is to be had from the history.
  std::optional<std::uint64_t> replay_;
  std::uint64_t behind_ = 0;  // of those, how many it wants, the ones given up included
  std::uint64_t told_ = 0;    // through this number, what was given up has been said
  std::uint64_t lost_ = 0;    // not said yet
  bool uncounted_ = false;    // more than these, perhaps
  Monotonic given_at_;
  bool ended_ = false;
};

}  // namespace fieldgate::http
