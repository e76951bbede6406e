// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/environment.h"

#include "adapters/spool/disk_format.h"
#include "adapters/spool/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace fieldgate::spool {
namespace {

// The file grows by an eighth of itself, within these.
constexpr std::uint64_t k_step_bytes_min = 1 << 20;
constexpr std::uint64_t k_step_bytes_max = 64 << 20;

constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

bool is_full(Status status) noexcept { return status == MDB_MAP_FULL || status == ENOSPC || status == EDQUOT; }

Result<std::unique_ptr<Environment>> Environment::open(const std::string& dir, std::uint64_t bytes_max) {
  auto claimed = claim_directory(dir);
  if (!claimed) return claimed.error();
  const bool fresh = claimed->data.fresh;
  std::unique_ptr<Environment> environment(new Environment(dir, bytes_max, std::move(*claimed)));
  if (auto opened = environment->open_file(dir); !opened) return opened.error();
  if (fresh) {
    if (auto synced = sync_directory(dir); !synced) return synced.error();
  }
  return environment;
}

Environment::Environment(const std::string& dir, std::uint64_t bytes_max, ClaimedDirectory claimed)
    : path_(dir + "/" + k_data_file), bytes_max_(bytes_max), claimed_(std::move(claimed)) {}

Environment::~Environment() {
  if (env_ != nullptr) ::mdb_env_close(env_);
}

Result<void> Environment::open_file(const std::string& dir) {
  const auto fault = [&](Status status) { return make_error(Errc::unavailable, "spool: " + describe(status)); };
  if (const Status rc = allocate_readers(dir); rc != MDB_SUCCESS) return fault(rc);
  const auto os_page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const DataFile& found = claimed_.data;
  const std::uint64_t used = round_up(found.used, os_page);
  std::uint64_t start = std::max(used, found.fresh ? k_step_bytes_min : found.bytes / os_page * os_page);
  if (const Status rc = ::mdb_env_create(&env_); rc != MDB_SUCCESS) return fault(rc);
  ::mdb_env_set_maxdbs(env_, k_tables);
  ::mdb_env_set_mapsize(env_, start);
  if (const Status rc = ::mdb_env_open(env_, dir.c_str(), MDB_NOTLS, 0600); rc != MDB_SUCCESS) return fault(rc);
  ::mdb_env_get_fd(env_, &fd_);
  MDB_stat stat{};
  ::mdb_env_stat(env_, &stat);
  page_bytes_ = stat.ms_psize;
  // Also what was used before: a copy may have holes where free pages were. With no
  // room for all of them a spool that holds something is opened all the same.
  if (const Status rc = allocate(0, start); rc != MDB_SUCCESS) {
    if (!is_full(rc) || found.fresh) return fault(rc);
    start = used;
    if (const Status set = ::mdb_env_set_mapsize(env_, start); set != MDB_SUCCESS) return fault(set);
  }
  pages_.mapped = start / page_bytes_;
  if (const Status rc = open_tables(); rc != MDB_SUCCESS) return fault(rc);
  if (const Status rc = count_pages(); rc != MDB_SUCCESS) return fault(rc);
  return {};
}

// LMDB's table of readers is a mapped file of its own: what of it is not on the disk
// when it is first written, and the disk is full, kills the process.
Status Environment::allocate_readers(const std::string& dir) {
  constexpr std::size_t k_bytes = 16'384;
  const Descriptor fd(::open((dir + "/lock.mdb").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) return errno;
  if (::fallocate(fd.get(), 0, 0, k_bytes) == 0) return MDB_SUCCESS;
  if (errno != EOPNOTSUPP && errno != ENOSYS) return errno;
  if (status.st_size >= static_cast<off_t>(k_bytes)) return MDB_SUCCESS;
  const std::string zeros(k_bytes, '\0');
  const ssize_t written = ::pwrite(fd.get(), zeros.data(), zeros.size(), 0);
  if (written < 0) return errno;
  return written == static_cast<ssize_t>(k_bytes) ? MDB_SUCCESS : ENOSPC;
}

Status Environment::open_tables() {
  WriteTransaction transaction(*this);
  if (const Status rc = transaction.begin(); rc != MDB_SUCCESS) return rc;
  MDB_txn* txn = transaction.get();
  Status rc = ::mdb_dbi_open(txn, k_blocks_table, MDB_CREATE | MDB_INTEGERKEY, &blocks_);
  if (rc == MDB_SUCCESS) rc = ::mdb_dbi_open(txn, k_devices_table, MDB_CREATE, &devices_);
  if (rc == MDB_SUCCESS) rc = ::mdb_dbi_open(txn, k_letters_table, MDB_CREATE | MDB_INTEGERKEY, &letters_);
  if (rc == MDB_SUCCESS) rc = ::mdb_dbi_open(txn, k_meta_table, MDB_CREATE, &meta_);
  if (rc == MDB_SUCCESS && claimed_.data.fresh) {
    const std::string format = std::string(k_format_name) + encode_number(k_format_version);
    MDB_val key = value_of(k_meta_format);
    MDB_val value = value_of(std::string_view(format));
    rc = ::mdb_put(txn, meta_, &key, &value, 0);
  }
  return rc == MDB_SUCCESS ? transaction.commit() : rc;
}

Status Environment::allocate(std::uint64_t from, std::uint64_t to) {
  if (can_allocate_) {
    Status rc = 0;
    do {
      rc = ::fallocate(fd_, 0, static_cast<off_t>(from), static_cast<off_t>(to - from)) == 0 ? 0 : errno;
    } while (rc == EINTR);
    if (rc == EFBIG) return ENOSPC;  // the file system's or the process's limit: as good as full
    if (rc != EOPNOTSUPP && rc != ENOSYS) return rc;
    can_allocate_ = false;
  }
  // Without it the disk may still turn out full in a write; but the file is never
  // shorter than its head says.
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return errno;
  if (static_cast<std::uint64_t>(status.st_size) >= to) return MDB_SUCCESS;
  return ::ftruncate(fd_, static_cast<off_t>(to)) == 0 ? MDB_SUCCESS : errno;
}

Status Environment::grow(std::uint64_t pages) {
  const std::uint64_t now = file_bytes();
  const std::uint64_t unit = std::max<std::uint64_t>(page_bytes_, static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
  const std::uint64_t least = round_up(now + pages * page_bytes_, unit);
  if (least > bytes_max_) return MDB_MAP_FULL;
  const std::uint64_t step = std::clamp(now / 8, k_step_bytes_min, k_step_bytes_max);
  std::uint64_t target = std::max(least, std::min(round_up(now + step, unit), bytes_max_ / unit * unit));
  Status rc = allocate(now, target);
  if (is_full(rc) && target > least) {  // not a good step then, but what must be
    target = least;
    rc = allocate(now, target);
  }
  if (rc != MDB_SUCCESS) return rc;
  const MutexLock lock(map_mutex_);
  if (rc = ::mdb_env_set_mapsize(env_, target); rc != MDB_SUCCESS) return rc;
  pages_.mapped = target / page_bytes_;
  return MDB_SUCCESS;
}

Status Environment::count_pages() {
  MDB_txn* txn = nullptr;  // of the thread that maps: needs no lock against itself
  if (const Status rc = ::mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn); rc != MDB_SUCCESS) return rc;
  constexpr MDB_dbi k_free_table = 0;
  constexpr MDB_dbi k_main_table = 1;
  std::uint64_t live = 2;  // the two head pages
  Status rc = MDB_SUCCESS;
  for (const MDB_dbi table : std::array{k_free_table, k_main_table, blocks_, devices_, letters_, meta_}) {
    MDB_stat stat{};
    if (rc = ::mdb_stat(txn, table, &stat); rc != MDB_SUCCESS) break;
    const std::uint64_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    live += pages;
    if (table == blocks_) pages_.blocks = pages;
  }
  MDB_envinfo info{};
  ::mdb_env_info(env_, &info);
  ::mdb_txn_abort(txn);
  if (rc != MDB_SUCCESS) return rc;
  pages_.used = info.me_last_pgno + 1;
  pages_.free = pages_.used > live ? pages_.used - live : 0;
  return MDB_SUCCESS;
}

std::string Environment::describe(Status status) const {
  if (status == MDB_MAP_FULL) {
    return path_ + ": no room in it (" + std::to_string(file_bytes()) + " bytes, at most " +
           std::to_string(bytes_max_) + ")";
  }
  return path_ + ": " + ::mdb_strerror(status);
}

WriteTransaction::~WriteTransaction() {
  if (txn_ != nullptr) ::mdb_txn_abort(txn_);
}

Status WriteTransaction::begin() { return ::mdb_txn_begin(environment_.env_, nullptr, 0, &txn_); }

Status WriteTransaction::commit() { return ::mdb_txn_commit(std::exchange(txn_, nullptr)); }

ReadTransaction::ReadTransaction(Environment& environment)
    : lock_(environment.map_mutex_), status_(::mdb_txn_begin(environment.env_, nullptr, MDB_RDONLY, &txn_)) {}

ReadTransaction::~ReadTransaction() {
  if (txn_ != nullptr) ::mdb_txn_abort(txn_);
}

}  // namespace fieldgate::spool
