// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_desk.h"

#include "adapters/http/lane_views.h"
#include "adapters/http/problem.h"
#include "adapters/http/stream_events.h"

#include <optional>
#include <span>
#include <utility>
#include <variant>

namespace fieldgate::http {
namespace {

std::optional<StreamKind> kind_of(RecordKind kind) {
  switch (kind) {
    case RecordKind::telemetry: return StreamKind::telemetry;
    case RecordKind::event: return StreamKind::event;
    case RecordKind::state: return StreamKind::state;
    case RecordKind::opaque: return StreamKind::opaque;
    case RecordKind::presence:
    case RecordKind::command_reply: break;  // told as what became of them
  }
  return std::nullopt;
}

RecordView view_of(const TappedRecord& record) {
  RecordView view;
  view.kind = record.kind;
  view.device = record.device;
  view.name = record.name;
  view.stream = record.stream;
  view.seq = record.seq;
  view.epoch = record.epoch;
  view.received_unix_ms = record.received_unix_ms;
  view.payload = record.payload;
  return view;
}

std::shared_ptr<StreamHub> make_hub(const std::weak_ptr<Loop>& loop, const ApiStreamSettings& settings,
                                    const ApiPorts& ports, const FleetIndex& index) {
  const NodeInfo node = ports.status.node();
  StreamHub::WatchChanges watch_changes;
  if (FleetChanges* changes = ports.control.changes; changes != nullptr) {
    watch_changes = [changes](ChangeWatchPtr what) { changes->watch(std::move(what)); };
  }
  return std::make_shared<StreamHub>(
      settings, node.name, node.boot_id, loop,
      [&index, &clock = ports.clock](std::string_view device) {
        auto known = index.find(device, clock.unix_ms());
        return known ? known->labels : Labels{};
      },
      [&live = ports.live](WatchSetPtr devices) { live.watch(std::move(devices)); }, ports.clock, ports.probe,
      std::move(watch_changes));
}

}  // namespace

StreamDesk::StreamDesk(const std::weak_ptr<Loop>& loop, const ApiStreamSettings& settings, const ApiPorts& ports,
                       const FleetIndex& index)
    : ports_(ports), hub_(make_hub(loop, settings, ports, index)), devices_max_(settings.devices_max) {}

Response StreamDesk::open(const Request& request, const TokenHolder& holder) {
  const auto read = read_stream_request(request, devices_max_);
  if (const auto* wrong = std::get_if<ParameterFault>(&read)) return make_problem(*wrong, request.id);
  Response response;
  response.content_type = "text/event-stream; charset=utf-8";
  response.headers.emplace_back("X-Accel-Buffering", "no");  // nginx would keep events back
  if (request.head.method == "HEAD") return response;
  const std::string* authorization = request.head.header("authorization");
  const std::string token(authorization == nullptr ? std::string_view() : TokenTable::bearer(*authorization));
  auto source = hub_->subscribe(std::get<StreamRequest>(read), token, holder.expires_unix_ms);
  if (!source) return make_problem(Problem::too_many_subscribers, request.id, source.error().detail);
  response.source = std::move(*source);
  return response;
}

void StreamDesk::moved(const DeviceSummary& device) {
  if (hub_->heard()) hub_->publish(StreamKind::presence, device.id, presence_event_json(device));
}

void StreamDesk::registered(const RegistryChange& change) {
  if (hub_->heard()) hub_->publish(StreamKind::registry, change.id, registry_event_json(change));
}

void StreamDesk::take(StreamInbox::Content content) {
  if (!hub_->heard()) return;
  for (const auto& command : content.commands) {
    hub_->publish(StreamKind::command, command->device, command_event_json(*command));
  }
  for (const auto& twin : content.twins) hub_->publish(StreamKind::twin, twin->device, twin_event_json(*twin));
  for (const TappedRecord& record : content.records) tell_record(record);
  hub_->lost(k_record_stream_kinds, content.lost_records);
  hub_->lost(bit(StreamKind::command) | bit(StreamKind::twin), content.lost_others);
  hub_->missed_changes(content.missed_changes, content.missed_uncounted);
}

// One that is of a device watched no longer, or cannot be read, is nobody's.
void StreamDesk::tell_record(const TappedRecord& record) {
  const std::optional<StreamKind> kind = kind_of(record.kind);
  if (!kind || !hub_->watches(record.device)) return;
  if (writer_.write(view_of(record), text_)) hub_->publish(*kind, record.device, text_);
}

void StreamDesk::tick() {
  tell_lanes();
  hub_->tick();
}

void StreamDesk::tell_lanes() {
  for (const LaneStatus& lane : ports_.status.lanes()) {
    LaneFace face{lane.state, lane.held, lane.last_error};
    const auto [at, fresh] = lanes_.try_emplace(lane.name, face);
    if (fresh || at->second == face) continue;
    at->second = std::move(face);
    if (hub_->heard()) {
      hub_->publish(StreamKind::lane, {}, lane_json(lane, ports_.lanes.dead_letters().usage()));
    }
  }
}

void StreamDesk::recheck(const Access& access) {
  const std::int64_t now = ports_.clock.unix_ms();
  hub_->recheck([&](std::string_view token) { return access.identify(token, now).has_value(); });
}

}  // namespace fieldgate::http
