// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body.h"
#include "adapters/http/loop.h"
#include "adapters/http/stream_filter.h"
#include "adapters/http/stream_history.h"
#include "adapters/http/stream_watch.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/fleet_changes.h"
#include "gateway/ports/live_tap.h"
#include "gateway/ports/probes.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fieldgate::http {

class StreamSubscription;

// Brings the events of the live stream to those who want them: Server-Sent Events
// (WHATWG HTML, section 9.2). An event is written once; who takes it, gets it with the
// others of the same moment, so that many subscribers cost few writes.
// Thread:  the loop's, and so for the subscriptions that it gives out.
// Borrows: loop, clock, probe; `labels` may be asked with every event.
// Bounds:  subscribers_max; for each of them subscriber_bytes_max of events that wait;
//          history_events and history_bytes_max for those who fall behind or come back,
//          of which what devices send gets half, so that it cannot push out the rest.
class StreamHub : public std::enable_shared_from_this<StreamHub> {
 public:
  using LabelsOf = std::function<Labels(std::string_view device)>;
  using Watch = std::function<void(WatchSetPtr)>;
  using WatchChanges = std::function<void(ChangeWatchPtr)>;

  // `watch` is told whose records are wanted, some time after that has changed;
  // `watch_changes` the same of what other nodes write. Empty: there are none.
  StreamHub(const ApiStreamSettings& settings, std::string node, std::string boot_id, std::weak_ptr<Loop> loop,
            LabelsOf labels, Watch watch, const Clock& clock, HttpProbe& probe, WatchChanges watch_changes = {});

  // `token`: what recheck() will ask for again; `expires_unix_ms`: the stream ends then;
  // 0: never. Errors: Errc::full.
  Result<std::shared_ptr<BodySource>> subscribe(const StreamRequest& request, std::string token,
                                                std::int64_t expires_unix_ms);

  // Whether there has been a subscriber yet: before, nothing need be published.
  bool heard() const noexcept { return heard_; }
  // `json`: one object. `device`: empty for none.
  void publish(StreamKind kind, std::string_view device, std::string json);
  // Events that never came here: whoever wants any of those kinds is told, for it cannot
  // be said whose they were.
  void lost(StreamKinds kinds, std::uint64_t count);
  // The same of commands and twins that other nodes wrote; `uncounted`: and perhaps more.
  void missed_changes(std::uint64_t count, bool uncounted);
  bool watches(const std::string& device) const { return records_.has(device); }

  // About once a second: signs of life, and the end of those whose time has come.
  void tick();
  // Ends the streams of tokens for which `still_valid` says no.
  void recheck(const std::function<bool(std::string_view token)>& still_valid);

  std::size_t subscribers() const noexcept { return subscriptions_.size(); }
  // Between an event and its sending: longer with many subscribers.
  milliseconds pause() const noexcept;

 private:
  friend class StreamSubscription;
  class Walk;

  std::string id_of(std::uint64_t number) const { return prefix_ + std::to_string(number); }
  // An event about the stream itself; an id of `number` lets its reader resume from there.
  std::string note(std::string_view event, std::optional<std::uint64_t> number) const;
  // The number in an id of this process; nullopt: it is none.
  std::optional<std::uint64_t> number_of(std::string_view id) const;
  // Whether all that the filter wants after `number` is still known.
  bool covers(const StreamFilter& filter, std::uint64_t number);
  // The newest event of these that the history has given up; 0: none yet.
  std::uint64_t given_up(const StreamFilter& filter) const noexcept;
  // How many events after `number` the history has for it.
  std::uint64_t count(const StreamFilter& filter, std::uint64_t number) const;
  void add(StreamSubscription& subscription);
  void remove(StreamSubscription& subscription);
  // `labels`: of the event's device, once they have been looked up.
  bool matches(const StreamFilter& filter, const StreamEvent& event, std::optional<Labels>& labels) const;
  void schedule_flush();
  void flush();
  // What it wants that comes only while somebody wants it: each with its names.
  template <class Visit>
  void each_watch(const StreamFilter& filter, Visit&& visit);
  void schedule_watch();
  void tell_watch();
  static ChangeScope scope_of(const StreamWatch& watch);

  const ApiStreamSettings settings_;
  const std::string node_;
  const std::string boot_id_;
  const std::string prefix_;
  const std::weak_ptr<Loop> loop_;
  const LabelsOf labels_of_;
  const Watch watch_;
  const WatchChanges watch_changes_;
  const Clock& clock_;
  HttpProbe& probe_;
  std::uint64_t last_ = 0;  // number of the newest event
  StreamHistory fleet_events_;
  StreamHistory record_events_;
  std::vector<StreamSubscription*> subscriptions_;
  std::vector<StreamSubscription*> of_all_;  // those that name no device
  std::unordered_map<std::string, std::vector<StreamSubscription*>> of_device_;
  // By device. Those of changes have a name more, k_all_devices.
  StreamWatch records_;
  StreamWatch commands_;
  StreamWatch twins_;
  bool heard_ = false;
  bool flush_due_ = false;
  bool watch_due_ = false;
};

// The events of the history that a filter wants, in their order.
class StreamHub::Walk {
 public:
  Walk(const StreamHub& hub, const StreamFilter& filter, std::uint64_t after)
      : hub_(hub),
        filter_(filter),
        fleet_(hub.fleet_events_.after(after)),
        records_(filter.wants_records() ? hub.record_events_.after(after) : hub.record_events_.end()) {}
  // nullptr: that was all.
  const StreamEventPtr* next();

 private:
  const StreamHub& hub_;
  const StreamFilter& filter_;
  StreamHistory::Events::const_iterator fleet_;
  StreamHistory::Events::const_iterator records_;
};

}  // namespace fieldgate::http
