// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/mutex.h"
#include "gateway/core/settings.h"

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <memory>

namespace fieldgate {

// SHA-256 over the client CA certificates and their revocation lists (in any order), and
// whether a client certificate is required: who gets in.
using TrustFingerprint = std::array<unsigned char, 32>;

// What session tickets are sealed with, and the trust they vouch for: OpenSSL
// resumes a ticket without looking at the client's certificate again.
struct TicketKeys {
  std::array<unsigned char, 80> bytes{};
  TrustFingerprint trust{};
};

// The TLS side of the device listener: TLS 1.2 and 1.3, AEAD suites with forward
// secrecy, AES-128-GCM preferred, no renegotiation, no compression, no early
// data; stateless tickets if resumption is on, never a session cache.
// Thread: immutable; any.
class TlsContext {
 public:
  // Reads and checks the files named in `settings`. Ticket keys are taken over
  // from `carry_over` (nullptr: none) if they stand for the same trust, so that
  // tickets survive a new leaf certificate but not a changed CA or revocation list.
  // Errors: the detail names the file and what to do. Errc::not_found: cannot be
  // read; Errc::malformed: not PEM, or encrypted; Errc::invalid_argument: the
  // certificate has expired, or files do not fit together.
  static Result<std::shared_ptr<const TlsContext>> load(const DeviceTlsSettings& settings,
                                                        const TicketKeys* carry_over);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  SSL_CTX* native() const noexcept { return ctx_; }
  const TicketKeys& ticket_keys() const noexcept { return keys_; }
  const TrustFingerprint& trust() const noexcept { return keys_.trust; }
  // End of the leaf certificate's validity, unix seconds.
  std::int64_t not_after_unix() const noexcept { return not_after_unix_; }
  // When the first of the revocation lists is due to be replaced, unix seconds; 0: there
  // is none, or it does not say. They go on being used after that.
  std::int64_t crl_next_update_unix() const noexcept { return crl_next_update_unix_; }

 private:
  explicit TlsContext(SSL_CTX* ctx) noexcept : ctx_(ctx) {}

  SSL_CTX* ctx_;
  TicketKeys keys_;
  std::int64_t not_after_unix_ = 0;
  std::int64_t crl_next_update_unix_ = 0;
};

// Whether `context` would let in the peer of the live connection `ssl`, judged
// by the certificates it showed. Where the peer resumed, intermediates it once
// sent are not at hand: a certificate that needs them is then not trusted.
// Cost: one chain verification. Thread: the shard of `ssl`.
bool still_trusted(SSL* ssl, const TlsContext& context);

// The context that new connections get. A connection keeps the one it began with.
// Thread: any.
class TlsContextHolder {
 public:
  explicit TlsContextHolder(std::shared_ptr<const TlsContext> first) noexcept : current_(std::move(first)) {}

  std::shared_ptr<const TlsContext> current() const EXCLUDES(mutex_);

  // Loads `settings` and makes that current. True if the trust has changed: then
  // live connections are to be held against it (still_trusted).
  // Errors: as TlsContext::load; the current context stays.
  // Precondition: one rotate at a time.
  Result<bool> rotate(const DeviceTlsSettings& settings) EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const TlsContext> current_ GUARDED_BY(mutex_);
};

}  // namespace fieldgate
