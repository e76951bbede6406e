// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/net/tls_context.h"
#include "gateway/ports/authenticator.h"

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace fieldgate {

enum class TlsStatus : std::uint8_t {
  want_more,    // all input taken; nothing more to do until there is more
  established,  // handshake() only: done. What is left of the input: TlsIo::unread()
  stopped,      // feed() only: the sink said stop. The rest of the input is discarded
  closed,       // close_notify received: the peer ended its side cleanly
  truncated,    // eof() only: the TCP stream ended without close_notify
  failed,       // TlsIo::failure() says why; only out() is still of use (an alert)
};

struct TlsFailure {
  std::string text;          // for the log
  bool certificate = false;  // the client's certificate is the cause: missing, expired, not trusted
};

// What all TLS channels of a shard share: the BIO between OpenSSL and the
// buffers, and the buffers. So an idle channel holds none.
// Shard:  one; one channel operation at a time.
// Bounds: out() grows with what the operations since the last take produce.
// Lifetime: outlives the channels made on it.
class TlsIo {
 public:
  TlsIo();
  ~TlsIo();
  TlsIo(const TlsIo&) = delete;
  TlsIo& operator=(const TlsIo&) = delete;

  // Ciphertext to be written to the socket of the channel that was used last:
  // every operation appends. Take it (and clear it, keeping the capacity) before
  // another channel is used.
  std::string& out() noexcept { return out_; }

  // What the last operation has not consumed; views the span it was given.
  std::span<const std::byte> unread() const noexcept { return in_; }

  // Of the operation that returned TlsStatus::failed.
  const TlsFailure& failure() const noexcept { return failure_; }

 private:
  friend class TlsChannel;
  friend struct TlsBio;

  BIO* bio_;
  std::span<const std::byte> in_;
  bool starved_ = false;              // the last BIO read found nothing
  std::uint32_t post_handshake_ = 0;  // post-handshake messages in this feed
  const void* busy_ = nullptr;        // the SSL inside feed(), against mixing channels
  std::string out_;
  TlsFailure failure_;
  std::unique_ptr<std::byte[]> plaintext_;
};

// What a handshake has shown of the peer.
struct TlsPeer {
  const char* version = "";  // "TLSv1.3"
  const char* cipher = "";   // "TLS_AES_128_GCM_SHA256"
  bool resumed = false;
  PeerCredentials credentials;                  // without a token
  std::int64_t certificate_not_after_unix = 0;  // where there is one
};

// The server side of one TLS connection: bytes in, bytes out, no socket. A
// partial record stays inside OpenSSL; otherwise nothing is held while idle but
// the SSL object. Move-only.
// Shard:  the shard of the TlsIo it was made on, which every call is given.
// Errors: after failed or truncated, only destroy it.
class TlsChannel {
 public:
  TlsChannel() noexcept = default;
  // Throws std::bad_alloc.
  TlsChannel(const TlsContext& context, TlsIo& io);
  TlsChannel(TlsChannel&& other) noexcept : ssl_(std::exchange(other.ssl_, nullptr)) {}
  TlsChannel& operator=(TlsChannel&& other) noexcept {
    std::swap(ssl_, other.ssl_);
    return *this;
  }
  ~TlsChannel();

  explicit operator bool() const noexcept { return ssl_ != nullptr; }
  SSL* native() const noexcept { return ssl_; }
  // Whether it was made with `context` and no other.
  bool began_with(const TlsContext& context) const noexcept;

  // Goes as far as `ciphertext` allows: want_more, established or failed.
  // After established, pass io.unread() to feed(), even if it is empty: OpenSSL may have
  // read the first data with the handshake's end.
  TlsStatus handshake(TlsIo& io, std::span<const std::byte> ciphertext);

  // Decrypts `ciphertext`. `sink` is called with each stretch of plaintext, as
  // bool(std::span<std::byte>), valid and writable during the call; false stops.
  // The sink may call write() and start_close() on this channel, no other, and
  // must not destroy it. Returns want_more, stopped, closed or failed.
  // Precondition: established.
  template <class Sink>
  TlsStatus feed(TlsIo& io, std::span<const std::byte> ciphertext, Sink&& sink) {
    using Plain = std::remove_reference_t<Sink>;
    return feed(io, ciphertext, const_cast<std::remove_const_t<Plain>*>(std::addressof(sink)),
                [](void* s, std::span<std::byte> bytes) -> bool { return (*static_cast<Plain*>(s))(bytes); });
  }

  // Encrypts `plaintext` as one record for each 16 KiB. False once close_notify
  // has been sent, or on failure.
  bool write(TlsIo& io, std::span<const std::byte> plaintext);

  // Sends close_notify; reading goes on until the peer's. Repeats are no-ops.
  void start_close(TlsIo& io);

  // The TCP stream has ended: closed if close_notify came before, else truncated.
  TlsStatus eof() const noexcept;

  // Who and how; without credentials after settle(). Precondition: established.
  // Errors: Errc::malformed: the certificate has a name that cannot be taken at
  // face value (an embedded NUL or control character, not ASCII where it must
  // be, two common names, too long).
  Result<TlsPeer> peer() const;

  // Gives up what OpenSSL keeps of the handshake: the keys of the exchange and the client's
  // list of suites, 0.7 KB; and the peer's certificates, once their names have been read:
  // 2.4 KB for the leaf and 4 KB for each that was sent along. Their DER form stays, for
  // still_trusted(). Repeats are no-ops. Precondition: established.
  void settle();

 private:
  using Deliver = bool (*)(void* sink, std::span<std::byte> bytes);
  TlsStatus feed(TlsIo& io, std::span<const std::byte> ciphertext, void* sink, Deliver deliver);
  TlsStatus stalled(TlsIo& io) const;
  bool settled() const;

  SSL* ssl_ = nullptr;
};

}  // namespace fieldgate
