// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fieldgate {

// What there is too little of to let any device in.
enum class Pressure : std::uint8_t { none, memory, descriptors };

}  // namespace fieldgate
