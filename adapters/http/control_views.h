// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/device_entry.h"
#include "gateway/core/presence_event.h"
#include "gateway/core/timeline.h"
#include "gateway/core/twin.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The JSON documents about what is kept in the store; openapi.json has their schemas.
namespace fieldgate::http {

std::string entry_json(const DeviceEntry& entry);
// As an import takes it: with the hashes of its credentials. One line of NDJSON.
std::string entry_line(const DeviceEntry& entry);
std::string credentials_json(const DeviceEntry& entry);
// `token`: shown this once; empty: there is none to show.
std::string credential_json(const DeviceCredential& credential, std::string_view token);

std::string command_json(const CommandEntry& command);
std::string commands_json(const std::vector<CommandEntry>& commands, const std::optional<std::string>& next_cursor);

// Empty: the twin's documents are not JSON objects.
std::string twin_json(const Twin& twin);

std::string timeline_json(const std::vector<TimelineEntry>& entries, const std::optional<std::string>& next_cursor);
std::string presence_json(const std::vector<PresenceEvent>& events, const std::optional<std::string>& next_cursor);
std::string refusals_json(const std::vector<RefusalEntry>& refusals);

}  // namespace fieldgate::http
