// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/http/http_client.h"

#include "tests/support/temp_dir.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace fieldgate::test {
namespace {

std::string slurp(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t count(std::string_view text, std::string_view mark) {
  std::size_t n = 0;
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, at + mark.size())) ++n;
  return n;
}

}  // namespace

RawClient::RawClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd_ < 0 || ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("cannot connect");
  }
}

RawClient::~RawClient() { ::close(fd_); }

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void RawClient::shut() { ::shutdown(fd_, SHUT_WR); }

bool RawClient::readable() const {
  pollfd waiting{fd_, POLLIN, 0};
  return ::poll(&waiting, 1, 0) > 0;
}

bool RawClient::read_more(std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd waiting{fd_, POLLIN, 0};
  if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0) {
    throw std::runtime_error("nothing more came in time; so far: " + received_);
  }
  std::array<char, 16'384> bytes;
  const ssize_t n = ::recv(fd_, bytes.data(), bytes.size(), 0);
  if (n < 0) throw std::runtime_error("the connection was reset; so far: " + received_);
  received_.append(bytes.data(), static_cast<std::size_t>(n));
  return n > 0;
}

std::string RawClient::read_all(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (read_more(deadline)) {
  }
  return received_;
}

std::string RawClient::read_until(std::string_view mark, int times) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (count(received_, mark) < static_cast<std::size_t>(times)) {
    if (!read_more(deadline)) throw std::runtime_error("closed too early; so far: " + received_);
  }
  return received_;
}

std::pair<int, std::string> run_command(const std::vector<std::string>& arguments) {
  TempDir dir;
  const std::string output = (dir.path() / "output").string();
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::freopen(output.c_str(), "w", stdout) == nullptr || ::dup2(STDOUT_FILENO, STDERR_FILENO) < 0) ::_exit(126);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) throw std::runtime_error("cannot run " + arguments[0]);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(output)};
}

std::string CurlAnswer::header(std::string_view name) const {
  std::size_t at = 0;
  while (at < headers.size()) {
    const std::size_t end = std::min(headers.find("\r\n", at), headers.size());
    const std::string line = headers.substr(at, end - at);
    const std::size_t colon = line.find(": ");
    std::string key = line.substr(0, colon);
    for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (colon != std::string::npos && key == name) return line.substr(colon + 2);
    at = end + 2;
  }
  return {};
}

CurlAnswer curl(const std::vector<std::string>& arguments) {
  TempDir dir;
  const std::string headers = (dir.path() / "headers").string();
  const std::string body = (dir.path() / "body").string();
  std::vector<std::string> command = {"curl", "-sS",   "-q", "--noproxy", "*",  "--max-time",  "10",
                                      "-D",   headers, "-o", body,        "-w", "%{http_code}"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto [exit_status, output] = run_command(command);
  CurlAnswer answer{exit_status, 0, slurp(headers), slurp(body)};
  if (exit_status == 0) {
    answer.status = static_cast<unsigned>(std::stoul(output));
  } else {
    answer.body = output;
  }
  return answer;
}

}  // namespace fieldgate::test
