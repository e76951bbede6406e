// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_channel.h"
#include "gateway/net/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>

// What the names in a client certificate say, taken strictly: a name that two
// readers could read differently is an error, never a shortened name.
namespace fieldgate {
namespace {

constexpr std::size_t k_name_bytes_limit = 512;
constexpr int k_names_max = 64;
constexpr std::size_t k_subject_bytes_max = 256;

Error bad_name(const char* what) { return make_error(Errc::malformed, std::string("client certificate: ") + what); }

// RFC 3986: printable ASCII without the space.
bool is_uri(std::string_view text) noexcept {
  return !text.empty() && text.size() <= k_name_bytes_limit &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; });
}

Result<std::vector<std::string>> san_uris(const X509* certificate) {
  int critical = 0;
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr)),
      GENERAL_NAMES_free);
  std::vector<std::string> uris;
  if (!names) {
    ERR_clear_error();
    if (critical == -1) return uris;  // there is none
    return bad_name("subject alternative names that cannot be read, or more than one list of them");
  }
  if (sk_GENERAL_NAME_num(names.get()) > k_names_max) return bad_name("too many subject alternative names");
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    std::string uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                    static_cast<std::size_t>(ASN1_STRING_length(text)));
    if (!is_uri(uri)) return bad_name("a URI among its names is empty, too long or not printable ASCII");
    uris.push_back(std::move(uri));
  }
  return uris;
}

Result<std::string> common_name(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return std::string();
  if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return bad_name("more than one common name");
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) {
    ERR_clear_error();
    return bad_name("a common name that cannot be read");
  }
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  const bool plain =
      std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
  if (!plain || text.size() > k_name_bytes_limit) return bad_name("a common name with control characters, or too long");
  return text;
}

// As RFC 2253 writes it, in ASCII; cut where it is too long. For people.
std::string subject_text(const X509* certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) {
    ERR_clear_error();
    return {};
  }
  const char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, std::min(static_cast<std::size_t>(size), k_subject_bytes_max)};
}

}  // namespace

Result<TlsPeer> TlsChannel::peer() const {
  TlsPeer peer;
  peer.version = SSL_get_version(ssl_);
  peer.cipher = SSL_get_cipher_name(ssl_);
  peer.resumed = SSL_session_reused(ssl_) == 1;
  const X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr || SSL_get_verify_result(ssl_) != X509_V_OK || settled()) return peer;

  auto uris = san_uris(certificate);
  if (!uris) return uris.error();
  auto name = common_name(certificate);
  if (!name) return name.error();
  peer.credentials.has_certificate = true;
  peer.credentials.san_uris = std::move(*uris);
  peer.credentials.common_name = std::move(*name);
  peer.credentials.subject = subject_text(certificate);
  peer.certificate_not_after_unix = tls::unix_seconds(X509_get0_notAfter(certificate));
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), peer.credentials.certificate_sha256.data(), &size) != 1) {
    ERR_clear_error();
    return bad_name("no SHA-256 of it can be had");
  }
  return peer;
}

}  // namespace fieldgate
