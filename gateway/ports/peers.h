// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace fieldgate {

// What a message between nodes is about; each has one handler in a node. A body is its
// handler's own affair, and to be checked by it: whoever may write to an inbox may forge
// one. So nothing becomes true by a message. It says where to look (the store is what
// tells the truth), or asks for what is harmless to tell.
inline constexpr std::string_view k_peer_command_look = "command.look";    // to a device's owner
inline constexpr std::string_view k_peer_command_news = "command.news";    // to who took the command
inline constexpr std::string_view k_peer_twin_look = "twin.look";          // to a device's owner
inline constexpr std::string_view k_peer_registry_look = "registry.look";  // to every node
inline constexpr std::string_view k_peer_presence_look = "presence.look";  // to who has lost a device
inline constexpr std::string_view k_peer_device_live = "device.live";      // ask a device's owner
inline constexpr std::string_view k_peer_changes_watch = "changes.watch";  // ask every node
inline constexpr std::string_view k_peer_changes_told = "changes.told";    // to who asked for that

inline constexpr std::size_t k_peer_kind_bytes_max = 32;
inline constexpr std::size_t k_peer_body_bytes_max = 65'536;

struct PeerMessage {
  std::string from;     // the node that says it sent it: a valid name, not a proven one
  std::string boot_id;  // of its process; a valid name
  std::string body;     // at most k_peer_body_bytes_max
};

// Messages between the nodes of one fleet. Best effort: one may be lost, come twice, late
// (until `expiry` or `patience`, as the broker keeps time) or in another order.
// Thread: any; none of it waits. serve() before it starts.
// Bounds: what waits to be sent, and asks without an answer; beyond them a tell is
//         dropped and an ask is answered Errc::full at once. Each is counted by its reason.
class Peers {
 public:
  virtual ~Peers() = default;

  // Once, with at most k_peer_body_bytes_max. Any thread; never waits.
  using Answer = std::function<void(Result<std::string>)>;
  // On a thread of the carrier, never within tell() or ask(); must not wait. To a tell
  // there is no answer: `answer` is empty. To an ask it is called once, at any time on
  // any thread that ends before this does; an error reaches the other side as its code
  // (Errc) and detail.
  using Handler = std::function<void(PeerMessage message, Answer answer)>;

  // `kind`: one of the above. Once for each.
  virtual void serve(std::string_view kind, Handler handler) = 0;

  // `node`: NodeRow::name. To itself nothing is sent: it is dropped. An unknown node is
  // not told from one that is away.
  virtual void tell(const std::string& node, std::string_view kind, std::string body,
                    std::chrono::seconds expiry = std::chrono::seconds(30)) = 0;

  // `answer` comes once: within ask() where it cannot be asked, else on a thread of the carrier. Errors:
  // Errc::timed_out: none came within `patience`; Errc::unavailable: there is no way there at present, or this stops;
  // Errc::full; Errc::too_large; Errc::invalid_argument: not a node's name, or this one;
  // Errc::unsupported: that node serves no such kind; and whatever its handler says.
  virtual void ask(const std::string& node, std::string_view kind, std::string body, std::chrono::milliseconds patience,
                   Answer answer) = 0;

  // There is a way to others at present. For a hint alone.
  virtual bool connected() const noexcept = 0;
};

}  // namespace fieldgate
