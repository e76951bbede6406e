// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace fieldgate::http {

// Takes a request's body out of the bytes that follow its head (RFC 9112 section 6 and
// 7): plain or chunked, as the head says.
// Thread: one.
class BodyParser {
 public:
  // Errors of begin(): Errc::malformed: a head that the request gate would not have let pass.
  static Result<BodyParser> begin(std::string_view head, std::uint64_t bytes_max);
  BodyParser(BodyParser&&) noexcept;
  BodyParser& operator=(BodyParser&&) noexcept;
  ~BodyParser();

  // Appends to `out` what is body in `bytes`, and gives how many of them it has used; 0:
  // it needs more at once. Errors: Errc::too_large: beyond bytes_max; Errc::malformed.
  Result<std::size_t> take(std::string_view bytes, std::string& out);
  bool done() const;

 private:
  struct Impl;
  explicit BodyParser(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fieldgate::http
