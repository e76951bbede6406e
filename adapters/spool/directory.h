// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <cstdint>
#include <string>

namespace fieldgate::spool {

// A file descriptor that is closed with this. Move-only.
class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

inline constexpr const char* k_data_file = "data.mdb";
inline constexpr const char* k_lock_file = "fieldgate.lock";

// What a look at the data file has found, without changing a byte.
struct DataFile {
  bool fresh = true;             // none, or one in which nothing was ever kept
  std::uint64_t bytes = 0;       // its size
  std::uint64_t used = 0;        // of that, by LMDB
  std::uint32_t page_bytes = 0;  // 0: not made yet
};

// Makes `dir` where there is none (mode 0700), makes sure that it is ours to
// write, that no other process has it, and that what is in it is a spool which
// this program can read. The lock holds until `lock` is closed.
// Errors: each names the path, the cause and what to do; nothing was changed.
struct ClaimedDirectory {
  Descriptor lock;
  DataFile data;
};
Result<ClaimedDirectory> claim_directory(const std::string& dir);

// Makes the directory's own entries durable.
Result<void> sync_directory(const std::string& dir);

}  // namespace fieldgate::spool
