// SPDX-License-Identifier: Apache-2.0
#include "tests/support/mosquitto_broker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace fieldgate::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* k_program = "/usr/sbin/mosquitto";

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool accepts(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto address = loopback(port);
  const bool ok = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return ok;
}

}  // namespace

std::uint16_t free_port() {
  static std::set<std::uint16_t> given;
  static std::random_device random;
  std::uniform_int_distribution<std::uint16_t> any(10'000, 29'999);
  for (int attempt = 0; attempt < 1'000; ++attempt) {
    const std::uint16_t port = any(random);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(port);
    const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (free && given.insert(port).second) return port;
  }
  throw std::runtime_error("no free port");
}

MosquittoBroker::MosquittoBroker(BrokerOptions options) : options_(std::move(options)) {
  // Somebody else may take the port between our look and the broker's.
  for (int attempt = 0;; ++attempt) {
    port_ = free_port();
    write_configuration();
    try {
      start();
      return;
    } catch (const std::runtime_error&) {
      if (attempt == 3) throw;
    }
  }
}

MosquittoBroker::~MosquittoBroker() {
  if (pid_ > 0) end(SIGKILL);
}

void MosquittoBroker::write_configuration() {
  std::ostringstream conf;
  conf << "listener " << port_ << " 127.0.0.1\n";
  if (::geteuid() == 0) conf << "user root\n";
  conf << "allow_anonymous " << (options_.password_file.empty() ? "true" : "false") << "\n";
  if (!options_.password_file.empty()) conf << "password_file " << options_.password_file << "\n";
  if (!options_.certificate_file.empty()) {
    conf << "certfile " << options_.certificate_file << "\nkeyfile " << options_.key_file << "\n";
    if (!options_.client_ca_file.empty()) {
      conf << "cafile " << options_.client_ca_file << "\nrequire_certificate true\n";
    }
  }
  if (options_.persistence) {
    conf << "persistence true\npersistence_location " << dir_.path().string() << "/\n";
  }
  // What a broker drops for a slow subscriber would look like our loss. Not 0 for
  // "no limit": mosquitto 2.0.11 then drops every client whose PUBLISH it refuses.
  conf << "max_queued_messages 10000000\n" << options_.extra << "\n";
  dir_.write("mosquitto.conf", conf.str());
}

void MosquittoBroker::start() {
  spawn();
  const auto deadline = steady_clock::now() + std::chrono::seconds(60);
  while (!accepts(port_)) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("mosquitto ended at once: " + log());
    }
    if (steady_clock::now() > deadline) throw std::runtime_error("mosquitto does not listen: " + log());
    std::this_thread::sleep_for(milliseconds(5));
  }
}

void MosquittoBroker::spawn() {
  const std::string conf = dir_.file("mosquitto.conf");
  const std::string out = dir_.file("mosquitto.log");
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  ::execl(k_program, k_program, "-c", conf.c_str(), "-v", nullptr);
  ::_exit(127);
}

void MosquittoBroker::end(int signal) {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGCONT);
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void MosquittoBroker::stop() { end(SIGTERM); }
void MosquittoBroker::kill() { end(SIGKILL); }
void MosquittoBroker::freeze() { ::kill(pid_, SIGSTOP); }
void MosquittoBroker::thaw() { ::kill(pid_, SIGCONT); }
void MosquittoBroker::reload() { ::kill(pid_, SIGHUP); }

std::string MosquittoBroker::log() const {
  std::ifstream file(dir_.file("mosquitto.log"));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace fieldgate::test
