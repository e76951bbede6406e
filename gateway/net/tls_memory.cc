// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>

#include <cstddef>
#include <cstdlib>
#include <utility>

namespace fieldgate {
namespace {

// Requests of `from` to `bytes` get a block of `bytes`, or the spare one.
struct Kind {
  std::size_t from;
  std::size_t bytes;
};
constexpr Kind k_header{33, 40};
// 16 KiB of plaintext, and what the protocol's versions put around it.
constexpr Kind k_record{16'384, 17'400};
// malloc() may round up by this much.
constexpr std::size_t k_rounding = 24;

struct Spares {
  bool kept = false;
  void* header = nullptr;
  void* record = nullptr;
};
constinit thread_local Spares t_spares;

bool asks_for(Kind kind, std::size_t bytes) noexcept { return bytes >= kind.from && bytes <= kind.bytes; }
bool is_one(Kind kind, std::size_t usable) noexcept {
  return usable >= kind.bytes && usable <= kind.bytes + k_rounding;
}

void* take(void*& spare, Kind kind) noexcept {
  return spare != nullptr ? std::exchange(spare, nullptr) : std::malloc(kind.bytes);
}

void* allocate(std::size_t bytes, const char*, int) noexcept {
  Spares& spares = t_spares;
  if (spares.kept) {
    if (asks_for(k_header, bytes)) return take(spares.header, k_header);
    if (asks_for(k_record, bytes)) return take(spares.record, k_record);
  }
  return std::malloc(bytes);
}

void* reallocate(void* block, std::size_t bytes, const char*, int) noexcept { return std::realloc(block, bytes); }

// Whoever allocated it: a block is a spare by its size alone.
void give_back(void* block, const char*, int) noexcept {
  Spares& spares = t_spares;
  if (spares.kept && block != nullptr) {
    const std::size_t usable = ::malloc_usable_size(block);
    if (spares.header == nullptr && is_one(k_header, usable)) {
      spares.header = block;
      return;
    }
    if (spares.record == nullptr && is_one(k_record, usable)) {
      spares.record = block;
      return;
    }
  }
  std::free(block);
}

}  // namespace

bool serve_tls_memory() noexcept { return CRYPTO_set_mem_functions(allocate, reallocate, give_back) == 1; }

TlsMemoryKeeper::TlsMemoryKeeper() noexcept { t_spares.kept = true; }

TlsMemoryKeeper::~TlsMemoryKeeper() {
  Spares& spares = t_spares;
  spares.kept = false;
  std::free(std::exchange(spares.header, nullptr));
  std::free(std::exchange(spares.record, nullptr));
}

}  // namespace fieldgate
