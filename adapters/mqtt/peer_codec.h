// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/ports/probes.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

// proto/fieldgate/v1/peer.proto, checked. No state, any thread.
namespace fieldgate::mqtt {

inline constexpr std::size_t k_question_bytes = 16;
inline constexpr std::size_t k_peer_detail_bytes_max = 512;
// Of an encoded message: a body, two names, a kind, a question and a detail.
inline constexpr std::size_t k_peer_message_bytes_max = 68'000;

// One message between nodes, as it travels.
struct PeerEnvelope {
  std::string node{};      // the sender's; a valid name
  std::string boot_id{};   // a valid name
  std::string kind{};      // 1 to k_peer_kind_bytes_max bytes
  std::string body{};      // at most k_peer_body_bytes_max
  std::string question{};  // k_question_bytes, or empty: nobody waits for an answer
  bool answer = false;     // to `question`
  std::optional<Error> error{};
};

// Within the bounds above; a longer detail is cut.
std::string encode(const PeerEnvelope& envelope);

// Believes of what comes nothing but its form, and that only after a look: the bounds
// above hold of what is returned. Else PeerDrop::too_large, malformed or version.
std::variant<PeerEnvelope, PeerDrop> decode_peer(std::string_view bytes);

}  // namespace fieldgate::mqtt
