// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/epoch_source.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string_view>

namespace fieldgate::net {
namespace {

constexpr std::string_view k_magic = "fieldgate-generation ";

Error file_error(const std::string& what, const std::string& path, int error) {
  return {error_code(error, boost::system::system_category()),
          what + " " + path + ": " + std::strerror(error) + "; node.state_dir must be a directory this user may write"};
}

// Closes what it holds.
struct Fd {
  int fd = -1;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
  int release() noexcept { return std::exchange(fd, -1); }
};

Result<std::uint64_t> read_generation(const std::string& path) {
  const Fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) {
    if (errno == ENOENT) return std::uint64_t{0};
    return file_error("cannot read", path, errno);
  }
  char buffer[64];
  const ssize_t n = ::read(file.fd, buffer, sizeof(buffer));
  if (n < 0) return file_error("cannot read", path, errno);
  std::string_view text(buffer, static_cast<std::size_t>(n));
  std::uint64_t value = 0;
  if (text.starts_with(k_magic)) {
    text.remove_prefix(k_magic.size());
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec == std::errc() && end != text.data() && std::string_view(end, text.data() + text.size()) == "\n" &&
        value < k_epoch_max / EpochSource::k_counter) {
      return value;
    }
  }
  return make_error(Errc::malformed, path +
                                         " is not a generation file of this gateway; it was left as it is. Move it "
                                         "away if node.state_dir really is meant for this node");
}

Result<void> write_generation(const std::string& dir, const std::string& path, std::uint64_t value) {
  const std::string text = std::string(k_magic) + std::to_string(value) + "\n";
  const std::string fresh = path + ".new";
  {
    const Fd file{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (file.fd < 0) return file_error("cannot write", fresh, errno);
    if (::write(file.fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(file.fd) != 0) {
      return file_error("cannot write", fresh, errno);
    }
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return file_error("cannot write", path, errno);
  const Fd folder{::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd < 0 || ::fsync(folder.fd) != 0) return file_error("cannot sync", dir, errno);
  return {};
}

}  // namespace

Result<std::unique_ptr<EpochSource>> EpochSource::make(const std::string& state_dir, std::int64_t unix_seconds) {
  std::error_code made;
  std::filesystem::create_directories(state_dir, made);
  if (made) return file_error("cannot make", state_dir, made.value());
  Fd lock{::open((state_dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (lock.fd < 0) return file_error("cannot open", state_dir + "/lock", errno);
  if (::flock(lock.fd, LOCK_EX | LOCK_NB) != 0) {
    return make_error(Errc::unavailable, "another gateway uses node.state_dir " + state_dir +
                                             ": stop it, or give this one a directory of its own");
  }
  const std::string path = state_dir + "/generation";
  const auto stored = read_generation(path);
  if (!stored) return stored.error();
  const std::uint64_t generation =
      std::max(*stored + 1, static_cast<std::uint64_t>(std::max<std::int64_t>(0, unix_seconds)));
  const std::uint64_t last = generation + k_stretch - 1;
  if (const auto written = write_generation(state_dir, path, last); !written) return written.error();
  return std::unique_ptr<EpochSource>(
      new EpochSource(generation * k_counter + 1, (last + 1) * k_counter, lock.release()));
}

EpochSource::~EpochSource() { ::close(lock_fd_); }

std::optional<Epoch> EpochSource::next() noexcept {
  const std::uint64_t value = next_.fetch_add(1, std::memory_order_relaxed);
  if (value >= end_) {
    next_.store(end_, std::memory_order_relaxed);
    return std::nullopt;
  }
  return Epoch{value};
}

void EpochSource::admit(const DeviceId&, const DeviceProfile&, Answer answer) {
  const std::optional<Epoch> epoch = next();
  answer(epoch ? AdmissionOutcome(Admitted{*epoch}) : AdmissionOutcome(EndReason::no_epoch));
}

}  // namespace fieldgate::net
