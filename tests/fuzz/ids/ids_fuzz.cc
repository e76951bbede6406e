// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a device id: what is taken is safe in an MQTT topic and a URL path.
#include "gateway/core/ids.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto id = fieldgate::DeviceId::parse(text);
  if (id.has_value() != fieldgate::is_valid_name(text)) std::abort();
  if (!id) {
    // Nothing but the form decides: letters and digits alone always pass.
    if (!text.empty() && size <= fieldgate::k_name_bytes_max &&
        text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == text.npos) {
      std::abort();
    }
    return 0;
  }
  if (id->str() != text || text.empty() || size > 128) std::abort();
  for (const char c : text) {
    if (c <= ' ' || c > '~' || std::string_view("+#/$%?*\\\"'<>&;,").find(c) != std::string_view::npos) std::abort();
  }
  if (text == "." || text == ".." || text.front() == '.') std::abort();
  return 0;
}
