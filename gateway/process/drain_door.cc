// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/drain_door.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

namespace fieldgate {
namespace {

constexpr std::size_t k_visitors_max = 8;
constexpr milliseconds k_tell_every{200};
constexpr std::string_view k_name = "/drain";

struct Fd {
  int fd = -1;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

// By way of the open folder, for a socket's path holds no more than 107 bytes.
sockaddr_un address_in(int folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(folder) + std::string(k_name);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Error system_error(const std::string& what) {
  const int error = errno;
  return {error_code(error, boost::system::system_category()), what + ": " + std::strerror(error)};
}

bool may_ask(int fd) {
  ucred who{};
  socklen_t size = sizeof(who);
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && (who.uid == 0 || who.uid == ::geteuid());
}

std::string line_of(const DrainProgress& progress) {
  if (progress.drained) return "drained\n";
  return "draining " + std::to_string(progress.connections) + " " + std::to_string(progress.records) + "\n";
}

bool send_line(int fd, const std::string& line) {
  return ::send(fd, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(line.size());
}

}  // namespace

DrainDoor::DrainDoor(boost::asio::io_context& io, Log& log, std::function<void()> begin,
                     std::function<DrainProgress()> progress)
    : log_(log), begin_(std::move(begin)), progress_(std::move(progress)), acceptor_(io), timer_(io), retry_(io) {}

Result<void> DrainDoor::open(const std::string& state_dir) {
  path_ = state_dir + std::string(k_name);
  const Fd folder{::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd < 0) return system_error("cannot open " + state_dir);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return system_error("cannot make a Unix socket");
  error_code ec;
  acceptor_.assign(Local(), fd, ec);
  ::unlink(path_.c_str());          // of an earlier process: the folder is ours
  ::fchmod(fd, S_IRUSR | S_IWUSR);  // the file's mode, from its first moment
  const sockaddr_un address = address_in(folder.fd);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(fd, static_cast<int>(k_visitors_max)) != 0) {
    const Error error = system_error("cannot listen on " + path_);
    acceptor_.close(ec);
    return error;
  }
  wait_visitor();
  return {};
}

void DrainDoor::wait_visitor() {
  acceptor_.async_accept([this](error_code ec, Local::socket visitor) {
    if (!acceptor_.is_open()) return;
    if (!ec) {
      let_in(std::move(visitor));
      return wait_visitor();
    }
    // Out of descriptors, say: not at once again.
    retry_.expires_after(k_tell_every);
    retry_.async_wait([this](error_code stopped) {
      if (!stopped) wait_visitor();
    });
  });
}

void DrainDoor::let_in(Local::socket visitor) {
  if (!may_ask(visitor.native_handle()) || visitors_.size() >= k_visitors_max) {
    log_.warn("drain_request_refused", {{"hint", "only this user and root may ask, and eight at once"}});
    return;
  }
  const bool first = visitors_.empty();
  visitors_.push_back(std::move(visitor));
  begin_();
  tell();
  if (first && !visitors_.empty()) tell_again();
}

void DrainDoor::tell_again() {
  timer_.expires_after(k_tell_every);
  timer_.async_wait([this](error_code ec) {
    if (ec) return;
    tell();
    if (!visitors_.empty()) tell_again();
  });
}

void DrainDoor::tell() {
  const DrainProgress progress = progress_();
  const std::string line = line_of(progress);
  // Who does not read is left alone.
  std::erase_if(visitors_,
                [&](Local::socket& visitor) { return !send_line(visitor.native_handle(), line) || progress.drained; });
}

void DrainDoor::close() {
  if (!acceptor_.is_open()) return;
  tell();
  visitors_.clear();
  error_code ignored;
  acceptor_.close(ignored);
  timer_.cancel();
  retry_.cancel();
  ::unlink(path_.c_str());
}

// --- who asks

namespace {

Result<int> connect_to(const std::string& state_dir) {
  const Fd folder{::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd < 0) {
    Error error = system_error("node.state_dir " + state_dir + " cannot be opened");
    error.code = make_error_code(Errc::not_found);
    return error;
  }
  Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const sockaddr_un address = address_in(folder.fd);
  if (fd.fd < 0 || ::connect(fd.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const bool forbidden = errno == EACCES || errno == EPERM;
    return make_error(Errc::not_found,
                      "no gateway answers on " + state_dir + std::string(k_name) + ": " + std::strerror(errno) +
                          (forbidden ? "; ask as the user that it runs as, or as root" : "; is it running?"));
  }
  return std::exchange(fd.fd, -1);
}

}  // namespace

Result<void> ask_to_drain(const std::string& state_dir, milliseconds patience,
                          const std::function<void(const DrainProgress&)>& tell) {
  const auto connected = connect_to(state_dir);
  if (!connected) return connected.error();
  const Fd fd{*connected};
  const auto end = std::chrono::steady_clock::now() + patience;
  std::string text;
  DrainProgress last;
  bool told = false;
  for (;;) {
    for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n')) {
      std::istringstream line(text.substr(0, at));
      text.erase(0, at + 1);
      std::string word;
      line >> word >> last.connections >> last.records;
      last.drained = word == "drained";
      told = true;
      tell(last);
      if (last.drained) return {};
    }
    const auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    pollfd ready{fd.fd, POLLIN, 0};
    const int events = ::poll(&ready, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000)));
    if (events == 0 || left.count() <= 0) {
      return make_error(Errc::timed_out, "not drained in time: " + std::to_string(last.connections) +
                                             " connections and " + std::to_string(last.records) +
                                             " records are left; it goes on");
    }
    std::array<char, 1'024> buffer;
    const ssize_t n = ::recv(fd.fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return make_error(Errc::unavailable, told ? "the gateway ended before it was drained"
                                                : "the gateway refuses: ask as the user that it runs as, or as root");
    }
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace fieldgate
