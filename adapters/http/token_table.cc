// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/token_table.h"

#include "adapters/http/text.h"
#include "gateway/core/ids.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

namespace fieldgate::http {
namespace {

constexpr std::string_view k_how =
    "want lines of 'NAME sha256:HEX [SCOPE...]', with read, command or admin for SCOPE; "
    "fieldgate token new makes one, and printf %s TOKEN | sha256sum its HEX";

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

// The word that `rest` begins with, taken off it; empty at the end.
std::string_view take_word(std::string_view& rest) {
  rest = trim(rest);
  const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
  rest.remove_prefix(word.size());
  return word;
}

}  // namespace

std::string_view to_string(Scope scope) noexcept {
  switch (scope) {
    case Scope::read: return "read";
    case Scope::command: return "command";
    case Scope::admin: return "admin";
  }
  return "";
}

std::optional<Scope> parse_scope(std::string_view name) noexcept {
  for (const Scope scope : {Scope::read, Scope::command, Scope::admin}) {
    if (name == to_string(scope)) return scope;
  }
  return std::nullopt;
}

Result<TokenTable> TokenTable::load(const std::string& file) {
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

    Result<Entry> entry = parse_line(line);
    if (!entry) {
      return make_error(Errc::invalid_argument,
                        std::string(file) + ":" + std::to_string(line_number) + ": " + entry.error().detail);
    }
    table.entries_.push_back(std::move(*entry));
  }
  if (table.entries_.empty()) {
    return make_error(Errc::invalid_argument, std::string(file) + ": holds no token; " + std::string(k_how));
  }
  return table;
}

Result<TokenTable::Entry> TokenTable::parse_line(std::string_view line) {
  Entry entry;
  entry.holder.name = take_word(line);
  if (!is_valid_name(entry.holder.name) || !read_sha256(take_word(line), entry.sha256)) {
    return make_error(Errc::invalid_argument, std::string(k_how));
  }
  for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
    const auto scope = parse_scope(word);
    // Not shown: it may be a token in the wrong place.
    if (!scope) return make_error(Errc::invalid_argument, "unknown scope; " + std::string(k_how));
    entry.holder.scope = std::max(entry.holder.scope, *scope);
  }
  return entry;
}

const TokenHolder* TokenTable::find(std::string_view token) const {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  if (EVP_Digest(token.data(), token.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return nullptr;
  const TokenHolder* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.sha256.data(), digest.data(), digest.size()) == 0) found = &entry.holder;
  }
  return found;
}

std::string_view TokenTable::bearer(std::string_view authorization) {
  const std::size_t gap = authorization.find(' ');
  if (gap == std::string_view::npos || to_lower(authorization.substr(0, gap)) != "bearer") return {};
  return trim(authorization.substr(gap));
}

}  // namespace fieldgate::http
