// SPDX-License-Identifier: Apache-2.0
//
// What the gate promises of any bytes: the same answer whether they come at once
// or in parts and whatever follows them, and every refusal can be answered.
#include "gateway/net/upgrade.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using namespace fieldgate;

void require(bool promise) {
  if (!promise) std::abort();
}

UpgradeResult judge(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::string> origins = {"https://ui.example"};
  std::vector<std::byte> exact(size);  // exactly as large: a byte beyond is found
  if (size > 0) std::memcpy(exact.data(), data, size);
  return parse_upgrade(exact, origins);
}

void check_accepted(const UpgradeAccepted& accepted, const std::uint8_t* data, std::size_t size) {
  require(accepted.consumed <= std::min(size, k_upgrade_bytes_max));
  const std::string_view head(reinterpret_cast<const char*>(data), accepted.consumed);
  require(head.starts_with("GET /v1/connect HTTP/1.1\r\n"));
  require(head.find("\r\n\r\n") == head.size() - 4);
  require(accepted.key.size() == 24);
  require(accepted.token.size() <= k_bearer_token_bytes_max);
  require(std::ranges::none_of(accepted.token, [](char c) { return c <= ' ' || c > '~'; }));
  std::string response;
  append_upgrade_accepted(response, accepted.key);
  require(response.starts_with("HTTP/1.1 101 "));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const UpgradeResult whole = judge(data, size);
  for (const std::size_t part : {size / 3, size / 2, size - std::min<std::size_t>(size, 1)}) {
    const UpgradeResult early = judge(data, part);
    if (std::holds_alternative<UpgradeNeedMore>(early)) continue;
    require(early.index() == whole.index());
    if (const auto* refused = std::get_if<UpgradeRefused>(&early)) {
      require(refused->reason == std::get<UpgradeRefused>(whole).reason);
    }
  }
  if (const auto* accepted = std::get_if<UpgradeAccepted>(&whole)) {
    check_accepted(*accepted, data, size);
    require(std::holds_alternative<UpgradeNeedMore>(judge(data, accepted->consumed - 1)));
    require(std::holds_alternative<UpgradeAccepted>(judge(data, accepted->consumed)));
  } else if (const auto* refused = std::get_if<UpgradeRefused>(&whole)) {
    require(info(refused->reason).http_status != 0);
    std::string response;
    append_upgrade_refused(response, refused->reason);
    require(response.starts_with("HTTP/1.1 4"));
  } else {
    require(size < k_upgrade_bytes_max);
  }
  return 0;
}
