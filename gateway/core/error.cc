// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/error.h"

namespace fieldgate {
namespace {

class Category final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "fieldgate"; }

  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::invalid_argument: return "invalid argument";
      case Errc::too_large: return "too large";
      case Errc::malformed: return "malformed";
      case Errc::unsupported: return "unsupported";
      case Errc::forbidden: return "forbidden";
      case Errc::unauthenticated: return "not authenticated";
      case Errc::not_found: return "not found";
      case Errc::conflict: return "conflict";
      case Errc::full: return "full";
      case Errc::timed_out: return "timed out";
      case Errc::closed: return "closed";
      case Errc::unavailable: return "unavailable";
      case Errc::internal: return "internal error";
    }
    return "unknown";
  }
};

}  // namespace

const boost::system::error_category& fieldgate_category() noexcept {
  static const Category category;
  return category;
}

}  // namespace fieldgate
