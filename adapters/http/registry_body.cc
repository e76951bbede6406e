// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/registry_body.h"

#include "adapters/http/parameters.h"
#include "adapters/http/text.h"
#include "adapters/jwt/base64url.h"
#include "gateway/core/hex.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

namespace fieldgate::http {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::size_t k_pem_bytes_max = 32'768;
constexpr std::size_t k_token_bytes = 32;

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* p) const { Free(p); }
};
void free_bio(BIO* bio) { BIO_free(bio); }
using BioPtr = std::unique_ptr<BIO, Freed<BIO, free_bio>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509, X509_free>>;

bool is_sha256_hex(std::string_view text) {
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == 64 && std::all_of(text.begin(), text.end(), digit);
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return to_hex(digest);
}

// Of the first certificate in a PEM text; empty: there is none.
std::string certificate_sha256(const std::string& pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const X509Ptr certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size) != 1) return {};
  return to_hex(digest);
}

// 256 random bits as 43 characters.
std::string make_token() {
  std::array<unsigned char, k_token_bytes> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) throw std::runtime_error("no random bytes");
  return jwt::to_base64url({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

bool check_label(std::string_view key, const std::string& pointer, BodyFaults& faults) {
  if (!key.empty() && key.size() <= k_label_key_bytes_max && is_plain_text(key)) return true;
  faults.push_back({pointer, "a label's key has 1 to " + std::to_string(k_label_key_bytes_max) +
                                 " bytes and no control characters"});
  return false;
}

// Calls `use` with each label that is as it should be; null is given as nullopt, where it may be.
template <class Use>
void for_each_label(const json::value& labels, bool null_may_be, const std::string& pointer, BodyFaults& faults,
                    Use use) {
  if (!labels.is_object()) {
    faults.push_back({pointer, "want an object of strings"});
    return;
  }
  for (const auto& [key, value] : labels.get_object()) {
    const std::string at = pointer + pointer_step(std::string_view(key).substr(0, k_label_key_bytes_max));
    if (!check_label(key, at, faults)) continue;
    if (null_may_be && value.is_null()) {
      use(std::string(std::string_view(key)), std::nullopt);
      continue;
    }
    const bool good = value.is_string() && value.get_string().size() <= k_label_value_bytes_max &&
                      is_plain_text(std::string_view(value.get_string()));
    if (!good) {
      faults.push_back({at, "want a string of at most " + std::to_string(k_label_value_bytes_max) +
                                " bytes without control characters" + (null_may_be ? ", or null" : "")});
      continue;
    }
    use(std::string(std::string_view(key)), std::optional<std::string>(std::string_view(value.get_string())));
  }
}

void read_labels(const json::value& value, const std::string& pointer, BodyFaults& faults, DevicePatch& out) {
  Labels labels;
  for_each_label(value, false, pointer, faults, [&](std::string key, std::optional<std::string> text) {
    labels.emplace_back(std::move(key), std::move(*text));
  });
  std::sort(labels.begin(), labels.end());
  out.labels = std::move(labels);
}

CredentialKind read_kind(Members& members) {
  members.fault_if_missing("kind", "token or certificate");
  const auto kind = members.text("kind", 1, 32);
  if (kind && *kind != "token" && *kind != "certificate") members.fault("kind", "want token or certificate");
  return kind == "certificate" ? CredentialKind::certificate : CredentialKind::token;
}

std::string read_sha256(Members& members) {
  auto text = members.text("sha256", 1, 256);
  if (!text) return {};
  std::string hex_text = to_lower(*text);
  if (is_sha256_hex(hex_text)) return hex_text;
  members.fault("sha256", "want the 64 hexadecimal digits of a SHA-256");
  return {};
}

std::int64_t read_expiry(Members& members, std::int64_t now_unix_ms) {
  const auto in = members.duration("expires_in", milliseconds(1'000), 10 * k_duration_max);
  const auto at = members.time("expires");
  if (in && at) members.fault("expires", "not beside expires_in");
  if (at && *at <= now_unix_ms) members.fault("expires", "is over already");
  if (in) return now_unix_ms + in->count();
  return at.value_or(0);
}

void read_proof(Members& members, CredentialRequest& out) {
  NewCredential& credential = out.credential;
  credential.sha256 = read_sha256(members);
  const json::value* pem = members.take("certificate_pem");
  if (credential.kind == CredentialKind::token) {
    if (pem != nullptr) members.fault("certificate_pem", "a token has none");
    return;
  }
  if (pem == nullptr) return members.fault_if_missing("sha256", "the certificate's, or certificate_pem");
  if (!credential.sha256.empty()) return members.fault("certificate_pem", "not beside sha256");
  if (!pem->is_string() || pem->get_string().size() > k_pem_bytes_max) {
    return members.fault("certificate_pem", "want a certificate in PEM, of at most 32768 bytes");
  }
  credential.sha256 = certificate_sha256(std::string(std::string_view(pem->get_string())));
  if (credential.sha256.empty()) members.fault("certificate_pem", "no certificate in PEM could be read from it");
}

}  // namespace

DevicePatch read_entry(Members& members, BodyFaults& faults, const std::string& pointer) {
  DevicePatch out;
  out.enabled = members.flag("enabled");
  out.note = members.text("note", 0, k_note_bytes_max);
  if (const json::value* labels = members.take("labels")) read_labels(*labels, pointer + "/labels", faults, out);
  return out;
}

DevicePatch read_entry_patch(const json::object& body, BodyFaults& faults) {
  const auto is_null = [&body](const char* name) {
    const json::value* value = body.if_contains(name);
    return value != nullptr && value->is_null();
  };
  DevicePatch out;
  Members members(body, faults);
  if (is_null("enabled")) {
    members.take("enabled");
    out.enabled = true;
  } else {
    out.enabled = members.flag("enabled");
  }
  if (is_null("note")) {
    members.take("note");
    out.note = std::string();
  } else {
    out.note = members.text("note", 0, k_note_bytes_max);
  }
  if (const json::value* labels = members.take("labels")) {
    if (labels->is_null()) {
      out.labels = Labels{};
    } else {
      for_each_label(*labels, true, "/labels", faults, [&out](std::string key, std::optional<std::string> value) {
        out.label_changes.emplace_back(std::move(key), std::move(value));
      });
    }
  }
  members.finish();
  return out;
}

CredentialRequest read_credential(const json::object& body, std::int64_t now_unix_ms, BodyFaults& faults) {
  CredentialRequest out;
  Members members(body, faults);
  out.credential.kind = read_kind(members);
  read_proof(members, out);
  out.credential.expires_unix_ms = read_expiry(members, now_unix_ms);
  out.credential.note = members.text("note", 0, k_note_bytes_max).value_or(std::string());
  if (const auto in = members.duration("retire_others_in", milliseconds(0), k_duration_max)) {
    out.credential.others_expire_unix_ms = now_unix_ms + in->count();
  }
  members.finish();
  if (faults.empty() && out.credential.sha256.empty()) {
    out.token = make_token();
    out.credential.sha256 = sha256_hex(out.token);
  }
  return out;
}

ImportLine read_import_line(const json::object& line, BodyFaults& faults) {
  ImportLine out;
  Members members(line, faults);
  members.fault_if_missing("id", "the device's");
  if (auto id = members.text("id", 1, 256)) {
    if (is_valid_name(*id)) {
      out.id = std::move(*id);
    } else {
      members.fault("id", "want letters, digits, '.', '_', ':' and '-', at most 128, the first a letter or a digit");
    }
  }
  out.patch = read_entry(members, faults);
  if (const json::value* credentials = members.take("credentials")) {
    if (!credentials->is_array() || credentials->get_array().size() > k_credentials_per_device_max) {
      members.fault("credentials", "want an array of at most " + std::to_string(k_credentials_per_device_max));
    } else {
      for (std::size_t i = 0; i < credentials->get_array().size(); ++i) {
        const std::string at = "/credentials/" + std::to_string(i);
        const json::value& one = credentials->get_array()[i];
        if (!one.is_object()) {
          faults.push_back({at, "want an object"});
          continue;
        }
        Members parts(one.get_object(), faults, at);
        NewCredential credential;
        credential.kind = read_kind(parts);
        parts.fault_if_missing("sha256", "of the token, or of the certificate");
        credential.sha256 = read_sha256(parts);
        credential.expires_unix_ms = parts.time("expires").value_or(0);
        credential.note = parts.text("note", 0, k_note_bytes_max).value_or(std::string());
        parts.finish();
        out.credentials.push_back(std::move(credential));
      }
    }
  }
  members.finish();
  return out;
}

}  // namespace fieldgate::http
