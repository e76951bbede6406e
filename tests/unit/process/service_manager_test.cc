// SPDX-License-Identifier: Apache-2.0
#include "gateway/process/service_manager.h"

#include "tests/support/temp_dir.h"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace fieldgate {
namespace {

using Environment = std::map<std::string, std::string>;

// The manager's end.
class Manager {
 public:
  explicit Manager(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, name.data(), name.size());
    if (name[0] == '@') at.sun_path[0] = '\0';
    const auto size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '@' ? 0 : 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), static_cast<socklen_t>(size)), 0) << std::strerror(errno);
  }
  ~Manager() { ::close(fd_); }
  // The oldest datagram; empty: there is none.
  std::string next() const {
    char text[256];
    const ssize_t n = ::recv(fd_, text, sizeof(text), 0);
    return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : std::string();
  }

 private:
  int fd_;
};

TEST(ServiceManager, IsToldByPath) {
  const test::TempDir dir;
  const std::string path = dir.path().string() + "/notify";
  const Manager manager(path);
  ServiceManager service(Environment{{"NOTIFY_SOCKET", path}}, 1);
  service.ready();
  EXPECT_EQ(manager.next(), "READY=1\n");
  service.stopping(std::chrono::seconds(30));
  EXPECT_EQ(manager.next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000\n");
  service.status("draining");
  EXPECT_EQ(manager.next(), "STATUS=draining\n");
}

TEST(ServiceManager, IsToldByANameWithoutAPath) {
  const std::string name = "@fieldgate-test-" + std::to_string(::getpid());
  const Manager manager(name);
  ServiceManager(Environment{{"NOTIFY_SOCKET", name}}, 1).ready();
  EXPECT_EQ(manager.next(), "READY=1\n");
}

TEST(ServiceManager, IsToldTheTimeWithAReload) {
  const test::TempDir dir;
  const Manager manager(dir.path().string() + "/n");
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  ServiceManager(Environment{{"NOTIFY_SOCKET", dir.path().string() + "/n"}}, 1).reloading();
  const std::string told = manager.next();
  ASSERT_TRUE(told.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << told;
  EXPECT_GE(std::stoull(told.substr(27)), static_cast<std::uint64_t>(now.tv_sec) * 1'000'000);
}

TEST(ServiceManager, HearsOfLifeOnlyWithAWatchdogOfThisProcess) {
  const test::TempDir dir;
  const std::string path = dir.path().string() + "/n";
  const Manager manager(path);
  ServiceManager(Environment{{"NOTIFY_SOCKET", path}}, 7).alive();
  ServiceManager(Environment{{"NOTIFY_SOCKET", path}, {"WATCHDOG_USEC", "1"}, {"WATCHDOG_PID", "8"}}, 7).alive();
  EXPECT_EQ(manager.next(), "");
  ServiceManager(Environment{{"NOTIFY_SOCKET", path}, {"WATCHDOG_USEC", "1"}, {"WATCHDOG_PID", "7"}}, 7).alive();
  EXPECT_EQ(manager.next(), "WATCHDOG=1\n");
}

TEST(ServiceManager, IsNotMissed) {
  ServiceManager(Environment{}, 1).ready();
  ServiceManager(Environment{{"NOTIFY_SOCKET", "relative"}}, 1).ready();
  ServiceManager(Environment{{"NOTIFY_SOCKET", "/no/such/socket"}}, 1).ready();
  ServiceManager(Environment{{"NOTIFY_SOCKET", std::string(200, '/')}}, 1).ready();
}

}  // namespace
}  // namespace fieldgate
