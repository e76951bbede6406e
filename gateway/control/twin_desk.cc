// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/twin_desk.h"

#include "gateway/control/merge_patch.h"
#include "gateway/control/tell_owner.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fieldgate::control {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_backoff_min{500};
constexpr milliseconds k_backoff_max{10'000};
// A device of another node that has not acknowledged: that node is told again after these.
constexpr std::array<milliseconds, 3> k_told_again{milliseconds(2'000), milliseconds(10'000), milliseconds(60'000)};

namespace json = boost::json;

std::string too_many_bytes(std::size_t is, std::size_t max) {
  return "the document would have " + std::to_string(is) + " bytes; at most " + std::to_string(max) + " are kept";
}

// The document `text` after `change`. A document in the store is one that was checked.
Result<json::object> changed(const std::string& text, const json::object& change, bool patch) {
  if (!patch) return change;
  auto document = parse_object(text);
  if (document) merge(*document, change);
  return document;
}

// The device's twin, empty if it never had one; nullopt: there is no such device.
Result<std::optional<Twin>> twin_of(DeviceStore& store, const DeviceId& id) {
  auto twin = store.twin(id);
  if (!twin || twin->has_value()) return twin;
  const auto device = store.device(id);
  if (!device) return device.error();
  if (device->has_value()) return std::optional(Twin{.device = id});
  return std::optional<Twin>();
}

Error no_such_device(const DeviceId& id) {
  return make_error(Errc::not_found, "no such device is registered: " + id.str());
}

}  // namespace

struct TwinDesk::Wish {
  DeviceId device;
  json::object change;
  bool patch = false;
  std::optional<std::uint64_t> expected;
  std::string by;
  // Set anew by each run of the job.
  std::optional<Error> problem;
  std::optional<Twin> twin;
  bool changed = false;
  std::optional<json::object> delta;  // against the version before, if there is one
};

TwinDesk::TwinDesk(StoreWorker& worker, const Clock& clock, const TwinSettings& settings)
    : worker_(worker),
      clock_(clock),
      settings_(settings),
      inbox_(worker, [this](const auto& words) { heard(words); }),
      looks_(worker, [this](const NudgeBox::Nudges& devices) { nudged(devices); }) {}

void TwinDesk::start(ControlLinks links) {
  links_ = std::move(links);
  if (links_.peers == nullptr) return;
  links_.peers->serve(k_peer_twin_look, [this](PeerMessage message, const Peers::Answer&) {
    if (DeviceId::parse(message.body)) looks_.nudge(std::move(message.body), std::move(message.from));
  });
}

// --- what callers want

void TwinDesk::get(const DeviceId& id, Reply<Twin> reply) {
  auto found = std::make_shared<std::optional<Twin>>();
  const bool taken = worker_.submit(
      [found, id](DeviceStore& store) -> Result<void> {
        auto twin = twin_of(store, id);
        if (!twin) return twin.error();
        *found = std::move(*twin);
        return {};
      },
      [found, id, reply](const Result<void>& outcome) {
        if (!outcome) return reply(outcome.error());
        if (!*found) return reply(no_such_device(id));
        reply(std::move(**found));
      });
  if (!taken) {
    worker_.post([reply] { reply(make_error(Errc::unavailable, "too much waits for the store: try later")); });
  }
}

void TwinDesk::set_desired(const DeviceId& id, std::string text, bool patch, std::optional<std::uint64_t> expected,
                           std::string by, Reply<Twin> reply) {
  const auto refuse = [&](Error error) { worker_.post([reply, error = std::move(error)] { reply(error); }); };
  if (text.size() > settings_.document_bytes_max) {
    return refuse(make_error(Errc::too_large, too_many_bytes(text.size(), settings_.document_bytes_max)));
  }
  auto change = parse_object(text);
  if (!change) return refuse(change.error());
  auto wish = std::make_shared<Wish>(Wish{id, std::move(*change), patch, expected, std::move(by), {}, {}, false, {}});
  const bool taken =
      worker_.submit([this, wish](DeviceStore& store) { return take_wish(store, *wish); },
                     [this, wish, reply](const Result<void>& outcome) { wish_taken(*wish, outcome, reply); });
  if (!taken) refuse(make_error(Errc::unavailable, "too much waits for the store: try later"));
}

Result<void> TwinDesk::take_wish(DeviceStore& store, Wish& wish) const {
  wish.problem.reset();
  wish.delta.reset();
  wish.changed = false;
  auto found = twin_of(store, wish.device);
  if (!found) return found.error();
  wish.twin = std::move(*found);
  const auto refuse = [&wish](Error error) -> Result<void> {
    wish.problem = std::move(error);
    return {};
  };
  if (!wish.twin) return refuse(no_such_device(wish.device));
  Twin& twin = *wish.twin;
  if (wish.expected && *wish.expected != twin.desired_version) {
    return refuse(make_error(Errc::conflict, "the desired document has version " +
                                                 std::to_string(twin.desired_version) + ", not " +
                                                 std::to_string(*wish.expected)));
  }
  const auto before = parse_object(twin.desired_json);
  if (!before) return refuse(make_error(Errc::internal, "the document in the store: " + before.error().detail));
  json::object after = *before;
  if (wish.patch) {
    merge(after, wish.change);
  } else {
    after = wish.change;
  }
  if (after == *before && twin.desired_version > 0) return {};
  std::string text = to_text(after);
  if (text.size() > settings_.document_bytes_max) {
    return refuse(make_error(Errc::too_large, too_many_bytes(text.size(), settings_.document_bytes_max)));
  }
  wish.changed = true;
  wish.delta = difference(*before, after);
  twin.desired_json = std::move(text);
  ++twin.desired_version;
  twin.desired_unix_ms = clock_.unix_ms();
  return store.put_twin(twin);
}

void TwinDesk::wish_taken(Wish& wish, const Result<void>& outcome, const Reply<Twin>& reply) {
  if (!outcome) return reply(outcome.error());
  if (wish.problem) return reply(*wish.problem);
  const auto twin = std::make_shared<const Twin>(std::move(*wish.twin));
  reply(*twin);
  if (!wish.changed) return;
  tell(twin);
  auto entry = line(twin->device, "desired", twin->desired_version);
  entry.fields.emplace_back("by", wish.by);
  write_down(std::move(entry));
  const bool has_the_one_before = twin->acknowledged_version + 1 == twin->desired_version &&
                                  twin->acknowledged_error.empty() && twin->desired_version > 1;
  if (!online_.contains(twin->device)) {
    push_elsewhere(twin->device, 0);
  } else if (has_the_one_before && wish.delta) {
    push(twin->device, {twin->desired_version, to_text(*wish.delta), false});
  } else {
    push_whole(*twin);
  }
}

// --- what devices say

Result<void> TwinDesk::apply(DeviceStore& store, const JournalRecord& record) {
  if (const auto* reported = std::get_if<ReportedReply>(&record.reply)) return report(store, record, *reported);
  if (const auto* ack = std::get_if<DesiredAckReply>(&record.reply)) return acknowledge(store, record, *ack);
  return {};
}

Result<void> TwinDesk::report(DeviceStore& store, const JournalRecord& record, const ReportedReply& reported) {
  auto found = twin_of(store, record.device);
  if (!found) return found.error();
  if (!found->has_value()) return {};  // deleted meanwhile
  Twin& twin = **found;
  // Read before: within a stream its numbers say so, between two the connection does, for the
  // log may be read again from before the device began another stream.
  const bool again =
      record.stream == twin.reported_stream ? record.seq <= twin.reported_seq : record.epoch < twin.reported_epoch;
  if (again) return {};
  const auto refuse = [&](std::string why) -> Result<void> {
    auto entry = line(record.device, "reported", twin.reported_version);
    entry.epoch = record.epoch;
    entry.fields.emplace_back("refused", std::move(why));
    journalled_.push_back({nullptr, std::move(entry)});
    return {};
  };
  const auto change = parse_object(reported.json);
  if (!change) return refuse(change.error().detail);
  const auto before = parse_object(twin.reported_json);
  const auto after = changed(twin.reported_json, *change, !reported.full);
  if (!before || !after) return refuse("the document in the store is none");
  std::string text = to_text(*after);
  if (text.size() > settings_.document_bytes_max) {
    return refuse(too_many_bytes(text.size(), settings_.document_bytes_max));
  }
  const bool is_news = *before != *after || twin.reported_version == 0;
  twin.reported_stream = record.stream;
  twin.reported_seq = record.seq;
  twin.reported_epoch = record.epoch;
  twin.reported_unix_ms = record.received_unix_ms;
  if (is_news) {
    twin.reported_json = std::move(text);
    ++twin.reported_version;
  }
  if (auto put = store.put_twin(twin); !put) return put;
  if (is_news) journalled_.push_back({std::make_shared<const Twin>(std::move(twin)), {}});
  return {};
}

Result<void> TwinDesk::acknowledge(DeviceStore& store, const JournalRecord& record, const DesiredAckReply& ack) {
  auto found = store.twin(record.device);
  if (!found) return found.error();
  if (!found->has_value() || ack.version > (*found)->desired_version || ack.version < (*found)->acknowledged_version) {
    return {};
  }
  Twin& twin = **found;
  if (ack.version == twin.acknowledged_version && ack.error == twin.acknowledged_error) return {};
  twin.acknowledged_version = ack.version;
  twin.acknowledged_error = ack.error;
  twin.acknowledged_unix_ms = record.received_unix_ms;
  if (auto put = store.put_twin(twin); !put) return put;
  auto entry = line(record.device, "acknowledged", ack.version);
  entry.epoch = record.epoch;
  if (!ack.error.empty()) entry.fields.emplace_back("error", ack.error);
  journalled_.push_back({std::make_shared<const Twin>(std::move(twin)), std::move(entry)});
  return {};
}

void TwinDesk::committed() {
  for (Journalled& each : journalled_) {
    if (each.twin != nullptr) tell(each.twin);
    if (each.line) write_down(std::move(*each.line));
  }
  journalled_.clear();
}

// --- devices

void TwinDesk::heard(const DeviceInbox::Words& words) {
  std::vector<DeviceId> came;
  for (const auto& [device, word] : words) {
    const auto at = online_.find(device);
    const Epoch known = at == online_.end() ? Epoch{} : at->second.epoch;
    if (word.epoch < known) continue;
    if (!word.online) {
      if (at != online_.end()) online_.erase(at);
    } else if (at == online_.end() || word.epoch > known) {
      online_[device] = {word.epoch};
      came.push_back(device);
    }
  }
  while (!came.empty()) {
    const std::size_t count = std::min(came.size(), k_devices_per_job);
    look_for({came.end() - static_cast<std::ptrdiff_t>(count), came.end()});
    came.erase(came.end() - static_cast<std::ptrdiff_t>(count), came.end());
  }
}

// Tells those who have not acknowledged what is desired of them.
void TwinDesk::look_for(std::vector<DeviceId> devices) {
  auto behind = std::make_shared<std::vector<Twin>>();
  const auto retry = [this](const std::vector<DeviceId>& missed) {
    for (const DeviceId& device : missed) {
      if (const auto at = online_.find(device); at != online_.end()) retry_later(device, at->second.epoch);
    }
  };
  const bool taken = worker_.submit(
      [behind, devices](DeviceStore& store) -> Result<void> {
        behind->clear();
        for (const DeviceId& device : devices) {
          auto twin = store.twin(device);
          if (!twin) return twin.error();
          if (twin->has_value() && (*twin)->acknowledged_version < (*twin)->desired_version) {
            behind->push_back(std::move(**twin));
          }
        }
        return {};
      },
      [this, behind, devices, retry](const Result<void>& outcome) {
        if (!outcome) return retry(devices);
        for (const Twin& twin : *behind) push_whole(twin);
      });
  if (!taken) retry(devices);
}

void TwinDesk::push_whole(const Twin& twin) { push(twin.device, {twin.desired_version, twin.desired_json, true}); }

void TwinDesk::push(const DeviceId& device, DesiredFrame frame) {
  const auto at = online_.find(device);
  if (at == online_.end() || links_.downlink == nullptr) return;
  const Epoch epoch = at->second.epoch;
  const std::uint64_t version = frame.version;
  links_.downlink->send(device, std::move(frame), [this, device, epoch, version](Delivery delivery, Epoch) {
    worker_.post([this, device, epoch, version, delivery] { answered(device, epoch, version, delivery); });
  });
}

void TwinDesk::answered(const DeviceId& device, Epoch was, std::uint64_t version, Delivery delivery) {
  const auto at = online_.find(device);
  if (at == online_.end() || at->second.epoch != was) return;  // it is told as it connects
  Online& online = at->second;
  switch (delivery) {
    case Delivery::sent: online.backoff = {}; return;
    case Delivery::offline:  // or not yet known there
    case Delivery::busy: return retry_later(device, was);
    case Delivery::too_large:
    case Delivery::unsupported: break;
  }
  if (std::exchange(online.refused, version) == version) return;
  auto entry = line(device, "desired", version);
  entry.epoch = was;
  entry.fields.emplace_back("not_sent", delivery == Delivery::too_large
                                            ? "larger than the device's receive_max_bytes in its Hello"
                                            : "the device does not take desired documents (capabilities in its Hello)");
  write_down(std::move(entry));
}

void TwinDesk::retry_later(const DeviceId& device, Epoch epoch) {
  Online& online = online_.at(device);
  if (std::exchange(online.retrying, true)) return;
  online.backoff = std::clamp(online.backoff * 2, k_backoff_min, k_backoff_max);
  worker_.after(online.backoff, [this, device, epoch] {
    const auto at = online_.find(device);
    if (at == online_.end() || at->second.epoch != epoch) return;
    at->second.retrying = false;
    look_for({device});
  });
}

// --- devices of other nodes

void TwinDesk::nudged(const NudgeBox::Nudges& devices) {
  std::vector<DeviceId> here;
  for (const auto& [what, from] : devices) {
    const auto device = DeviceId::parse(what);
    if (device && online_.contains(*device)) here.push_back(*device);
    if (here.size() == k_devices_per_job) look_for(std::exchange(here, {}));
  }
  if (!here.empty()) look_for(std::move(here));
}

void TwinDesk::push_elsewhere(const DeviceId& device, std::size_t attempt) {
  if (links_.peers == nullptr) return;
  tell_owner(worker_, links_, k_peer_twin_look, device, [] {});
  if (attempt >= k_told_again.size()) {
    elsewhere_.erase(device);
    return;
  }
  const auto at = elsewhere_.find(device);
  if (at == elsewhere_.end() && elsewhere_.size() >= k_elsewhere_max) return;
  const bool timed = at != elsewhere_.end() && attempt == 0;
  elsewhere_[device] = attempt;
  if (timed) return;  // it begins anew with the attempt that is due
  worker_.after(k_told_again[attempt], [this, device] {
    if (const auto due = elsewhere_.find(device); due != elsewhere_.end()) push_again(device, due->second + 1);
  });
}

void TwinDesk::push_again(const DeviceId& device, std::size_t attempt) {
  auto behind = std::make_shared<bool>(false);
  const bool taken = worker_.submit(
      [device, behind](DeviceStore& store) -> Result<void> {
        const auto twin = store.twin(device);
        if (!twin) return twin.error();
        *behind = twin->has_value() && (*twin)->acknowledged_version < (*twin)->desired_version;
        return {};
      },
      [this, device, attempt, behind](const Result<void>& outcome) {
        if (outcome && !*behind) {
          elsewhere_.erase(device);
        } else {
          push_elsewhere(device, attempt);
        }
      });
  if (!taken) elsewhere_.erase(device);
}

// --- telling

TimelineEntry TwinDesk::line(const DeviceId& device, std::string what, std::uint64_t version) const {
  TimelineEntry entry{.device = device, .kind = TimelineKind::twin, .unix_ms = clock_.unix_ms()};
  entry.fields = {{"what", std::move(what)}, {"version", std::to_string(version)}};
  return entry;
}

void TwinDesk::tell(const std::shared_ptr<const Twin>& twin) {
  for (ControlSink* sink : links_.sinks) sink->twin_changed(twin);
}

void TwinDesk::write_down(TimelineEntry entry) {
  if (links_.recorder != nullptr) links_.recorder->record(std::move(entry));
}

}  // namespace fieldgate::control
