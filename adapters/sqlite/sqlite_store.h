// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/device_store.h"

#include <cstdint>
#include <memory>
#include <string>

namespace fieldgate::sqlite {

// "FGst": what says in a file's header (offset 68) that it is such a store.
inline constexpr std::uint32_t k_application_id = 0x46477374;

// A DeviceStore in one file of SQLite's, for one process.
//
// One connection in WAL mode, synchronous=FULL: a commit is on the disk when it returns.
// The connection holds SQLite's own exclusive lock on the file from open() until this goes
// (or the process ends, however that comes): a second process is refused with
// Errc::unavailable, and so are tools; to look inside, stop the gateway or copy the file
// and its -wal.
// open() makes the file with mode 0600, in a directory that must be there. It refuses,
// and leaves every byte as it was: what is not a SQLite file or another program's
// (Errc::malformed), and a store of a newer version (Errc::unsupported).
//
// `path`: ":memory:" is one that goes with this. `clock`: for leases; borrowed, must
// outlive this. Nothing is touched before open().
std::unique_ptr<DeviceStore> make_sqlite_store(std::string path, const Clock& clock);

}  // namespace fieldgate::sqlite
