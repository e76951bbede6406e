// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fieldgate {
namespace {

std::string microseconds(std::chrono::milliseconds time) { return std::to_string(time.count() * 1'000); }

// As the manager reads its own clock (CLOCK_MONOTONIC).
std::string monotonic_usec() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::to_string(static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                        static_cast<std::uint64_t>(now.tv_nsec) / 1'000);
}

}  // namespace

ServiceManager::ServiceManager(const std::map<std::string, std::string>& environment, int pid) {
  const auto named = environment.find("NOTIFY_SOCKET");
  sockaddr_un to{};
  // A path, or with @ a name without one (unix(7)).
  if (named == environment.end() || named->second.size() < 2 || named->second.size() >= sizeof(to.sun_path)) return;
  const std::string& name = named->second;
  if (name[0] != '/' && name[0] != '@') return;
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, name.data(), name.size());
  if (name[0] == '@') to.sun_path[0] = '\0';
  const std::size_t size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '/' ? 1 : 0);
  address_.assign(reinterpret_cast<const char*>(&to), size);
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto of = environment.find("WATCHDOG_PID");
  watched_ = environment.contains("WATCHDOG_USEC") && (of == environment.end() || of->second == std::to_string(pid));
}

ServiceManager::~ServiceManager() {
  if (socket_ >= 0) ::close(socket_);
}

void ServiceManager::ready() { tell("READY=1\n"); }

void ServiceManager::reloading() { tell("RELOADING=1\nMONOTONIC_USEC=" + monotonic_usec() + "\n"); }

void ServiceManager::stopping(std::chrono::milliseconds patience) {
  tell("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + microseconds(patience) + "\n");
}

void ServiceManager::status(std::string_view text) { tell("STATUS=" + std::string(text) + "\n"); }

void ServiceManager::alive() {
  if (watched_) tell("WATCHDOG=1\n");
}

void ServiceManager::tell(std::string_view lines) const {
  if (socket_ < 0) return;
  const auto* const to = reinterpret_cast<const sockaddr*>(address_.data());
  static_cast<void>(
      ::sendto(socket_, lines.data(), lines.size(), MSG_NOSIGNAL, to, static_cast<socklen_t>(address_.size())));
}

}  // namespace fieldgate
