// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/routes.h"

namespace fieldgate::mqtt {
namespace {

std::optional<RecordKind> parse_kind(std::string_view name) {
  for (std::size_t i = 0; i < k_record_kinds; ++i) {
    const auto kind = static_cast<RecordKind>(i);
    if (to_string(kind) == name) return kind;
  }
  return std::nullopt;
}

}  // namespace

Result<Routes> Routes::make(const std::vector<RouteSettings>& routes) {
  static const std::vector<RouteSettings> k_default = {
      {{"telemetry", "state", "opaque", "command_reply"}, RoutePayload::batch},
      {{"event"}, RoutePayload::protobuf},
      {{"presence"}, RoutePayload::json},
  };
  Routes result;
  for (const RouteSettings& route : routes.empty() ? k_default : routes) {
    for (const std::string& name : route.kinds) {
      const auto kind = parse_kind(name);
      if (!kind) return make_error(Errc::invalid_argument, "routes: there is no kind of record called " + name);
      auto& entry = result.table_[static_cast<std::size_t>(*kind)];
      if (!entry) entry = route.payload;
    }
  }
  return result;
}

}  // namespace fieldgate::mqtt
