// SPDX-License-Identifier: Apache-2.0
#include "adapters/jwt/base64url.h"
#include "adapters/jwt/keys.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <boost/json.hpp>

#include <array>
#include <optional>
#include <set>
#include <utility>

// Keys as JSON (RFC 7517).
namespace fieldgate::jwt {
namespace {

namespace json = boost::json;

constexpr std::size_t k_point_bytes = 32;  // of P-256 and of Ed25519
constexpr std::size_t k_id_bytes_max = 256;

struct Free {
  void operator()(BIGNUM* p) const noexcept { BN_free(p); }
  void operator()(OSSL_PARAM_BLD* p) const noexcept { OSSL_PARAM_BLD_free(p); }
  void operator()(OSSL_PARAM* p) const noexcept { OSSL_PARAM_free(p); }
  void operator()(EVP_PKEY_CTX* p) const noexcept { EVP_PKEY_CTX_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

const unsigned char* bytes_of(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::shared_ptr<EVP_PKEY> from_params(const char* type, OSSL_PARAM* params) {
  EVP_PKEY* key = nullptr;
  const Owned<EVP_PKEY_CTX> maker(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  if (!maker || params == nullptr || EVP_PKEY_fromdata_init(maker.get()) != 1 ||
      EVP_PKEY_fromdata(maker.get(), &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
    return nullptr;
  }
  return {key, EVP_PKEY_free};
}

std::shared_ptr<EVP_PKEY> rsa_key(const JwkNumbers& numbers) {
  const Owned<BIGNUM> n(BN_bin2bn(bytes_of(numbers.n), static_cast<int>(numbers.n.size()), nullptr));
  const Owned<BIGNUM> e(BN_bin2bn(bytes_of(numbers.e), static_cast<int>(numbers.e.size()), nullptr));
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (!n || !e || !builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
    return nullptr;
  }
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder.get()));
  return from_params("RSA", params.get());
}

std::shared_ptr<EVP_PKEY> p256_key(const JwkNumbers& numbers) {
  if (numbers.x.size() != k_point_bytes || numbers.y.size() != k_point_bytes) return nullptr;
  std::string group = "P-256";
  std::string point = '\x04' + numbers.x + numbers.y;  // SEC 1 section 2.3.3, uncompressed
  std::array<OSSL_PARAM, 3> params = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), group.size()),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
      OSSL_PARAM_construct_end()};
  return from_params("EC", params.data());
}

std::shared_ptr<EVP_PKEY> ed25519_key(const JwkNumbers& numbers) {
  if (numbers.x.size() != k_point_bytes) return nullptr;
  return {EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(numbers.x), numbers.x.size()), EVP_PKEY_free};
}

// One JWK, and the words for what is wrong with it.
class Jwk {
 public:
  Jwk(const json::object& members, std::string label) : members_(members), label_(std::move(label)) {}

  // nullopt: there is none, or it is no text.
  std::optional<std::string> text(std::string_view name) const {
    const json::value* value = members_.if_contains(name);
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return std::string(value->get_string());
  }

  Result<std::string> number(std::string_view name) const {
    const auto written = text(name);
    auto bytes = written ? from_base64url(*written) : std::nullopt;
    if (bytes && !bytes->empty()) return std::move(*bytes);
    return fail(Errc::malformed, "its '" + std::string(name) + "' is not base64url (RFC 7518 section 6)");
  }

  // Not for signatures: published beside those that are.
  bool is_for_something_else() const {
    if (const auto use = text("use"); use && *use != "sig") return true;
    const json::value* ops = members_.if_contains("key_ops");
    if (ops == nullptr || !ops->is_array()) return false;
    for (const json::value& op : ops->get_array()) {
      if (op == "verify") return false;
    }
    return true;
  }

