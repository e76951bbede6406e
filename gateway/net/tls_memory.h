// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fieldgate {

// What OpenSSL takes and gives back for every record: with SSL_MODE_RELEASE_BUFFERS,
// which is what keeps an idle connection small, the record's buffer of 17 KB, and the
// 40 bytes with which it writes headers, once or twice. On a thread that has a
// TlsMemoryKeeper these are kept for the next record, so that a record costs no
// allocation.
// Bounds: one buffer and four of the small blocks for each such thread.

// Has OpenSSL ask here for its memory. Once, before OpenSSL is used at all; false: it
// was used before, and goes on as it was.
bool serve_tls_memory() noexcept;

// While it lives, its thread keeps those blocks. One on each thread at most.
class TlsMemoryKeeper {
 public:
  TlsMemoryKeeper() noexcept;
  ~TlsMemoryKeeper();
  TlsMemoryKeeper(const TlsMemoryKeeper&) = delete;
  TlsMemoryKeeper& operator=(const TlsMemoryKeeper&) = delete;
};

}  // namespace fieldgate
