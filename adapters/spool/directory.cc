// SPDX-License-Identifier: Apache-2.0
#include "adapters/spool/directory.h"

#include "adapters/spool/disk_format.h"
#include "adapters/spool/layout.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace fieldgate::spool {
namespace {

std::string cause(int error) { return std::generic_category().message(error); }

Error refuse(Errc code, const std::string& path, const std::string& why, const std::string& what_to_do) {
  return make_error(code, "spool: " + path + ": " + why + "; " + what_to_do);
}

constexpr const char* k_writable = "make it a directory that this user may write, or set uplink.spool.dir to one";
constexpr const char* k_other_dir =
    "it was left as it is: set uplink.spool.dir to another directory, or move the file away if it is of no use";

// One of the two pages at the head of an LMDB file (lmdb 0.9, data version 1, 64 bit).
struct HeadPage {
  std::uint32_t page_bytes;
  std::uint64_t last_page;
  std::uint64_t transaction;
};
constexpr std::size_t k_head_bytes = 152;
constexpr std::uint32_t k_lmdb_magic = 0xBEEFC0DE;
constexpr std::uint32_t k_lmdb_data_version = 1;
constexpr std::uint16_t k_head_flag = 0x08;

template <class T>
T field(const std::array<char, k_head_bytes>& head, std::size_t offset) {
  T value;
  std::memcpy(&value, head.data() + offset, sizeof value);
  return value;
}

std::optional<HeadPage> read_head(int fd, std::uint64_t offset) {
  std::array<char, k_head_bytes> head{};
  if (::pread(fd, head.data(), head.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(head.size())) return {};
  if ((field<std::uint16_t>(head, 10) & k_head_flag) == 0) return {};
  if (field<std::uint32_t>(head, 16) != k_lmdb_magic || field<std::uint32_t>(head, 20) != k_lmdb_data_version)
    return {};
  const HeadPage page{field<std::uint32_t>(head, 40), field<std::uint64_t>(head, 136), field<std::uint64_t>(head, 144)};
  const bool sane =
      page.page_bytes >= 512 && page.page_bytes <= 65'536 && (page.page_bytes & (page.page_bytes - 1)) == 0;
  return sane ? std::optional(page) : std::nullopt;
}

// Opens what is certainly an LMDB file of full length, to see whose it is.
Result<bool> is_fresh(const std::string& dir, const std::string& path) {
  const Error foreign = refuse(Errc::unsupported, path, "an LMDB file, but not a Fieldgate spool", k_other_dir);
  MDB_env* raw = nullptr;
  if (::mdb_env_create(&raw) != MDB_SUCCESS) return make_error(Errc::internal, "no memory to look at " + path);
  const std::unique_ptr<MDB_env, void (*)(MDB_env*)> env(raw, ::mdb_env_close);
  ::mdb_env_set_maxdbs(raw, k_tables);
  if (const int rc = ::mdb_env_open(raw, dir.c_str(), MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0600); rc != MDB_SUCCESS) {
    return refuse(Errc::unavailable, path, std::string("cannot be read: ") + ::mdb_strerror(rc), k_other_dir);
  }
  MDB_txn* txn = nullptr;
  if (const int rc = ::mdb_txn_begin(raw, nullptr, MDB_RDONLY, &txn); rc != MDB_SUCCESS) {
    return refuse(Errc::unavailable, path, std::string("cannot be read: ") + ::mdb_strerror(rc), k_other_dir);
  }
  const std::unique_ptr<MDB_txn, void (*)(MDB_txn*)> transaction(txn, ::mdb_txn_abort);
  MDB_dbi main = 0;
  MDB_stat stat{};
  if (::mdb_dbi_open(txn, nullptr, 0, &main) != MDB_SUCCESS || ::mdb_stat(txn, main, &stat) != MDB_SUCCESS) {
    return foreign;
  }
  if (stat.ms_entries == 0) return true;
  MDB_dbi meta = 0;
  MDB_val key = value_of(k_meta_format);
  MDB_val value{};
  if (::mdb_dbi_open(txn, k_meta_table, 0, &meta) != MDB_SUCCESS || ::mdb_get(txn, meta, &key, &value) != MDB_SUCCESS) {
    return foreign;
  }
  const std::string_view format = text_of(value);
  if (!format.starts_with(k_format_name)) return foreign;
  const auto version = decode_number(bytes_of(value).subspan(k_format_name.size()));
  if (!version) return foreign;
  if (*version != k_format_version) {
    return refuse(
        Errc::unsupported, path,
        "format " + std::to_string(*version) + ", while this program reads " + std::to_string(k_format_version),
        "it was left as it is: run the release that wrote it until the spool is empty, or set "
        "uplink.spool.dir to another directory");
  }
  return false;
}

Result<DataFile> look(const std::string& dir) {
  const std::string path = dir + "/" + k_data_file;
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  DataFile found;
  if (!fd.valid()) {
    if (errno == ENOENT) return found;
    return refuse(Errc::unavailable, path, "cannot be read: " + cause(errno), k_writable);
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return refuse(Errc::unsupported, path, "not a regular file", k_other_dir);
  }
  found.bytes = static_cast<std::uint64_t>(status.st_size);
  if (found.bytes == 0) return found;
  const std::optional<HeadPage> first = read_head(fd.get(), 0);
  if (!first) return refuse(Errc::unsupported, path, "not a Fieldgate spool", k_other_dir);
  const std::optional<HeadPage> second = read_head(fd.get(), first->page_bytes);
  if (!second || second->page_bytes != first->page_bytes) {
    return refuse(Errc::malformed, path, "damaged in its first pages", k_other_dir);
  }
  const HeadPage& newest = second->transaction > first->transaction ? *second : *first;
  found.page_bytes = newest.page_bytes;
  found.used = (newest.last_page + 1) * newest.page_bytes;
  // Reading past the end of a mapped file kills the process: never go there.
  if (newest.last_page >= found.bytes / newest.page_bytes) {
    return refuse(
        Errc::malformed, path,
        "truncated: " + std::to_string(found.bytes) + " bytes where its own head says " + std::to_string(found.used),
        "it was left as it is: restore it whole, or set uplink.spool.dir to another directory");
  }
  const auto fresh = is_fresh(dir, path);
  if (!fresh) return fresh.error();
  found.fresh = *fresh;
  return found;
}

Result<void> make_directory(const std::string& dir) {
  std::error_code error;
  if (std::filesystem::is_directory(dir, error)) return {};
  const std::filesystem::path parent = std::filesystem::path(dir).lexically_normal().parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (!error && ::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) error = {errno, std::generic_category()};
  if (!error && !std::filesystem::is_directory(dir, error) && !error) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (error) return refuse(Errc::unavailable, dir, "cannot be made: " + error.message(), k_writable);
  // Not asked whether it worked: a parent that may not be opened for reading is no
  // reason not to start.
  (void)sync_directory(parent.empty() ? "." : parent.string());
  return {};
}

Result<Descriptor> lock_directory(const std::string& dir) {
  const std::string path = dir + "/" + k_lock_file;
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return refuse(Errc::unavailable, dir, "cannot be written: " + cause(errno), k_writable);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return refuse(Errc::unavailable, path, "cannot be locked: " + cause(errno), k_writable);
    return refuse(Errc::unavailable, dir, "in use by another process",
                  "stop that one first, or give each its own uplink.spool.dir");
  }
  return fd;
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> sync_directory(const std::string& dir) {
  const Descriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return make_error(Errc::unavailable, "spool: " + dir + ": cannot be synced: " + cause(errno));
  }
  return {};
}

Result<ClaimedDirectory> claim_directory(const std::string& dir) {
  if (auto made = make_directory(dir); !made) return made.error();
  // Nothing is put beside a file that is not ours: without a lock of ours there,
  // look before making one.
  if (::access((dir + "/" + k_lock_file).c_str(), F_OK) != 0) {
    if (auto data = look(dir); !data) return data.error();
  }
  auto lock = lock_directory(dir);
  if (!lock) return lock.error();
  auto data = look(dir);
  if (!data) return data.error();
  if (data->bytes != 0 && ::access((dir + "/" + k_data_file).c_str(), R_OK | W_OK) != 0) {
    return refuse(Errc::unavailable, dir + "/" + k_data_file, "cannot be written: " + cause(errno), k_writable);
  }
  return ClaimedDirectory{std::move(*lock), *data};
}

}  // namespace fieldgate::spool
