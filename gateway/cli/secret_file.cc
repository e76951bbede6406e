// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/secret_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

namespace fieldgate {
namespace {

namespace fs = std::filesystem;

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

Error failed(const std::string& file, const std::string& what, int error) {
  return make_error(Errc::unavailable,
                    file + ": " + what + ": " + std::system_category().message(error) + "; nothing was changed");
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// A new file beside `target`, with `text` on the disk. `like`: whose mode and owner it gets.
Result<std::string> write_beside(const std::string& target, std::string_view text, const struct stat* like) {
  std::string name = target + ".XXXXXX";
  const Descriptor out(::mkstemp(name.data()));  // mode 0600
  if (!out) return failed(target, "no file can be made beside it", errno);
  const bool same_owner = like == nullptr || (like->st_uid == ::geteuid() && like->st_gid == ::getegid()) ||
                          ::fchown(out.get(), like->st_uid, like->st_gid) == 0;
  const bool good = same_owner && (like == nullptr || ::fchmod(out.get(), like->st_mode & 07777U) == 0) &&
                    write_all(out.get(), text) && ::fsync(out.get()) == 0;
  if (good) return name;
  const int error = errno;
  ::unlink(name.c_str());
  return failed(target, same_owner ? "cannot be written" : "its owner cannot be kept; do this as its owner", error);
}

}  // namespace

Result<void> append_line(const std::string& file, std::string_view line,
                         const std::function<Result<void>(std::string_view text)>& sound) {
  std::error_code none;
  // What a symbolic link points to is replaced, not the link.
  const fs::path resolved = fs::weakly_canonical(file, none);
  const std::string target = none ? file : resolved.string();
  const std::string folder = fs::path(target).parent_path().string();
  const Descriptor place(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!place) return failed(file, "its folder cannot be opened", errno);
  if (::flock(place.get(), LOCK_EX) != 0) return failed(file, "its folder cannot be locked", errno);

  struct stat before {};
  const bool exists = ::stat(target.c_str(), &before) == 0;
  if (!exists && errno != ENOENT) return failed(file, "cannot be looked at", errno);
  if (exists && !S_ISREG(before.st_mode)) return failed(file, "is no file", EINVAL);
  std::string text;
  if (exists) {
    errno = 0;
    std::ifstream in(target, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(in), {});
    if (!in) return failed(file, "cannot be read", errno != 0 ? errno : EIO);
  }
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  text.append(line).append("\n");
  if (auto judged = sound(text); !judged) return judged;

  const auto fresh = write_beside(target, text, exists ? &before : nullptr);
  if (!fresh) return fresh.error();
  if (::rename(fresh->c_str(), target.c_str()) != 0) {
    const int error = errno;
    ::unlink(fresh->c_str());
    return failed(file, "cannot be replaced", error);
  }
  // The line is there; that it outlives a power cut is beyond our word if this fails.
  ::fsync(place.get());
  return {};
}

}  // namespace fieldgate
