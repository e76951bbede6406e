// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/ids.h"
#include "gateway/core/record.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fieldgate::mqtt {

// True for a prefix of one or more non-empty levels of printable ASCII without
// blank, + and #, at most 256 bytes, not beginning with $.
bool is_valid_prefix(std::string_view prefix) noexcept;

// The names of all topics that this node writes or listens to.
// Thread: any; immutable.
class Topics {
 public:
  // Errors: Errc::invalid_argument for a prefix or node name that cannot be used.
  static Result<Topics> make(std::string_view prefix, std::string_view node);

  // {prefix}/devices/{device}/telemetry, /events/{name}, /state, /opaque/{schema},
  // /replies or /presence/events. nullopt if the record's device, or its name
  // where it is a level, is not a valid name: nothing else may become a topic.
  std::optional<std::string> record(const RecordView& record) const;

  // {prefix}/batches/{partition}
  std::string batch(std::uint32_t partition) const;

  // {prefix}/devices/{device}/presence
  std::string presence(const DeviceId& device) const;
  // {prefix}/devices/+/presence
  std::string presence_filter() const;
  // The device of a retained presence topic; nullopt for any other topic.
  std::optional<DeviceId> parse_presence(std::string_view topic) const;

  // {prefix}/devices/+/commands/+
  std::string command_filter() const { return devices_ + "+/commands/+"; }
  struct CommandAddress {
    DeviceId device;
    std::string name;  // a valid name
  };
  // nullopt for any topic that is not {prefix}/devices/{device}/commands/{name}.
  std::optional<CommandAddress> parse_command(std::string_view topic) const;

  // {prefix}/nodes/{node}, of this node.
  const std::string& node() const noexcept { return node_; }

  // {prefix}/nodes/{node}/inbox. Precondition: `node` is a valid name.
  std::string inbox(std::string_view node) const { return std::string(nodes_).append(node).append("/inbox"); }

 private:
  Topics(std::string devices, std::string batches, std::string nodes, std::string_view node)
      : devices_(std::move(devices)),
        batches_(std::move(batches)),
        nodes_(std::move(nodes)),
        node_(std::string(nodes_).append(node)) {}

  std::string devices_;  // with the slash at its end
  std::string batches_;  // with the slash at its end
  std::string nodes_;    // with the slash at its end
  std::string node_;
};

}  // namespace fieldgate::mqtt
