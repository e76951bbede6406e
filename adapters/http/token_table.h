// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::http {

// What a token is good for; each includes those before it.
enum class Scope : std::uint8_t {
  read,     // looking at everything
  command,  // asking things of devices
  admin,    // changing everything else too
};
std::string_view to_string(Scope scope) noexcept;
// nullopt: there is no such scope.
std::optional<Scope> parse_scope(std::string_view name) noexcept;

// What says who somebody is: a line of the token file, or a JSON Web Token.
enum class TokenKind : std::uint8_t { token, jwt };

struct TokenHolder {
  std::string name;  // of the line; of a JWT its subject, which anything may be
  Scope scope = Scope::read;
  std::int64_t expires_unix_ms = 0;  // of the token; 0: never
  TokenKind kind = TokenKind::token;

  // For logs, and for what was done: "token:NAME" or "jwt:SUBJECT", so that a JWT cannot pass
  // for a line of the token file.
  std::string by() const { return (kind == TokenKind::jwt ? "jwt:" : "token:") + name; }
};

// Who may use the API, and for what: names and the SHA-256 of their tokens. Immutable.
class TokenTable {
 public:
  // Reads lines of "NAME sha256:HEX [SCOPE...]", by default with scope read, and of
  // several scopes the widest counts; `#` starts a comment line. A name may have several tokens, so that one can be
  // replaced by another without a gap; of several lines with one token the last counts.
  // Errors: Errc::invalid_argument naming file and line; a table without any token
  // is an error too. Blocks on disk.
  static Result<TokenTable> load(const std::string& file);
  static Result<TokenTable> parse(std::string_view text, std::string_view file);

  // Who presented `token`; nullptr for none. Takes the same time whichever entry
  // matches, and if none does.
  const TokenHolder* find(std::string_view token) const;

  // The token in an Authorization header (RFC 6750 section 2.1); empty if it is
  // of another scheme.
  static std::string_view bearer(std::string_view authorization);

 private:
  struct Entry {
    TokenHolder holder;
    std::array<unsigned char, 32> sha256{};
  };
  static Result<Entry> parse_line(std::string_view line);

  std::vector<Entry> entries_;
};

}  // namespace fieldgate::http
