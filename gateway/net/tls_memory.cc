// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>

#include <array>
#include <cstddef>
#include <cstdlib>

namespace fieldgate {
namespace {

// Requests of `from` to `bytes` get a block of `bytes`, or a spare one.
struct Kind {
  std::size_t from;
  std::size_t bytes;
};
constexpr Kind k_header{33, 40};
// 16 KiB of plaintext, and what the protocol's versions put around it.
constexpr Kind k_record{16'384, 17'400};
// malloc() may round up by this much.
constexpr std::size_t k_rounding = 24;

// Blocks of one kind.
template <std::size_t most>
class Spare {
 public:
  void* take(std::size_t bytes) noexcept { return count_ > 0 ? blocks_[--count_] : std::malloc(bytes); }
  bool keep(void* block) noexcept {
    if (count_ == most) return false;
    blocks_[count_++] = block;
    return true;
  }
  void free_all() noexcept {
    while (count_ > 0) std::free(blocks_[--count_]);
  }

 private:
  std::array<void*, most> blocks_{};
  std::size_t count_ = 0;
};

struct Spares {
  bool kept = false;
  Spare<4> headers;  // a record that is written nests them
  Spare<1> records;
};
constinit thread_local Spares t_spares;

bool asks_for(Kind kind, std::size_t bytes) noexcept { return bytes >= kind.from && bytes <= kind.bytes; }
bool is_one(Kind kind, std::size_t usable) noexcept {
  return usable >= kind.bytes && usable <= kind.bytes + k_rounding;
}

void* allocate(std::size_t bytes, const char*, int) noexcept {
  Spares& spares = t_spares;
  if (spares.kept) {
    if (asks_for(k_header, bytes)) return spares.headers.take(k_header.bytes);
    if (asks_for(k_record, bytes)) return spares.records.take(k_record.bytes);
  }
  return std::malloc(bytes);
}

void* reallocate(void* block, std::size_t bytes, const char*, int) noexcept { return std::realloc(block, bytes); }

// Whoever allocated it: a block is a spare by its size alone.
void give_back(void* block, const char*, int) noexcept {
  Spares& spares = t_spares;
  if (spares.kept && block != nullptr) {
    const std::size_t usable = ::malloc_usable_size(block);
    if (is_one(k_header, usable) && spares.headers.keep(block)) return;
    if (is_one(k_record, usable) && spares.records.keep(block)) return;
  }
  std::free(block);
}

}  // namespace

bool serve_tls_memory() noexcept { return CRYPTO_set_mem_functions(allocate, reallocate, give_back) == 1; }

TlsMemoryKeeper::TlsMemoryKeeper() noexcept { t_spares.kept = true; }

TlsMemoryKeeper::~TlsMemoryKeeper() {
  Spares& spares = t_spares;
  spares.kept = false;
  spares.headers.free_all();
  spares.records.free_all();
}

}  // namespace fieldgate
