// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/token_command.h"

#include "adapters/http/token_table.h"
#include "adapters/identity/sha256.h"
#include "adapters/identity/token_table.h"
#include "adapters/jwt/base64url.h"
#include "adapters/jwt/keys.h"
#include "adapters/jwt/signer.h"
#include "gateway/cli/secret_file.h"
#include "gateway/config/problem.h"
#include "gateway/config/value.h"
#include "gateway/core/ids.h"
#include "gateway/core/settings.h"

#include <openssl/rand.h>
#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

namespace fieldgate {
namespace {

constexpr std::size_t k_secret_bytes = 32;

// base64url of that many random bytes; empty: there are none.
std::string random_text(std::size_t bytes) {
  std::string raw(bytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(bytes)) != 1) return {};
  return jwt::to_base64url(raw);
}

Result<std::string> read(const std::string& file) {
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in) return text;
  return make_error(Errc::not_found,
                    file + ": cannot be read: " + std::system_category().message(errno != 0 ? errno : EIO));
}

std::optional<JwtAlgorithm> algorithm_of(const std::string& name) {
  for (const JwtAlgorithm one : {JwtAlgorithm::rs256, JwtAlgorithm::es256, JwtAlgorithm::eddsa}) {
    if (name == jwt::to_string(one)) return one;
  }
  return std::nullopt;
}

Result<void> sound_api_tokens(std::string_view text, const std::string& file) {
  const auto table = http::TokenTable::parse(text, file);
  return table ? Result<void>() : table.error();
}
Result<void> sound_device_tokens(std::string_view text, const std::string& file) {
  const auto table = TokenTable::parse(text, file);
  return table ? Result<void>() : table.error();
}

}  // namespace

class TokenCommand::Impl {
 public:
  Impl(CLI::App& token, const CommandLineContext& context, const Choose& choose) : context_(context), choose_(choose) {
    token.require_subcommand(1);
    CLI::App& people =
        add(token, "new", "Make a token for the HTTP API; prints it, this once, and its line", &Impl::make_for_api);
    people.add_option("NAME", name_, "Whose it is, as the log will name them")->required();
    people.add_option("--scope", scope_, "What it is good for: read, command or admin; each includes those before it")
        ->capture_default_str();
    people.add_option("--append", file_, "Add the line to this token file (api.token_file)")->type_name("FILE");

    CLI::App& devices =
        add(token, "device", "Make a token for a device; prints it, this once, and its line", &Impl::make_for_device);
    devices.add_option("DEVICE_ID", name_, "The device")->required();
    devices.add_option("--append", file_, "Add the line to this token file (tokens.file)")->type_name("FILE");

    CLI::App& jwt = add(
        token, "jwt", "Sign a JSON Web Token, for development: in production whoever issues tokens does", &Impl::sign);
    jwt.add_option("--key", file_, "The private key, PEM, without a passphrase")->type_name("FILE")->required();
    jwt.add_option("--algorithm", algorithm_, "RS256, ES256 or EdDSA")->capture_default_str();
    jwt.add_option("--subject", name_, "sub: the device's id, or who uses the API")->required();
    jwt.add_option("--audience", audience_, "aud: as in the gateway's settings")->required();
    jwt.add_option("--issuer", issuer_, "iss");
    jwt.add_option("--expires-in", expires_in_, "How long it is good for: 90s, 30m, 24h")->capture_default_str();
    jwt.add_option("--scope", scopes_, "scope, for the API: read, command or admin");
    jwt.add_option("--kid", kid_, "kid: the key's id in the gateway's settings");
  }

 private:
  using Command = int (Impl::*)();

  CLI::App& add(CLI::App& token, const char* name, const char* what, Command command) {
    CLI::App& added = *token.add_subcommand(name, what);
    added.callback([this, command] { choose_([this, command] { return (this->*command)(); }); });
    return added;
  }

  int fail(int status, const std::string& what) {
    context_.err << "fieldgate: " << what << "\n";
    return status;
  }

  int make_for_api() {
    if (!is_valid_name(name_)) {
      return fail(k_exit_usage, "the name " + config::quoted(name_) +
                                    " must be 1 to 128 of A-Z a-z 0-9 . _ : - and start with a letter or digit");
    }
    if (!http::parse_scope(scope_)) {
      return fail(k_exit_usage, "--scope must be read, command or admin, and not " + config::quoted(scope_));
    }
    return hand_out(" " + scope_, sound_api_tokens);
  }

  int make_for_device() {
    if (const auto id = DeviceId::parse(name_); !id) {
      return fail(k_exit_usage, "the device " + config::quoted(name_) + ": " + id.error().detail);
    }
    return hand_out("", sound_device_tokens);
  }

  int hand_out(const std::string& rest, Result<void> (*sound)(std::string_view, const std::string&)) {
    const std::string secret = random_text(k_secret_bytes);
    if (secret.empty()) return fail(k_exit_internal, "there are no random numbers to be had");
    const std::string line = name_ + " sha256:" + sha256_hex(secret) + rest;
    if (!file_.empty()) {
      const auto added = append_line(file_, line, [&](std::string_view text) { return sound(text, file_); });
      // The line is not shown then: what is not in the file should not look as if it were.
      if (!added) return fail(k_exit_cannot_write, added.error().detail);
      context_.err << "fieldgate: added to " << file_ << "; a running gateway reads it at SIGHUP\n";
    }
    context_.out << "token: " << secret << "\nline: " << line << "\n";
    return k_exit_ok;
  }

  int sign() {
    const auto algorithm = algorithm_of(algorithm_);
    if (!algorithm) {
      return fail(k_exit_usage, "--algorithm must be RS256, ES256 or EdDSA, and not " + config::quoted(algorithm_));
    }
    seconds lifetime{0};
    config::Duration good_for(lifetime, seconds(1), std::chrono::hours(24 * 366));
    if (const auto complaint = good_for.set(expires_in_)) return fail(k_exit_usage, "--expires-in " + *complaint);
    const auto pem = read(file_);
    if (!pem) return fail(k_exit_no_input, pem.error().detail);
    const auto signer = jwt::Signer::make(*pem, file_, *algorithm);
    if (!signer) return fail(k_exit_no_input, signer.error().detail);

    const auto now = std::chrono::duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    boost::json::object claims{{"sub", name_}, {"aud", audience_}, {"iat", now}, {"exp", now + lifetime.count()}};
    if (!issuer_.empty()) claims["iss"] = issuer_;
    if (!scopes_.empty()) claims["scope"] = scopes_;
    const auto token = signer->sign(boost::json::serialize(claims), kid_);
    if (!token) return fail(k_exit_internal, token.error().detail);
    context_.err << "fieldgate: for development: in production, whoever issues tokens signs them\n";
    context_.out << *token << "\n";
    return k_exit_ok;
  }

  const CommandLineContext& context_;
  const Choose& choose_;
  std::string name_;  // a person's, a device's, or the subject
  std::string file_;  // the token file, or the private key
  std::string scope_ = "read";
  std::string algorithm_ = "ES256";
  std::string audience_;
  std::string issuer_;
  std::string expires_in_ = "1h";
  std::string scopes_;
  std::string kid_;
};

TokenCommand::TokenCommand(CLI::App& token, const CommandLineContext& context, const Choose& choose)
    : impl_(std::make_unique<Impl>(token, context, choose)) {}
TokenCommand::~TokenCommand() = default;

}  // namespace fieldgate
