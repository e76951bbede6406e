// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/net/tls_files.h"

#include <openssl/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fieldgate::tls {

// Certificate revocation lists (RFC 5280 section 5) of those who sign device certificates.
//
// A device's certificate is taken only if there is a list of its issuer, which does not
// name it; an intermediate's certificate, if no list of its issuer names it. A list whose
// nextUpdate passes while it is in use goes on being used: better the revocations of
// yesterday than a fleet shut out; whoever watches next_update_unix() can say so.
class RevocationLists {
 public:
  static constexpr std::size_t k_file_bytes_max = 64 * 1'048'576;

  // The lists in `crl_file`, PEM; empty: none, and nothing is looked for.
  // Errors: Errc::not_found; Errc::malformed: not PEM, or empty; Errc::invalid_argument:
  // a list that is out of date, not valid yet, a delta, or not signed by that one of the
  // `authorities` that it names. The detail names file and list and says what to do.
  static Result<RevocationLists> read(const std::string& crl_file, const Certificates& authorities);

  const std::vector<Owned<X509_CRL>>& lists() const noexcept { return lists_; }
  // The earliest nextUpdate of all, unix seconds; 0: there is none.
  std::int64_t next_update_unix() const noexcept { return next_update_unix_; }

  // Makes `store` look into the lists, for handshakes and whoever else verifies with it.
  // Errors: Errc::internal.
  Result<void> install(X509_STORE* store) const;

 private:
  std::vector<Owned<X509_CRL>> lists_;
  std::int64_t next_update_unix_ = 0;
};

}  // namespace fieldgate::tls
