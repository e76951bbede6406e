// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/settings.h"
#include "gateway/net/network_set.h"
#include "gateway/net/tls_context.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace fieldgate::net {

// All that sessions go by. Immutable: a reload makes a new one and hands it to
// every shard; a live session sees it from its next step on.
struct SessionConfig {
  SessionSettings session;
  LimitSettings limits;
  std::vector<std::string> allowed_origins;
  NetworkSet proxy_trusted;               // balancers that must speak PROXY protocol
  std::shared_ptr<const TlsContext> tls;  // nullptr: plain text
  std::string node;
  std::string boot_id;
  std::uint32_t shards = 1;
  bool peers = false;  // other nodes let in the same devices, by the same store
  // Records of presence that a shard keeps while the log refuses them.
  std::size_t presence_backlog_max = 65'536;
};
using SessionConfigPtr = std::shared_ptr<const SessionConfig>;

}  // namespace fieldgate::net
