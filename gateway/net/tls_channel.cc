// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_channel.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace fieldgate {
namespace {

// Plaintext of one record, at most (RFC 8446 section 5.1).
constexpr std::size_t k_record_bytes_max = 16'384;
// Key updates cost far more than the bytes they come in, and nothing above TLS
// sees them: this many state changes in one feed() are no device's need.
constexpr std::uint32_t k_post_handshake_max = 64;
// What OpenSSL may read ahead at once: a record or a few. So what it has taken before the
// above is looked at again is little.
constexpr std::size_t k_read_ahead_max = 1'024;
// OpenSSL reports an alert from the peer as this plus the alert's number.
constexpr int k_alert_reason_base = 1000;

}  // namespace

// The BIO under every SSL of a shard: reads from TlsIo::in_, appends to out_.
struct TlsBio {
  static TlsIo& io(BIO* bio) noexcept { return *static_cast<TlsIo*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* to, std::size_t size, std::size_t* done) noexcept {
    TlsIo& self = io(bio);
    BIO_clear_retry_flags(bio);
    *done = 0;
    if (self.post_handshake_ > k_post_handshake_max) return -1;  // an error for good: no retry flag
    if (self.in_.empty()) {
      self.starved_ = true;
      BIO_set_retry_read(bio);
      return -1;
    }
    *done = std::min({size, self.in_.size(), k_read_ahead_max});
    std::memcpy(to, self.in_.data(), *done);
    self.in_ = self.in_.subspan(*done);
    return 1;
  }

  static int write(BIO* bio, const char* from, std::size_t size, std::size_t* done) noexcept {
    BIO_clear_retry_flags(bio);
    *done = 0;
    try {
      io(bio).out_.append(from, size);
    } catch (const std::bad_alloc&) {
      return -1;  // must not pass through OpenSSL; this connection fails instead
    }
    *done = size;
    return 1;
  }

  static long control(BIO*, int command, long, void*) noexcept { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static int create(BIO* bio) noexcept {
    BIO_set_init(bio, 1);
    return 1;
  }

  static BIO_METHOD* make_method() {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fieldgate shard");
    if (method == nullptr || BIO_meth_set_read_ex(method, read) != 1 || BIO_meth_set_write_ex(method, write) != 1 ||
        BIO_meth_set_ctrl(method, control) != 1 || BIO_meth_set_create(method, create) != 1) {
      throw std::bad_alloc();
    }
    return method;
  }

  // Called for each handshake message, after the handshake too; never for data.
  static void count_handshake_messages(const SSL* ssl, int where, int) noexcept {
    if (where != SSL_CB_ACCEPT_LOOP) return;
    TlsIo& self = io(SSL_get_rbio(ssl));
    if (self.busy_ != nullptr) ++self.post_handshake_;
  }
};

TlsIo::TlsIo() : plaintext_(std::make_unique<std::byte[]>(k_record_bytes_max)) {
  static BIO_METHOD* const method = TlsBio::make_method();
  bio_ = BIO_new(method);
  if (bio_ == nullptr) throw std::bad_alloc();
  BIO_set_data(bio_, this);
}

TlsIo::~TlsIo() { BIO_free(bio_); }

TlsChannel::TlsChannel(const TlsContext& context, TlsIo& io) : ssl_(SSL_new(context.native())) {
  if (ssl_ == nullptr) throw std::bad_alloc();
  BIO_up_ref(io.bio_);
  SSL_set_bio(ssl_, io.bio_, io.bio_);
  SSL_set_accept_state(ssl_);
  SSL_set_info_callback(ssl_, TlsBio::count_handshake_messages);
}

TlsChannel::~TlsChannel() { SSL_free(ssl_); }

bool TlsChannel::began_with(const TlsContext& context) const noexcept {
  return SSL_get_SSL_CTX(ssl_) == context.native();
}

TlsStatus TlsChannel::handshake(TlsIo& io, std::span<const std::byte> ciphertext) {
  assert(io.busy_ == nullptr);
  io.in_ = ciphertext;
  io.starved_ = false;
  if (SSL_do_handshake(ssl_) == 1) return TlsStatus::established;
  return stalled(io);
}

TlsStatus TlsChannel::feed(TlsIo& io, std::span<const std::byte> ciphertext, void* sink, Deliver deliver) {
  assert(io.busy_ == nullptr && SSL_is_init_finished(ssl_));
  struct Busy {
    TlsIo& io;
    ~Busy() {  // also when the sink throws
      io.busy_ = nullptr;
      io.post_handshake_ = 0;
    }
  };
  const Busy busy{io};
  io.busy_ = ssl_;
  io.in_ = ciphertext;
  io.starved_ = false;
  std::size_t size = 0;
  while (SSL_read_ex(ssl_, io.plaintext_.get(), k_record_bytes_max, &size) == 1) {
    if (!deliver(sink, {io.plaintext_.get(), size})) {
      io.in_ = {};
      return TlsStatus::stopped;
    }
    // With nothing left, another read would only set up a buffer and give it back.
    if (io.in_.empty() && SSL_has_pending(ssl_) == 0) return TlsStatus::want_more;
  }
  return stalled(io);
}

// Why OpenSSL went no further. Its error queue is looked at only where it has
// failed, and is left empty: clearing it on every read would cost 838 instructions.
TlsStatus TlsChannel::stalled(TlsIo& io) const {
  if (SSL_want(ssl_) == SSL_READING && io.starved_) return TlsStatus::want_more;
  if ((SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0 && ERR_peek_error() == 0) return TlsStatus::closed;

  const unsigned long error = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  const long verified = SSL_get_verify_result(ssl_);
  const char* text = ERR_reason_error_string(error);
  io.failure_.certificate = verified != X509_V_OK || reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
                            reason == SSL_R_CERTIFICATE_VERIFY_FAILED;
  io.failure_.text = reason >= k_alert_reason_base ? "alert from the peer: " : "";
  if (io.post_handshake_ > k_post_handshake_max) {
    io.failure_.text += "too many post-handshake messages";
  } else {
    io.failure_.text += text != nullptr ? text : "unknown OpenSSL error";
  }
  if (verified != X509_V_OK) {
    io.failure_.text += ": ";
    io.failure_.text += X509_verify_cert_error_string(verified);
  }
  ERR_clear_error();
  return TlsStatus::failed;
}

bool TlsChannel::write(TlsIo& io, std::span<const std::byte> plaintext) {
  assert(io.busy_ == nullptr || io.busy_ == ssl_);
  if ((SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return false;
  if (plaintext.empty()) return true;
  std::size_t written = 0;
  if (SSL_write_ex(ssl_, plaintext.data(), plaintext.size(), &written) == 1) return true;
  stalled(io);  // notes the reason
  return false;
}

void TlsChannel::start_close(TlsIo& io) {
  assert(io.busy_ == nullptr || io.busy_ == ssl_);
  if (!SSL_is_init_finished(ssl_) || (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return;
  if (SSL_shutdown(ssl_) < 0) ERR_clear_error();
}

TlsStatus TlsChannel::eof() const noexcept {
  return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0 ? TlsStatus::closed : TlsStatus::truncated;
}

}  // namespace fieldgate
