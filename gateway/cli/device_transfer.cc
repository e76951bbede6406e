// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/device_transfer.h"

#include "gateway/cli/device_table.h"

#include <unistd.h>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ostream>
#include <system_error>

namespace fieldgate {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t k_line_bytes_max = 1'048'576;
constexpr std::chrono::milliseconds k_progress_every{200};

Result<std::size_t> read_some(int in, char* into, std::size_t room) {
  while (true) {
    const ssize_t got = ::read(in, into, room);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) {
      return make_error(Errc::invalid_argument,
                        "what is to be imported cannot be read: " + std::system_category().message(errno));
    }
  }
}

std::uint64_t number_at(const boost::json::value& value, std::string_view name) {
  boost::json::error_code error;
  const auto number = member(value, name).to_number<std::uint64_t>(error);
  return error ? 0 : number;
}

// The answer of an import, line by line.
class Outcomes {
 public:
  explicit Outcomes(const ImportView& view) : view_(view) {}

  Result<void> take(std::string_view piece) {
    if (view_.raw != nullptr) *view_.raw << piece;
    const std::size_t known = rest_.size();  // without a line end: looked at before
    rest_ += piece;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = rest_.find('\n', std::max(begin, known))) != std::string::npos; begin = end + 1) {
      if (auto read = line(std::string_view(rest_).substr(begin, end - begin)); !read) return read;
    }
    rest_.erase(0, begin);
    if (rest_.size() > k_line_bytes_max) return make_error(Errc::unavailable, "the answer has a line over 1 MiB");
    show_progress();
    return {};
  }

  const ImportSum& finish() {
    clear_progress();
    return sum_;
  }

 private:
  Result<void> line(std::string_view text) {
    boost::json::error_code error;
    const auto said = boost::json::parse(text, error);
    if (error || !said.is_object()) {
      return make_error(Errc::unavailable, "the answer is none of an import: is --api Fieldgate's API?");
    }
    if (!member(said, "done").is_null()) {
      const std::string why = text_at(said, "error");
      sum_ = {true_at(said, "done"),
              number_at(said, "lines"),
              number_at(said, "created"),
              number_at(said, "updated"),
              number_at(said, "unchanged"),
              number_at(said, "errors"),
              why.empty() ? text_at(said, "detail") : why};
      return {};
    }
    ++sum_.lines;
    const std::string outcome = text_at(said, "outcome");
    if (outcome == "created") ++sum_.created;
    if (outcome == "updated") ++sum_.updated;
    if (outcome == "unchanged") ++sum_.unchanged;
    if (outcome == "error") fault(said);
    return {};
  }

  void fault(const boost::json::value& said) {
    ++sum_.errors;
    if (view_.faults == nullptr) return;
    clear_progress();
    const std::string id = text_at(said, "id");
    *view_.faults << "line " << text_at(said, "line") << (id.empty() ? "" : " (" + id + ")") << ": "
                  << text_at(said, "error") << "\n";
  }

  void show_progress() {
    const auto now = steady_clock::now();
    if (view_.progress == nullptr || now < next_progress_) return;
    next_progress_ = now + k_progress_every;
    *view_.progress << "\r\x1b[K" << sum_.lines << " lines: " << sum_.created << " created, " << sum_.updated
                    << " updated, " << sum_.errors << " errors" << std::flush;
    shown_ = true;
  }
  void clear_progress() {
    if (shown_) *view_.progress << "\r\x1b[K" << std::flush;
    shown_ = false;
  }

  const ImportView& view_;
  ImportSum sum_;
  std::string rest_;
  steady_clock::time_point next_progress_{};
  bool shown_ = false;
};

}  // namespace

ApiResult<ImportSum> import_devices(DeviceClient& client, int in, const ImportView& view) {
  Outcomes outcomes(view);
  ApiRequest request;
  request.method = "POST";
  request.target = "/api/v1/devices/import";
  request.accept = "application/x-ndjson";
  request.content_type = "application/x-ndjson";
  request.read = [in](char* into, std::size_t room) { return read_some(in, into, room); };
  request.write = [&](std::string_view piece) { return outcomes.take(piece); };
  const auto sent = client.stream(request);
  const ImportSum& sum = outcomes.finish();
  if (!sent) return sent.error();
  return sum;
}

ApiResult<void> export_devices(DeviceClient& client, std::ostream& out) {
  ApiRequest request;
  request.target = "/api/v1/devices/export";
  request.accept = "application/x-ndjson";
  request.write = [&out](std::string_view piece) -> Result<void> {
    if (out << piece) return {};
    return make_error(Errc::unavailable, "the export cannot be written");
  };
  return client.stream(request);
}

}  // namespace fieldgate
