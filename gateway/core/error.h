// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <string>
#include <utility>

namespace fieldgate {

using error_code = boost::system::error_code;

// Why something failed. Branch on `code`; log `detail`, never parse it.
struct Error {
  error_code code;
  std::string detail;
};

template <class T>
using Result = boost::system::result<T, Error>;

// Required by boost::system::result for value() on an error: a bug in the
// caller, who did not check.
[[noreturn]] inline void throw_exception_from_error(const Error& error, const boost::source_location& where) {
  boost::throw_exception(boost::system::system_error(error.code, error.detail), where);
}

// Conditions that more than one module reports.
enum class Errc {
  invalid_argument = 1,
  too_large,
  malformed,
  unsupported,
  forbidden,
  unauthenticated,
  not_found,
  conflict,
  full,
  timed_out,
  closed,
  unavailable,
  internal,
};

const boost::system::error_category& fieldgate_category() noexcept;

inline error_code make_error_code(Errc code) noexcept { return {static_cast<int>(code), fieldgate_category()}; }

inline Error make_error(Errc code, std::string detail) { return {make_error_code(code), std::move(detail)}; }

}  // namespace fieldgate

template <>
struct boost::system::is_error_code_enum<fieldgate::Errc> : std::true_type {};
