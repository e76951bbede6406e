// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/device_entry.h"

namespace fieldgate {

std::string_view to_string(CredentialKind kind) noexcept {
  return kind == CredentialKind::token ? "token" : "certificate";
}

}  // namespace fieldgate
