// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/cli/device_transport.h"

#include <boost/json/value.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate {

inline constexpr int k_exit_refused = 1;       // not found, refused, or a line of many failed
inline constexpr int k_exit_unavailable = 69;  // the API does not answer, or cannot now
inline constexpr int k_exit_not_allowed = 77;  // it wants a token, or a better one

// Why a request came to nothing: for a person, several lines perhaps, without a line
// end; and what the process ends with.
struct ApiFailure {
  ApiFailure() = default;
  // A constructor, for else any int would do as a failure.
  ApiFailure(int exit_status, std::string what) : status(exit_status), text(std::move(what)) {}
  int status = k_exit_unavailable;
  std::string text;
};
template <class T>
using ApiResult = boost::system::result<T, ApiFailure>;

struct ApiReply {
  std::string text;          // the body as it came; empty: there was none
  boost::json::value value;  // the same, read
};

// The HTTP API's devices, as a program uses them: requests go out, answers come back
// read, and problem documents (RFC 9457) as what to tell a person.
// Bounds: those of the transport; JSON 32 levels deep.
// Errors: as values; unavailable where the API cannot be reached, does not speak as it
// should, or says that it cannot now (502 to 504).
class DeviceClient {
 public:
  explicit DeviceClient(std::unique_ptr<ApiTransport> transport) : transport_(std::move(transport)) {}

  // An answer below 300, with a JSON body or none.
  ApiResult<ApiReply> call(const ApiRequest& request);
  // With read or write in the request: the answer has gone there.
  ApiResult<void> stream(const ApiRequest& request);
  // Every page of a list from `target` on, which may have a query: `take` gets each
  // answer, and says whether to go on.
  ApiResult<void> pages(const std::string& target, const std::function<bool(const ApiReply&)>& take);

 private:
  ApiResult<ApiAnswer> exchange(const ApiRequest& request);

  std::unique_ptr<ApiTransport> transport_;
};

// "?a=1&b=2", encoded; "" for nothing.
std::string query_of(const std::vector<std::pair<std::string, std::string>>& parameters);
// As a part of a path or a query (RFC 3986).
std::string percent_encoded(std::string_view text);

}  // namespace fieldgate
