// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/token_table.h"

#include "adapters/http/text.h"
#include "gateway/core/ids.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

namespace fieldgate::http {
namespace {

constexpr std::string_view k_how = "want lines of 'NAME sha256:HEX'; make HEX with: printf %s TOKEN | sha256sum";

bool read_sha256(std::string_view text, std::array<unsigned char, 32>& out) {
  constexpr std::string_view k_prefix = "sha256:";
  if (!text.starts_with(k_prefix)) return false;
  text.remove_prefix(k_prefix.size());
  if (text.size() != 2 * out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, out[i], 16).ptr != at + 2) return false;
  }
  return true;
}

}  // namespace

Result<TokenTable> TokenTable::load(const std::string& file) {
  if (file.empty()) {
    return make_error(Errc::invalid_argument, "the API needs a token file (api.token_file): " + std::string(k_how));
  }
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) {
    const std::string why = errno != 0 ? std::strerror(errno) : "cannot be read";
    return make_error(Errc::invalid_argument, file + ": " + why + "; " + std::string(k_how));
  }
  return parse(text, file);
}

Result<TokenTable> TokenTable::parse(std::string_view text, std::string_view file) {
  TokenTable table;
  std::size_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trim(line);
    if (line.empty() || line[0] == '#') continue;

    Entry entry;
    const std::size_t gap = line.find_first_of(" \t");
    entry.name = line.substr(0, gap);
    const std::string_view hash = gap == std::string_view::npos ? std::string_view() : trim(line.substr(gap));
    if (!is_valid_name(entry.name) || !read_sha256(hash, entry.sha256)) {
      return make_error(Errc::invalid_argument,
                        std::string(file) + ":" + std::to_string(line_number) + ": " + std::string(k_how));
    }
    table.entries_.push_back(std::move(entry));
  }
  if (table.entries_.empty()) {
    return make_error(Errc::invalid_argument, std::string(file) + ": holds no token; " + std::string(k_how));
  }
  return table;
}

const std::string* TokenTable::find(std::string_view token) const {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  if (EVP_Digest(token.data(), token.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return nullptr;
  const std::string* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.sha256.data(), digest.data(), digest.size()) == 0) found = &entry.name;
  }
  return found;
}

std::string_view TokenTable::bearer(std::string_view authorization) {
  const std::size_t gap = authorization.find(' ');
  if (gap == std::string_view::npos || to_lower(authorization.substr(0, gap)) != "bearer") return {};
  return trim(authorization.substr(gap));
}

}  // namespace fieldgate::http
