// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/spool/directory.h"
#include "gateway/core/error.h"
#include "gateway/core/mutex.h"

#include <lmdb.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace fieldgate::spool {

// What an LMDB call returns: MDB_SUCCESS, one of LMDB's negative codes, or errno.
using Status = int;
// There was no room, in the map or on the disk.
bool is_full(Status status) noexcept;

// The pages of the file, as of the last commit.
struct Pages {
  std::uint64_t used = 0;    // ever used, from the file's beginning
  std::uint64_t free = 0;    // of those, in use by nothing; two commits later they can be written
  std::uint64_t mapped = 0;  // LMDB may use these; all of them exist on the disk
  std::uint64_t blocks = 0;  // holding blocks, their tree included
  std::uint64_t room() const noexcept { return mapped - used + free; }
};

// The spool's LMDB file. Its map is never larger than what has been allocated on
// the disk, so that LMDB meets MDB_MAP_FULL, which leaves everything as it was,
// and never a full disk in the middle of a write.
// Thread: what writes, and grow(), one thread; ReadTransaction any.
class Environment {
 public:
  // `bytes_max`: the file grows up to this.
  // Errors: as claim_directory(), and what LMDB says; each with path and cause.
  static Result<std::unique_ptr<Environment>> open(const std::string& dir, std::uint64_t bytes_max);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  // Allocates at least `pages` more and lets LMDB use them. MDB_MAP_FULL: the
  // file would exceed its largest size; errno: the disk's own answer.
  // Precondition: no transaction of the calling thread.
  Status grow(std::uint64_t pages);
  // Counts the pages anew.
  Status count_pages();

  const Pages& pages() const noexcept { return pages_; }
  std::uint32_t page_bytes() const noexcept { return page_bytes_; }
  std::uint64_t file_bytes() const noexcept { return pages_.mapped * page_bytes_; }
  const std::string& path() const noexcept { return path_; }
  // For an error's text: "PATH: WHY".
  std::string describe(Status status) const;

  MDB_dbi blocks() const noexcept { return blocks_; }
  MDB_dbi devices() const noexcept { return devices_; }
  MDB_dbi letters() const noexcept { return letters_; }
  MDB_dbi meta() const noexcept { return meta_; }

 private:
  friend class WriteTransaction;
  friend class ReadTransaction;
  Environment(const std::string& dir, std::uint64_t bytes_max, ClaimedDirectory claimed);
  Result<void> open_file(const std::string& dir);
  static Status allocate_readers(const std::string& dir);
  Status open_tables();
  Status allocate(std::uint64_t from, std::uint64_t to);

  const std::string path_;
  const std::uint64_t bytes_max_;
  ClaimedDirectory claimed_;  // its lock is given back last
  MDB_env* env_ = nullptr;
  int fd_ = -1;  // LMDB's
  std::uint32_t page_bytes_ = 0;
  bool can_allocate_ = true;  // the file system knows fallocate
  Pages pages_;
  MDB_dbi blocks_ = 0;
  MDB_dbi devices_ = 0;
  MDB_dbi letters_ = 0;
  MDB_dbi meta_ = 0;
  // Held for the whole of each read transaction, and while the map is made anew:
  // LMDB must have no reader then. Only threads that may wait for the disk take it.
  Mutex map_mutex_;
};

// A transaction that changes the file; aborted unless committed.
class WriteTransaction {
 public:
  explicit WriteTransaction(Environment& environment) noexcept : environment_(environment) {}
  ~WriteTransaction();
  WriteTransaction(const WriteTransaction&) = delete;
  WriteTransaction& operator=(const WriteTransaction&) = delete;
  Status begin();
  // Durable, or nothing of it was done.
  Status commit();
  MDB_txn* get() const noexcept { return txn_; }

 private:
  Environment& environment_;
  MDB_txn* txn_ = nullptr;
};

// Keep it short: pages freed meanwhile cannot be used again, and growing waits.
class ReadTransaction {
 public:
  explicit ReadTransaction(Environment& environment);
  ~ReadTransaction();
  ReadTransaction(const ReadTransaction&) = delete;
  ReadTransaction& operator=(const ReadTransaction&) = delete;
  Status status() const noexcept { return status_; }
  MDB_txn* get() const noexcept { return txn_; }

 private:
  MutexLock lock_;
  MDB_txn* txn_ = nullptr;
  Status status_;
};

// A cursor that is closed with this, before its transaction ends.
class Cursor {
 public:
  Cursor(MDB_txn* txn, MDB_dbi table) { status_ = ::mdb_cursor_open(txn, table, &cursor_); }
  ~Cursor() {
    if (cursor_ != nullptr) ::mdb_cursor_close(cursor_);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  Status get(MDB_val& key, MDB_val& value, MDB_cursor_op op) {
    return status_ == MDB_SUCCESS ? ::mdb_cursor_get(cursor_, &key, &value, op) : status_;
  }
  Status erase() { return ::mdb_cursor_del(cursor_, 0); }

 private:
  MDB_cursor* cursor_ = nullptr;
  Status status_;
};

}  // namespace fieldgate::spool
