// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::test {

// A TCP connection to 127.0.0.1 that says whatever a test wants it to.
// Errors: throws, so that the test fails.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False if the peer has closed.
  bool send(std::string_view bytes);
  // Ends this side of the connection.
  void shut();
  // Something has come that was not read, or the peer has closed; does not wait.
  bool readable() const;
  // Everything until the peer closes; throws if it does not within `patience`.
  std::string read_all(std::chrono::milliseconds patience = std::chrono::seconds(5));
  // At least until `mark` has come `times` times; then what came so far.
  std::string read_until(std::string_view mark, int times = 1);

 private:
  // False at the end of the stream.
  bool read_more(std::chrono::steady_clock::time_point deadline);

  int fd_ = -1;
  std::string received_;
};

struct CurlAnswer {
  int exit_status = 0;
  unsigned status = 0;
  std::string headers;  // as they came
  std::string body;

  // The value of a header, by its name in lower case; empty if absent.
  std::string header(std::string_view name) const;
};

// Runs curl with these arguments.
CurlAnswer curl(const std::vector<std::string>& arguments);

// Runs a command and gives its exit status and what it printed, to either stream.
std::pair<int, std::string> run_command(const std::vector<std::string>& arguments);

}  // namespace fieldgate::test
