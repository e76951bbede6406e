// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_revocation.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

namespace fieldgate::tls {
namespace {

constexpr std::string_view k_setting = "crl_file";

std::string issuer_of(const X509_CRL* list) {
  std::array<char, 256> text{};
  X509_NAME_oneline(X509_CRL_get_issuer(list), text.data(), static_cast<int>(text.size()));
  return text.data();
}

// What is wrong with the list's signature; empty: nothing that can be known from here.
std::string signature_problem(X509_CRL* list, const Certificates& authorities) {
  bool named = false;
  for (const auto& authority : authorities) {
    if (X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(authority.get())) != 0) continue;
    named = true;
    if (X509_CRL_verify(list, X509_get0_pubkey(authority.get())) != 1) continue;
    if ((X509_get_key_usage(authority.get()) & X509v3_KU_CRL_SIGN) != 0) return {};
    return "is signed by an authority whose certificate does not allow it to (no cRLSign in its key usage); have the "
           "authority's certificate renewed with it";
  }
  ERR_clear_error();
  // Else it may be an intermediate's, whose certificate the devices bring along.
  return named ? "is not signed by the authority of client_ca_file that it names; get it again from where the "
                 "authority publishes it"
               : std::string();
}

std::string problem(X509_CRL* list, const Certificates& authorities) {
  const std::int64_t now = std::time(nullptr);
  if (X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) >= 0) {
    return "is a delta, which says only what has changed; take the complete list";
  }
  if (const std::int64_t since = unix_seconds(X509_CRL_get0_lastUpdate(list)); since > now) {
    return "is valid only from " + utc(since) + "; check this machine's clock";
  }
  const ASN1_TIME* next = X509_CRL_get0_nextUpdate(list);
  if (next != nullptr && unix_seconds(next) < now) {
    return "is out of date since " + utc(unix_seconds(next)) + "; get the newest from the authority";
  }
  return signature_problem(list, authorities);
}

// X509_STORE_CTX_verify_cb: what OpenSSL would refuse, and we let pass.
int judge(int good, X509_STORE_CTX* check) {
  if (good == 1) return 1;
  const int error = X509_STORE_CTX_get_error(check);
  const bool no_list_for_an_intermediate =
      error == X509_V_ERR_UNABLE_TO_GET_CRL && X509_STORE_CTX_get_error_depth(check) > 0;
  if (!no_list_for_an_intermediate && error != X509_V_ERR_CRL_HAS_EXPIRED) return 0;
  X509_STORE_CTX_set_error(check, X509_V_OK);
  return 1;
}

}  // namespace

Result<RevocationLists> RevocationLists::read(const std::string& crl_file, const Certificates& authorities) {
  RevocationLists found;
  if (crl_file.empty()) return found;
  const auto text = read_file(k_setting, crl_file, k_file_bytes_max);
  if (!text) return text.error();
  const Owned<BIO> bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  while (Owned<X509_CRL> next{PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)}) {
    found.lists_.push_back(std::move(next));
  }
  const unsigned long end = ERR_peek_last_error();
  const bool clean = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  const std::size_t count = found.lists_.size();
  if (!clean) {
    return file_error(Errc::malformed, k_setting, crl_file,
                      "list " + std::to_string(count + 1) + " cannot be read: " + reason);
  }
  if (count == 0) {
    return file_error(Errc::malformed, k_setting, crl_file,
                      "holds no list; it must be PEM, with a BEGIN X509 CRL line (openssl crl -inform DER -in FILE "
                      "turns DER into it)");
  }
  for (std::size_t i = 0; i < count; ++i) {
    X509_CRL* list = found.lists_[i].get();
    if (const std::string what = problem(list, authorities); !what.empty()) {
      return file_error(Errc::invalid_argument, k_setting, crl_file,
                        "list " + std::to_string(i + 1) + ", of " + issuer_of(list) + ", " + what);
    }
    const ASN1_TIME* next = X509_CRL_get0_nextUpdate(list);
    const std::int64_t until = next != nullptr ? unix_seconds(next) : 0;
    if (until != 0 && (found.next_update_unix_ == 0 || until < found.next_update_unix_)) {
      found.next_update_unix_ = until;
    }
  }
  return found;
}

Result<void> RevocationLists::install(X509_STORE* store) const {
  if (lists_.empty()) return {};
  for (const auto& list : lists_) {
    if (X509_STORE_add_crl(store, list.get()) != 1) {
      return make_error(Errc::internal, "crl_file cannot be used: " + openssl_reason());
    }
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  X509_STORE_set_verify_cb(store, judge);
  return {};
}

}  // namespace fieldgate::tls
