// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace fieldgate {

// Where the HTTP API is, and what is shown there.
struct ApiAddress {
  std::string url;      // http://HOST:PORT or https://HOST:PORT, without a slash at the end
  std::string token;    // empty: none is shown
  std::string ca_file;  // PEM; empty: the system's authorities
};

struct ApiRequest {
  std::string method = "GET";
  std::string target;  // path and query, encoded
  std::string accept = "application/json";
  std::string content_type;  // empty: there is no body
  std::string body;
  std::string if_match;  // these three: empty for none
  std::string if_none_match;
  std::string idempotency_key;
  milliseconds wait{0};  // how long the gateway was asked to wait, beside its usual time
  // Body and answer of any length, piece by piece, instead of `body` and ApiAnswer::body.
  // read: fills at most `room` bytes; 0 at the end, an error to give the request up.
  std::function<Result<std::size_t>(char* into, std::size_t room)> read;
  // write: of an answer below 300; an error gives it up.
  std::function<Result<void>(std::string_view)> write;
};

struct ApiAnswer {
  int status = 0;
  std::string content_type;
  std::string body;
  std::string retry_after;  // as sent; empty: not sent
};

// One HTTP request after the other.
// Errors: Errc::unavailable where there is no whole answer (the detail says what
// happened, and names the address); what `read` or `write` gave up with, as it is:
// Errc::invalid_argument where what was to be sent is at fault.
class ApiTransport {
 public:
  virtual ~ApiTransport() = default;
  virtual Result<ApiAnswer> exchange(const ApiRequest& request) = 0;
};

// HTTP/1.1 by libcurl, on the caller's thread.
// Bounds: 10 s to connect; 30 s and `wait` for an answer; with read or write instead:
// 60 s without a byte either way. At most 64 MiB of body. Redirects and proxies are not
// followed: the token goes to the address that was given, and nowhere else.
std::unique_ptr<ApiTransport> make_curl_transport(const ApiAddress& address);

}  // namespace fieldgate
