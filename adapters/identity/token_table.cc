// SPDX-License-Identifier: Apache-2.0
#include "adapters/identity/token_table.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace fieldgate {
namespace {

constexpr std::string_view k_blank = " \t\r";
constexpr std::string_view k_hash_mark = "sha256:";

// The next word of `line`, which loses it; empty at the end.
std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(k_blank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(k_blank));
  line.remove_prefix(word.size());
  return word;
}

std::optional<Sha256> hash_of(std::string_view word) {
  if (!word.starts_with(k_hash_mark)) return std::nullopt;
  return sha256_from_hex(word.substr(k_hash_mark.size()));
}

class Problems {
 public:
  explicit Problems(const std::string& source) : source_(source) {}

  void add(std::size_t line, const std::string& what) {
    if (++count_ > TokenTable::k_problems_max) return;
    text_.append(text_.empty() ? "" : "\n").append(source_).append(":").append(std::to_string(line));
    text_.append(": ").append(what);
  }
  std::optional<Error> error() const {
    if (count_ == 0) return std::nullopt;
    std::string detail = text_;
    if (count_ > TokenTable::k_problems_max) {
      detail += "\n" + source_ + ": and " + std::to_string(count_ - TokenTable::k_problems_max) + " more";
    }
    return make_error(Errc::malformed, std::move(detail));
  }

 private:
  const std::string& source_;
  std::string text_;
  std::size_t count_ = 0;
};

}  // namespace

Result<TokenTable> TokenTable::parse(std::string_view text, const std::string& source) {
  TokenTable table;
  Problems problems(source);
  std::unordered_map<Sha256, std::size_t, HashOfSha256> first_lines;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    const std::string_view device = next_word(line);
    if (device.empty()) continue;
    const std::string_view hash_word = next_word(line);
    auto id = DeviceId::parse(device);
    auto hash = hash_of(hash_word);
    // The words themselves are not repeated: one may be a token that someone
    // forgot to hash.
    if (!id) problems.add(number, "the first word: " + id.error().detail);
    if (!hash) problems.add(number, "the second word must be sha256: and the token's SHA-256 as 64 hex digits");
    if (!next_word(line).empty()) problems.add(number, "more than two words");
    if (!hash) continue;
    const auto [first, is_new] = first_lines.emplace(*hash, number);
    if (!is_new) {
      problems.add(number, "the same token as in line " + std::to_string(first->second) +
                               ": a token belongs to one device, once");
    } else if (id) {
      table.devices_.emplace(*hash, std::move(*id));
    }
  }
  if (auto error = problems.error()) return std::move(*error);
  return table;
}

Result<TokenTable> TokenTable::read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return make_error(Errc::not_found, path + ": " + std::system_category().message(errno));
  std::string text;
  std::vector<char> piece(65'536);
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > k_bytes_max) return make_error(Errc::too_large, path + ": is larger than 256 MiB");
  }
  if (in.bad()) return make_error(Errc::not_found, path + ": cannot be read to its end; is it a folder?");
  return parse(text, path);
}

const DeviceId* TokenTable::find(const Sha256& token) const {
  const auto found = devices_.find(token);
  return found == devices_.end() ? nullptr : &found->second;
}

}  // namespace fieldgate
