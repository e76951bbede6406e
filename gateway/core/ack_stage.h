// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fieldgate {

// What an Ack stands for: docs/protocol.md says what each stage means.
enum class AckStage : std::uint8_t { unspecified, accepted, spooled, forwarded };

}  // namespace fieldgate
