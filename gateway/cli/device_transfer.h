// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/device_client.h"

#include <cstdint>
#include <iosfwd>
#include <string>

// The whole registry, out of and into files, one entry on each line (NDJSON).
namespace fieldgate {

struct ImportSum {
  bool done = false;  // the gateway has said what it came to
  std::uint64_t lines = 0;
  std::uint64_t created = 0;
  std::uint64_t updated = 0;
  std::uint64_t unchanged = 0;
  std::uint64_t errors = 0;
  std::string stopped;  // not done: what the gateway says of why
};

// What to do with the answer while it comes.
struct ImportView {
  std::ostream* raw = nullptr;       // gets the gateway's lines as they are
  std::ostream* faults = nullptr;    // gets a line for each one that was not taken
  std::ostream* progress = nullptr;  // a terminal: gets the sum so far, over and over
};

// Sends what is read from the descriptor `in`, as it comes.
// Bounds: a line of the answer 1 MiB.
ApiResult<ImportSum> import_devices(DeviceClient& client, int in, const ImportView& view);

// Writes every entry as it comes.
ApiResult<void> export_devices(DeviceClient& client, std::ostream& out);

}  // namespace fieldgate
