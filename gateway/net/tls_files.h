// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The PEM files of a listener, read with errors that name the setting and the file, and
// say what to do.
namespace fieldgate::tls {

struct Free {
  void operator()(BIO* p) const noexcept { BIO_free(p); }
  void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
  void operator()(X509* p) const noexcept { X509_free(p); }
  void operator()(X509_CRL* p) const noexcept { X509_CRL_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;
using Certificates = std::vector<Owned<X509>>;

// The newest reason in OpenSSL's queue, which is empty afterwards.
std::string openssl_reason();

Error file_error(Errc code, std::string_view setting, const std::string& file, const std::string& what);

// Errors: Errc::invalid_argument: no file is named; Errc::not_found; Errc::malformed: it
// has more than `bytes_max`.
Result<std::string> read_file(std::string_view setting, const std::string& file, std::size_t bytes_max);
// All there are, at least one. Errors: as read_file(), Errc::malformed.
Result<Certificates> read_certificates(std::string_view setting, const std::string& file);
// The key_file. Errors: as read_file(), Errc::malformed.
Result<Owned<EVP_PKEY>> read_key(const std::string& file);

std::int64_t unix_seconds(const ASN1_TIME* time);
// RFC 3339, in whole seconds.
std::string utc(std::int64_t unix_time);

}  // namespace fieldgate::tls
