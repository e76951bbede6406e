// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace fieldgate::control {

// Well-formed UTF-8 (Unicode 15, table 3-7) without control characters (U+0000 to
// U+001F, U+007F to U+009F).
bool is_plain_text(std::string_view text) noexcept;

}  // namespace fieldgate::control
