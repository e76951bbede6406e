// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/topics.h"

#include <algorithm>

namespace fieldgate::mqtt {
namespace {

constexpr std::string_view k_presence = "/presence";
constexpr std::string_view k_commands = "/commands/";
constexpr std::size_t k_prefix_bytes_max = 256;

}  // namespace

bool is_valid_prefix(std::string_view prefix) noexcept {
  if (prefix.empty() || prefix.size() > k_prefix_bytes_max) return false;
  if (prefix.front() == '$' || prefix.front() == '/' || prefix.back() == '/') return false;
  if (prefix.find("//") != std::string_view::npos) return false;
  return std::ranges::all_of(prefix, [](char c) { return c > ' ' && c <= '~' && c != '+' && c != '#'; });
}

Result<Topics> Topics::make(std::string_view prefix, std::string_view node) {
  if (!is_valid_prefix(prefix)) {
    return make_error(Errc::invalid_argument,
                      "topic_prefix: levels of printable ASCII without blank, + and #, divided by single slashes, at "
                      "most 256 bytes, not beginning with $");
  }
  if (!is_valid_name(node)) return make_error(Errc::invalid_argument, "the node name cannot be a topic level");
  std::string base(prefix);
  base += '/';
  return Topics(base + "devices/", base + "batches/", base + "nodes/", node);
}

std::optional<std::string> Topics::record(const RecordView& record) const {
  if (!is_valid_name(record.device)) return std::nullopt;
  std::string topic;
  topic.reserve(devices_.size() + record.device.size() + record.name.size() + 18);
  topic.append(devices_).append(record.device);
  switch (record.kind) {
    case RecordKind::telemetry: return topic.append("/telemetry");
    case RecordKind::state: return topic.append("/state");
    case RecordKind::command_reply: return topic.append("/replies");
    case RecordKind::presence: return topic.append("/presence/events");
    case RecordKind::event: topic.append("/events/"); break;
    case RecordKind::opaque: topic.append("/opaque/"); break;
  }
  if (!is_valid_name(record.name)) return std::nullopt;
  return topic.append(record.name);
}

std::string Topics::batch(std::uint32_t partition) const { return batches_ + std::to_string(partition); }

std::string Topics::presence(const DeviceId& device) const {
  return std::string(devices_).append(device.str()).append(k_presence);
}

std::string Topics::presence_filter() const { return std::string(devices_).append("+").append(k_presence); }

std::optional<DeviceId> Topics::parse_presence(std::string_view topic) const {
  if (!topic.starts_with(devices_) || !topic.ends_with(k_presence)) return std::nullopt;
  if (topic.size() < devices_.size() + k_presence.size()) return std::nullopt;
  topic.remove_prefix(devices_.size());
  topic.remove_suffix(k_presence.size());
  auto device = DeviceId::parse(topic);
  if (!device) return std::nullopt;
  return *std::move(device);
}

std::optional<Topics::CommandAddress> Topics::parse_command(std::string_view topic) const {
  if (!topic.starts_with(devices_)) return std::nullopt;
  topic.remove_prefix(devices_.size());
  const std::size_t middle = topic.find(k_commands);
  if (middle == std::string_view::npos) return std::nullopt;
  const std::string_view name = topic.substr(middle + k_commands.size());
  auto device = DeviceId::parse(topic.substr(0, middle));
  if (!device || !is_valid_name(name)) return std::nullopt;
  return CommandAddress{*std::move(device), std::string(name)};
}

}  // namespace fieldgate::mqtt
