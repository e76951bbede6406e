// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/webhook/target_process.h"

#include <boost/json/parse.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace fieldgate::webhook {
namespace {

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error("webhook target: " + why); }

std::string read_line(int fd) {
  std::string line;
  for (char c = 0; ::read(fd, &c, 1) == 1 && c != '\n';) line.push_back(c);
  return line;
}

}  // namespace

TargetProcess::TargetProcess(const std::vector<std::string>& arguments) {
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) fail("no pipe");
  const char* source = std::getenv("FIELDGATE_SOURCE");
  std::vector<std::string> words = {"/usr/bin/python3", "-B",
                                    std::string(source ? source : ".") + "/tests/support/webhook_target.py"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fail("no process");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  input_ = in[1];
  const std::string line = read_line(out[0]);
  ::close(out[0]);
  if (line.empty()) fail("it ended at once");
  const auto ports = boost::json::parse(line);
  port_ = ports.at("port").to_number<std::uint16_t>();
  control_port_ = ports.at("control_port").to_number<std::uint16_t>();
}

TargetProcess::~TargetProcess() {
  ::close(input_);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string TargetProcess::control(std::string_view method, const std::string& path, std::string_view body) const {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(control_port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("it does not listen");
  std::string request(method);
  request.append(" ").append(path).append(" HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: ");
  request.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  for (std::size_t sent = 0; sent < request.size();) {
    const ssize_t n = ::send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) fail("it does not take " + path);
    sent += static_cast<std::size_t>(n);
  }
  std::string answer;
  std::array<char, 65'536> buffer{};
  for (ssize_t n = 0; (n = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(fd);
  const std::size_t end = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 200") || end == std::string::npos) fail(path + ": " + answer);
  return answer.substr(end + 4);
}

std::vector<boost::json::object> TargetProcess::got() const {
  std::vector<boost::json::object> requests;
  std::istringstream lines(control("GET", "/got", {}));
  for (std::string line; std::getline(lines, line);) requests.push_back(boost::json::parse(line).as_object());
  return requests;
}

TargetProcess::Counts TargetProcess::counts() const {
  const auto counts = boost::json::parse(control("GET", "/counts", {}));
  const auto of = [&counts](const char* name) { return counts.at(name).to_number<std::uint64_t>(); };
  return {of("requests"), of("connections"), of("open")};
}

}  // namespace fieldgate::webhook
