// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::webhook {

// Where the requests go (RFC 3986, RFC 9110 section 4.2).
struct TargetUrl {
  bool tls = false;
  std::string host;  // name or numeric address, without brackets
  std::uint16_t port = 0;
  std::string authority;  // for the Host header: the port only if it is not the scheme's own
  std::string request;    // path and query, as it stands in the request line
  std::string display;    // scheme://host:port/path: without the query, which may hold a secret

  // Errors: Errc::invalid_argument, saying what is wrong.
  static Result<TargetUrl> parse(std::string_view text);
};

}  // namespace fieldgate::webhook
