// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/command.h"
#include "gateway/core/device_entry.h"
#include "gateway/core/device_summary.h"
#include "gateway/core/twin.h"

#include <string>

// The data of the live stream's events, each one JSON object; docs/stream.md shows them.
namespace fieldgate::http {

std::string presence_event_json(const DeviceSummary& device);
// Without its payload; GET /commands/{id} has all of it.
std::string command_event_json(const CommandEntry& command);
// Its versions; GET /devices/{id}/twin has the documents.
std::string twin_event_json(const Twin& twin);
std::string registry_event_json(const RegistryChange& change);

}  // namespace fieldgate::http
