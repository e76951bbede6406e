// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/stream_filter.h"

#include "adapters/http/text.h"
#include "gateway/core/ids.h"

#include <algorithm>
#include <array>

namespace fieldgate::http {
namespace {

constexpr std::array<std::string_view, 4> k_names = {"kinds", "device", "label", "last_event_id"};
constexpr std::size_t k_labels_max = 16;
constexpr std::size_t k_label_key_bytes_max = 64;
constexpr std::size_t k_label_value_bytes_max = 256;
constexpr std::size_t k_event_id_bytes_max = 256;

using Fault = std::optional<ParameterFault>;

Fault read_kinds(const std::string& value, StreamFilter& filter) {
  filter.kinds = 0;
  bool known = true;
  for_each_item(value, [&](std::string_view item) {
    const auto* at = std::find(k_stream_kinds.begin(), k_stream_kinds.end(), item);
    known = known && at != k_stream_kinds.end();
    if (known) filter.kinds |= bit(static_cast<StreamKind>(at - k_stream_kinds.begin()));
  });
  if (known && filter.kinds != 0) return {};
  std::string names;
  for (const std::string_view name : k_stream_kinds) names.append(names.empty() ? "" : ", ").append(name);
  return invalid_parameter("kinds", "want some of " + names + ", separated by commas");
}

Fault read_label(const std::string& value, StreamFilter& filter) {
  const std::size_t equals = std::min(value.find('='), value.size());
  if (equals == 0 || equals > k_label_key_bytes_max || value.size() - equals > k_label_value_bytes_max + 1) {
    return invalid_parameter("label", "want KEY or KEY=VALUE, with a key of 1 to 64 bytes and a value of at most 256");
  }
  if (filter.labels.size() == k_labels_max) return invalid_parameter("label", "at most 16 of them");
  auto& label = filter.labels.emplace_back(value.substr(0, equals), std::nullopt);
  if (equals < value.size()) label.second = value.substr(equals + 1);
  return {};
}

Fault read_one(const std::string& name, const std::string& value, std::size_t devices_max, StreamRequest& out) {
  if (name == "kinds") return read_kinds(value, out.filter);
  if (name == "label") return read_label(value, out.filter);
  if (name == "device") {
    if (!is_valid_name(value)) return invalid_parameter("device", "want a device id");
    out.filter.devices.insert(value);
    if (out.filter.devices.size() > devices_max) {
      return invalid_parameter("device",
                               "at most " + std::to_string(devices_max) + " of them (api.stream.devices_max)");
    }
  }
  if (name == "last_event_id") out.last_event_id = value;
  return {};
}

}  // namespace

bool StreamFilter::wants_labels(const Labels& of) const {
  return std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
    const auto at = std::lower_bound(of.begin(), of.end(), label.first,
                                     [](const auto& one, const std::string& key) { return one.first < key; });
    return at != of.end() && at->first == label.first && (!label.second || at->second == *label.second);
  });
}

std::variant<StreamRequest, ParameterFault> read_stream_request(const Request& request, std::size_t devices_max) {
  if (Fault fault = refuse_unknown(request.target, k_names)) return std::move(*fault);
  StreamRequest out;
  std::size_t kinds = 0;
  std::size_t ids = 0;
  for (const auto& [name, value] : request.target.parameters) {
    kinds += name == "kinds" ? 1U : 0U;
    ids += name == "last_event_id" ? 1U : 0U;
    if (kinds > 1 || ids > 1) return invalid_parameter(name, "want it once");
    if (Fault fault = read_one(name, value, devices_max, out)) return std::move(*fault);
  }
  if (const std::string* header = request.head.header("last-event-id")) out.last_event_id = *header;
  // An id that is too long is none of ours, and answered as such.
  if (out.last_event_id.size() > k_event_id_bytes_max) out.last_event_id.resize(k_event_id_bytes_max);
  if (out.filter.wants_records() && out.filter.devices.empty()) {
    return ParameterFault{Problem::missing_parameter, "device",
                          "telemetry, event, state and opaque are told of devices that are named: device=ID, repeated "
                          "for up to " +
                              std::to_string(devices_max)};
  }
  return out;
}

}  // namespace fieldgate::http
