// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/control/device_inbox.h"
#include "gateway/control/journal_lane.h"
#include "gateway/control/links.h"
#include "gateway/control/nudge_box.h"
#include "gateway/control/store_worker.h"
#include "gateway/core/settings.h"
#include "gateway/core/twin.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/downlink.h"

#include <boost/json/object.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace fieldgate::control {

// Twins: what devices report comes through the journal, what is desired of them from the
// API. A device is told what is desired as it changes, and as it connects if it has not
// acknowledged that version: by a patch against the version before if it has acknowledged
// that one and found nothing wrong with it, else the whole document.
//
// Where a device is connected to another node, that one is told to look, and again after a
// while as long as the device has not acknowledged: such words may be lost.
//
// A document that is as it was makes no new version. A record that is a repetition by its
// stream and number changes nothing; after a device has changed its stream, a restart may
// take its last records in once more, in order: the document comes out the same, its
// version higher.
//
// Thread:  Twins and devices_changed() any. The rest: the store's, or before that starts.
// Borrows: worker, clock and what is linked, which outlive this; this outlives the
//          threads of the worker and the downlink.
// Bounds:  TwinSettings::document_bytes_max for each document, k_json_depth_max levels. A
//          report that would make it larger is not taken: the timeline says so.
class TwinDesk final : public Twins, public JournalSink {
 public:
  static constexpr std::size_t k_devices_per_job = 100;
  static constexpr std::size_t k_elsewhere_max = 10'000;  // devices of other nodes that are to be told again

  TwinDesk(StoreWorker& worker, const Clock& clock, const TwinSettings& settings);
  // Before the worker's start().
  void start(ControlLinks links);
  // In order per device; an older epoch than was heard of is passed over.
  void devices_changed(std::span<const DeviceSummary> devices) { inbox_.changed(devices); }

  void get(const DeviceId& id, Reply<Twin> reply) override;
  void set_desired(const DeviceId& id, std::string json, bool patch, std::optional<std::uint64_t> expected,
                   std::string by, Reply<Twin> reply) override;

  void begin() override { journalled_.clear(); }
  Result<void> apply(DeviceStore& store, const JournalRecord& record) override;
  void committed() override;

 private:
  struct Online {
    Epoch epoch{};
    std::chrono::milliseconds backoff{0};
    bool retrying = false;      // a timer is filed: it will tell what is desired by then
    std::uint64_t refused = 0;  // the version that its connection could not take
  };
  struct Wish;  // of what is to be desired
  // What came of a record: a changed twin, or a line for the timeline, or both.
  struct Journalled {
    std::shared_ptr<const Twin> twin;
    std::optional<TimelineEntry> line;
  };

  Result<void> take_wish(DeviceStore& store, Wish& wish) const;
  void wish_taken(Wish& wish, const Result<void>& outcome, const Reply<Twin>& reply);
  Result<void> report(DeviceStore& store, const JournalRecord& record, const ReportedReply& reported);
  Result<void> acknowledge(DeviceStore& store, const JournalRecord& record, const DesiredAckReply& ack);

  void heard(const DeviceInbox::Words& words);
  void look_for(std::vector<DeviceId> devices);
  void push_whole(const Twin& twin);
  void push(const DeviceId& device, DesiredFrame frame);
  void answered(const DeviceId& device, Epoch was, std::uint64_t version, Delivery delivery);
  void retry_later(const DeviceId& device, Epoch epoch);
  void nudged(const NudgeBox::Nudges& devices);
  void push_elsewhere(const DeviceId& device, std::size_t attempt);
  void push_again(const DeviceId& device, std::size_t attempt);

  TimelineEntry line(const DeviceId& device, std::string what, std::uint64_t version) const;
  void tell(const std::shared_ptr<const Twin>& twin);
  void write_down(TimelineEntry entry);

  StoreWorker& worker_;
  const Clock& clock_;
  const TwinSettings settings_;
  ControlLinks links_;
  std::unordered_map<DeviceId, Online> online_;
  std::vector<Journalled> journalled_;
  std::unordered_map<DeviceId, std::size_t> elsewhere_;  // and the attempt that comes
  DeviceInbox inbox_;
  NudgeBox looks_;
};

}  // namespace fieldgate::control
