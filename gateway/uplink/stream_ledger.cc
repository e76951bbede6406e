// SPDX-License-Identifier: Apache-2.0
#include "gateway/uplink/stream_ledger.h"

#include <algorithm>
#include <utility>

namespace fieldgate::uplink {
namespace {

// A stream that is not known, or that is not the current one, becomes so; the older
// of two others is forgotten.
StreamMark& current_stream(DeviceMarks& marks, StreamId id) {
  auto& [current, other] = marks.streams;
  if (current.id != id) {
    std::swap(current, other);
    if (current.id != id) current = {id, {}, {}};
  }
  return current;
}

void raise(StreamMark& mark, Seq seq, LogPosition position) {
  if (seq <= mark.logged) return;
  mark.logged = seq;
  mark.position = position;
}

}  // namespace

void StreamLedger::restore(std::vector<DeviceMarks> devices) {
  devices_.reserve(devices.size());
  for (DeviceMarks& marks : devices) {
    const LogPosition newest = std::max(marks.streams[0].position, marks.streams[1].position);
    const DeviceId id = marks.device;
    devices_.insert_or_assign(id, Entry{std::move(marks), newest});
  }
  if (devices_.size() > devices_max_) make_room();
}

void StreamLedger::apply(const RecordBlock& block) {
  std::string_view last;  // neighbours are often of one device
  Entry* entry = nullptr;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const RecordView record = block[i];
    if (entry == nullptr || record.device != last) {
      entry = find(record.device);
      last = record.device;
    }
    if (entry != nullptr) apply(record, {block.first_position().value + i}, *entry);
  }
}

// nullptr: not a device's id, so no device will ever ask for it.
StreamLedger::Entry* StreamLedger::find(std::string_view device) {
  if (const auto at = devices_.find(device); at != devices_.end()) return &at->second;
  auto id = DeviceId::parse(device);
  if (!id) return nullptr;
  if (devices_.size() >= devices_max_) make_room();
  return &devices_.emplace(*id, Entry{DeviceMarks{*id, {}, {}, false, 0, 0}, {}}).first->second;
}

void StreamLedger::apply(const RecordView& record, LogPosition position, Entry& entry) {
  DeviceMarks& marks = entry.marks;
  if (!entry.changed) {
    entry.changed = true;
    changed_.push_back(&entry);
  }
  entry.newest = std::max(entry.newest, position);
  // Of an earlier connection: a dead letter that was put back, or a record that was
  // applied before.
  const bool stale = record.epoch < marks.epoch;
  const bool fresh = record.epoch > marks.epoch;
  if (fresh) marks.epoch = record.epoch;
  if (record.kind == RecordKind::presence) return apply_presence(record, fresh, entry);
  marks.last_data_unix_ms = std::max(marks.last_data_unix_ms, record.received_unix_ms);
  if (record.stream.value == 0) return;
  if (!stale) return raise(current_stream(marks, record.stream), record.seq, position);
  for (StreamMark& mark : marks.streams) {
    if (mark.id == record.stream) raise(mark, record.seq, position);
  }
}

// A connection goes online once and offline once, whatever is said again later.
void StreamLedger::apply_presence(const RecordView& record, bool fresh, Entry& entry) {
  const bool online = record.name == "online";
  if (record.epoch < entry.marks.epoch) return;
  if (record.epoch == entry.presence && online && !entry.marks.online) return;
  entry.presence = record.epoch;
  // Said again, to one lane for instance that had refused it, it was said to the others as well.
  const bool again = online && entry.marks.online && !fresh;
  entry.marks.presence_lanes = record.lanes | (again ? entry.marks.presence_lanes : 0);
  entry.marks.online = online;
  entry.marks.since_unix_ms = record.received_unix_ms;
}

void StreamLedger::make_room() {
  std::vector<Entry*> oldest;
  oldest.reserve(devices_.size());
  for (auto& [id, entry] : devices_) oldest.push_back(&entry);
  const std::size_t over = devices_.size() > devices_max_ ? devices_.size() - devices_max_ : 0;
  const std::size_t goes = std::min(over + 1 + devices_max_ / 64, oldest.size());
  // To forget one that is online is to leave it online for ever, should this process be killed.
  const auto order = [](const Entry* entry) { return std::pair(entry->marks.online, entry->newest); };
  std::ranges::nth_element(oldest, oldest.begin() + static_cast<std::ptrdiff_t>(goes - 1), {}, order);
  oldest.resize(goes);
  for (Entry* entry : oldest) entry->gone = true;
  std::erase_if(changed_, [](const Entry* entry) { return entry->gone; });
  for (const Entry* entry : oldest) {
    gone_.push_back(entry->marks.device);
    devices_.erase(gone_.back());
  }
}

StreamLedger::Changes StreamLedger::take_changes() {
  Changes changes;
  changes.changed.reserve(changed_.size());
  for (Entry* entry : changed_) {
    entry->changed = false;
    changes.changed.push_back(entry->marks);
  }
  changed_.clear();
  // Who came back since is not gone.
  std::erase_if(gone_, [&](const DeviceId& id) { return devices_.contains(id); });
  changes.gone = std::exchange(gone_, {});
  return changes;
}

std::vector<DeviceMarks> StreamLedger::all() const {
  std::vector<DeviceMarks> devices;
  devices.reserve(devices_.size());
  for (const auto& [id, entry] : devices_) devices.push_back(entry.marks);
  return devices;
}

}  // namespace fieldgate::uplink