  Result<JwtAlgorithm> algorithm() const {
    const std::string type = text("kty").value_or("");
    if (type == "oct") {
      return fail(Errc::invalid_argument,
                  "is a symmetric key: whoever checks with it could sign as well; use RS256, ES256 or EdDSA");
    }
    // Of RSA the factors may be left out, of none the exponent.
    if (members_.contains("d")) {
      return fail(Errc::invalid_argument,
                  "is a private key ('d'), which belongs to whoever signs and to nobody else; publish the public "
                  "members alone, and replace the pair if others could read this file");
    }
    const std::string curve = text("crv").value_or("");
    std::optional<JwtAlgorithm> pinned;
    if (type == "EC" && curve == "P-256") pinned = JwtAlgorithm::es256;
    if (type == "OKP" && curve == "Ed25519") pinned = JwtAlgorithm::eddsa;
    if (!pinned && type != "RSA") {
      return fail(Errc::invalid_argument,
                  "is of a type that is not supported; take RSA with alg RS256, EC with crv "
                  "P-256, or OKP with crv Ed25519, and remove this one");
    }
    const auto said = text("alg");
    if (!said && members_.contains("alg")) return fail(Errc::malformed, "its 'alg' is not a text");
    if (!said && pinned) return *pinned;
    if (!said) {
      return fail(Errc::invalid_argument,
                  "is an RSA key without 'alg', which could be used with several algorithms; add \"alg\": \"RS256\"");
    }
    const JwtAlgorithm fitting = pinned.value_or(JwtAlgorithm::rs256);
    // RFC 9864 names EdDSA on that curve so.
    if (*said == to_string(fitting) || (fitting == JwtAlgorithm::eddsa && *said == "Ed25519")) return fitting;
    return fail(Errc::invalid_argument, "its 'alg' is not " + std::string(to_string(fitting)) +
                                            ", the one that is taken with a key of its type; remove it or mend it");
  }

  Result<JwkNumbers> numbers(JwtAlgorithm algorithm) const {
    JwkNumbers found;
    const auto read = [&](std::string_view name, std::string& into) -> Result<void> {
      auto value = number(name);
      if (!value) return value.error();
      into = std::move(*value);
      return {};
    };
    Result<void> done = {};
    if (algorithm == JwtAlgorithm::rs256) {
      if (done = read("n", found.n); done) done = read("e", found.e);
    } else {
      done = read("x", found.x);
      if (done && algorithm == JwtAlgorithm::es256) done = read("y", found.y);
    }
    if (!done) return done.error();
    return found;
  }

  const std::string& label() const noexcept { return label_; }
  Error fail(Errc code, const std::string& what) const { return make_error(code, label_ + ": " + what); }

 private:
  const json::object& members_;
  std::string label_;
};

}  // namespace

Result<std::shared_ptr<EVP_PKEY>> public_key(JwtAlgorithm algorithm, const JwkNumbers& numbers) {
  std::shared_ptr<EVP_PKEY> key;
  switch (algorithm) {
    case JwtAlgorithm::rs256: key = rsa_key(numbers); break;
    case JwtAlgorithm::es256: key = p256_key(numbers); break;
    case JwtAlgorithm::eddsa: key = ed25519_key(numbers); break;
  }
  if (key) return key;
  ERR_clear_error();
  return make_error(Errc::malformed, "its numbers make no key of " + std::string(to_string(algorithm)));
}

Result<void> Keys::add_jwks(std::string_view text, const std::string& file) {
  json::error_code ec;
  const json::value document = json::parse(text, ec);
  const json::value* list = !ec && document.is_object() ? document.get_object().if_contains("keys") : nullptr;
  if (list == nullptr || !list->is_array()) {
    return make_error(Errc::malformed, file + ": is not a JSON Web Key Set" + (ec ? ": " + ec.message() : "") +
                                           "; it must be {\"keys\": [...]} (RFC 7517 section 5)");
  }
  std::size_t number = 0;
  std::size_t taken = 0;
  for (const json::value& one : list->get_array()) {
    const std::string label = file + ": key " + std::to_string(++number);
    if (!one.is_object()) return make_error(Errc::malformed, label + ": is not a JSON object");
    const json::value* kid = one.get_object().if_contains("kid");
    if (kid != nullptr &&
        (!kid->is_string() || kid->get_string().empty() || kid->get_string().size() > k_id_bytes_max)) {
      return make_error(Errc::malformed, label + ": its 'kid' is not a text of 1 to 256 bytes");
    }
    std::string id = kid != nullptr ? std::string(kid->get_string()) : std::string();
    const Jwk jwk(one.get_object(), id.empty() ? label : label + " (kid '" + id + "')");
    if (jwk.is_for_something_else()) continue;
    const auto algorithm = jwk.algorithm();
    if (!algorithm) return algorithm.error();
    const auto numbers = jwk.numbers(*algorithm);
    if (!numbers) return numbers.error();
    auto key = public_key(*algorithm, *numbers);
    if (!key) return jwk.fail(Errc::malformed, key.error().detail);
    if (auto added = add(jwk.label(), std::move(id), *algorithm, std::move(*key)); !added) return added;
    ++taken;
  }
  if (taken > 0) return {};
  return make_error(Errc::invalid_argument, file + ": holds no key for signatures; add one, or take jwks_file out");
}

}  // namespace fieldgate::jwt
