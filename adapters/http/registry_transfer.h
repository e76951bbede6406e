// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/body.h"
#include "adapters/http/loop.h"
#include "gateway/core/fleet_index.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/control.h"
#include "gateway/ports/log.h"

#include <cstddef>
#include <memory>
#include <string>

// The whole registry, in and out, as NDJSON: one entry on each line.
namespace fieldgate::http {

inline constexpr std::size_t k_import_line_bytes_max = 65'536;
inline constexpr std::size_t k_import_batch = 100;    // lines that the store gets in one go
inline constexpr std::size_t k_export_entries = 200;  // entries that it is asked for in one go

struct ImportContext {
  std::weak_ptr<Loop> loop;
  Registry& registry;
  FleetIndex& index;
  const Clock& clock;
  Log& log;
  std::string by;
  std::string request_id;
  bool errors_only = false;  // says nothing of lines that went well
};

// Takes entries from `lines` and gives, for each, what became of it; at the end, how
// many there were. A line that cannot be taken keeps none of the others back; a store
// that does not answer ends it.
// Thread: the loop's. Borrows: what `context` names by reference.
// Bounds: k_import_batch lines, and one piece of what arrives, at a time.
std::shared_ptr<BodySource> make_import(std::shared_ptr<BodySource> lines, ImportContext context);

// Every entry, with the hashes of its credentials. A store that does not answer in
// between breaks the answer off, so that nobody takes a part for the whole.
std::shared_ptr<BodySource> make_export(std::weak_ptr<Loop> loop, Registry& registry);

}  // namespace fieldgate::http
