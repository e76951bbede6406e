// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fieldgate::jwt {

// RFC 4648 section 5 without padding, as RFC 7515 section 2 wants it.
std::string to_base64url(std::string_view bytes);
// nullopt for anything that to_base64url() cannot have written: padding, other
// characters, bits that stand for nothing.
std::optional<std::string> from_base64url(std::string_view text);

}  // namespace fieldgate::jwt
