// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/tokens.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <fstream>

namespace fieldgate::sim {
namespace {

std::string hex(const unsigned char* bytes, std::size_t size) {
  constexpr char k_digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text.push_back(k_digits[bytes[i] >> 4]);
    text.push_back(k_digits[bytes[i] & 15]);
  }
  return text;
}

}  // namespace

std::string device_token(std::string_view seed, std::string_view device) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), seed.data(), static_cast<int>(seed.size()), reinterpret_cast<const unsigned char*>(device.data()),
       device.size(), digest, &size);
  return hex(digest, size);
}

Outcome<void> write_tokens(const std::string& path, std::string_view seed, const std::vector<std::string>& devices) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  for (const std::string& device : devices) {
    const std::string token = device_token(seed, device);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_Digest(token.data(), token.size(), digest, &size, EVP_sha256(), nullptr);
    out << device << " sha256:" << hex(digest, size) << '\n';
  }
  out.flush();
  if (!out) return Problem{"cannot write " + path};
  return {};
}

}  // namespace fieldgate::sim
