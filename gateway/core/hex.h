// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

namespace fieldgate {

// Two lower-case hexadecimal digits for each byte.
std::string to_hex(std::span<const unsigned char> bytes);

}  // namespace fieldgate
