# SPDX-License-Identifier: Apache-2.0
# Writes a C++ source whose function returns the bytes of a file.
#   cmake -DINPUT=openapi.json -DOUTPUT=openapi.cc -P embed.cmake
file(READ "${INPUT}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "((0x..,){24})" "\\1\n" bytes "${bytes}")
file(WRITE "${OUTPUT}" "// Made from ${INPUT} by embed.cmake.
#include \"adapters/http/api_handler.h\"

namespace fieldgate::http {
namespace {

constexpr unsigned char k_bytes[] = {
${bytes}
};

}  // namespace

std::string_view openapi_document() noexcept {
  return {reinterpret_cast<const char*>(k_bytes), sizeof(k_bytes)};
}

}  // namespace fieldgate::http
")
