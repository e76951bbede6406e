// SPDX-License-Identifier: Apache-2.0
//
// What the parser promises of any bytes: the same verdict whether they come at once or in
// parts, and whatever follows them; it never asks for a byte that is the device's.
#include "gateway/net/proxy_protocol.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using namespace fieldgate::net;

void require(bool promise) {
  if (!promise) std::abort();
}

ProxyResult judge(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> exact(size);  // exactly as large: a byte beyond is found
  if (size > 0) std::memcpy(exact.data(), data, size);
  return parse_proxy_header(exact);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ProxyResult whole = judge(data, size);
  // As it is read from a socket: no more than was asked for.
  std::size_t have = 0;
  ProxyResult step = judge(data, have);
  while (const auto* more = std::get_if<ProxyNeedMore>(&step)) {
    require(more->total > have && more->total <= k_proxy_header_bytes + k_proxy_body_bytes_max);
    if (more->total > size) {
      step = judge(data, size);  // all there is
      break;
    }
    have = more->total;
    step = judge(data, have);
  }
  require(step.index() == whole.index());
  if (const auto* header = std::get_if<ProxyHeader>(&whole)) {
    require(header->size == have && header->size <= size);
    require(header->source == std::get<ProxyHeader>(step).source);
    require(std::holds_alternative<ProxyNeedMore>(judge(data, header->size - 1)));
  }
  for (const std::size_t part : {size / 3, size / 2}) {
    const ProxyResult early = judge(data, part);
    if (!std::holds_alternative<ProxyNeedMore>(early)) require(early.index() == whole.index());
  }
  return 0;
}
