// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/message.h"
#include "adapters/http/parameters.h"
#include "adapters/http/stream_event.h"
#include "gateway/core/device_summary.h"

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fieldgate::http {

// Which events somebody wants. Devices and labels concern events of devices alone.
struct StreamFilter {
  StreamKinds kinds = k_default_kinds;
  std::set<std::string, std::less<>> devices;                              // empty: of all
  std::vector<std::pair<std::string, std::optional<std::string>>> labels;  // all of them; without a value: any

  bool wants(StreamKind kind) const noexcept { return (kinds & bit(kind)) != 0; }
  bool wants_records() const noexcept { return (kinds & k_record_stream_kinds) != 0; }
  bool wants_device(std::string_view device) const { return devices.empty() || devices.contains(device); }
  // `of`: the device's, sorted by key.
  bool wants_labels(const Labels& of) const;
};

struct StreamRequest {
  StreamFilter filter;
  std::string last_event_id;  // empty: from now on
};

// Reads kinds, device, label and last_event_id, or the header Last-Event-ID (WHATWG HTML,
// section 9.2.4), which wins.
// Bounds: at most `devices_max` devices, where records are wanted.
std::variant<StreamRequest, ParameterFault> read_stream_request(const Request& request, std::size_t devices_max);

}  // namespace fieldgate::http
