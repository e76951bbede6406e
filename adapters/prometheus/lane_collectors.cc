// SPDX-License-Identifier: Apache-2.0
#include "adapters/prometheus/collectors.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace fieldgate::metrics {
namespace {

const DeadLetterUsage* letters_of(const Snapshot& in, std::string_view lane) {
  const auto at = std::find_if(in.dead_letters.begin(), in.dead_letters.end(),
                               [&](const DeadLetterUsage& usage) { return usage.lane == lane; });
  return at == in.dead_letters.end() ? nullptr : &*at;
}

}  // namespace

// ---------------------------------------------------------------- every lane

void lane_state(const Snapshot& in, Samples& out) {
  constexpr std::array<LaneState, 5> k_states = {LaneState::connecting, LaneState::running, LaneState::backing_off,
                                                 LaneState::paused, LaneState::stopped};
  for (const LaneStatus& lane : in.lanes) {
    for (const LaneState state : k_states) out.add(lane.state == state ? 1 : 0, {lane.name, to_string(state)});
  }
}

void lane_held(const Snapshot& in, Samples& out) {
  for (const LaneStatus& lane : in.lanes) out.add(lane.held ? 1 : 0, {lane.name});
}

void lane_oldest_pending(const Snapshot& in, Samples& out) {
  for (const LaneStatus& lane : in.lanes) out.add(static_cast<double>(lane.oldest_pending_ms) / 1e3, {lane.name});
}

void lane_records(const Snapshot& in, Samples& out) {
  for (const LaneStatus& lane : in.lanes) {
    out.add(static_cast<double>(lane.forwarded_records), {lane.name, "forwarded"});
    out.add(static_cast<double>(lane.filtered_records), {lane.name, "filtered"});
    out.add(static_cast<double>(lane.dead_lettered_records), {lane.name, "dead_lettered"});
    out.add(static_cast<double>(lane.expired_records), {lane.name, "expired"});
    out.add(static_cast<double>(lane.skipped_records), {lane.name, "skipped"});
  }
}

void lane_connection_attempts(const Snapshot& in, Samples& out) {
  for (const LaneProbe& lane : in.sources.lanes) {
    std::visit(
        [&](const auto* probe) {
          out.add(static_cast<double>(probe->connects.get()), {lane.lane, "connected"});
          out.add(static_cast<double>(probe->connect_failures.get()), {lane.lane, "failed"});
        },
        lane.probe);
  }
}

void lane_record_time(const Snapshot& in, Samples& out) {
  for (const LaneProbe& lane : in.sources.lanes) {
    const std::array<const HistogramCell*, 1> one = {
        std::visit([](const auto* probe) { return &probe->record_time; }, lane.probe)};
    out.add(one, {lane.lane});
  }
}

// ---------------------------------------------------------------- MQTT lanes

void lane_in_flight_messages(const Snapshot& in, Samples& out) {
  for_each_lane<MqttLaneProbe>(in, [&](std::string_view lane, const MqttLaneProbe& probe) {
    out.add(static_cast<double>(probe.in_flight.load(std::memory_order_relaxed)), {lane});
  });
}

// The codes that MQTT 5.0 section 3.4.2.1 has for PUBACK, and whatever else a
// broker came up with.
void lane_refusals(const Snapshot& in, Samples& out) {
  constexpr std::array<std::size_t, 7> k_standard = {0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
  for_each_lane<MqttLaneProbe>(in, [&](std::string_view lane, const MqttLaneProbe& probe) {
    for (std::size_t code = 0; code < probe.refusals.size(); ++code) {
      const std::uint64_t count = probe.refusals[code].get();
      const bool standard = std::find(k_standard.begin(), k_standard.end(), code) != k_standard.end();
      if (count == 0 && !standard) continue;
      std::array<char, 8> text;
      std::snprintf(text.data(), text.size(), "0x%02x", static_cast<unsigned>(code & 0xff));
      out.add(static_cast<double>(count), {lane, text.data()});
    }
  });
}

// ------------------------------------------------------------- webhook lanes

void lane_requests(const Snapshot& in, Samples& out) {
  for_each_lane<WebhookLaneProbe>(in, [&](std::string_view lane, const WebhookLaneProbe& probe) {
    for (std::size_t i = 0; i < k_webhook_outcomes.size(); ++i) {
      out.add(static_cast<double>(probe.requests[i].get()), {lane, k_webhook_outcomes[i]});
    }
  });
}

void lane_responses(const Snapshot& in, Samples& out) {
  constexpr std::array<std::string_view, 5> k_classes = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  for_each_lane<WebhookLaneProbe>(in, [&](std::string_view lane, const WebhookLaneProbe& probe) {
    for (std::size_t i = 0; i < k_classes.size(); ++i) {
      out.add(static_cast<double>(probe.responses[i].get()), {lane, k_classes[i]});
    }
  });
}

void lane_in_flight_requests(const Snapshot& in, Samples& out) {
  for_each_lane<WebhookLaneProbe>(in, [&](std::string_view lane, const WebhookLaneProbe& probe) {
    out.add(static_cast<double>(probe.in_flight.get()), {lane});
  });
}

// -------------------------------------------------------------- dead letters

// Of every lane that is configured, and of those that no longer are but left some.
void dead_letter_value(const Snapshot& in, Samples& out, std::uint64_t DeadLetterUsage::*value) {
  if (!in.sources.dead_letters) return;
  for (const LaneStatus& lane : in.lanes) {
    const DeadLetterUsage* usage = letters_of(in, lane.name);
    out.add(usage == nullptr ? 0.0 : static_cast<double>(usage->*value), {lane.name});
  }
  for (const DeadLetterUsage& usage : in.dead_letters) {
    const bool known =
        std::any_of(in.lanes.begin(), in.lanes.end(), [&](const LaneStatus& lane) { return lane.name == usage.lane; });
    if (!known) out.add(static_cast<double>(usage.*value), {usage.lane});
  }
}

}  // namespace fieldgate::metrics
