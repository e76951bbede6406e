// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

struct mosquitto;

namespace fieldgate::mqtt {

// What a broker sends on one connection, as the library asks for it: a byte at a time for what
// a packet begins with, and then for all the rest of it at once. That is how its size is known
// before any of it has been read.
struct Intake {
  std::size_t packet_bytes_max = 0;  // of a packet's rest; more ends the connection
  std::size_t bytes_left = 0;        // may still be taken off the socket, until its owner says more
  std::size_t packet_bytes = 0;      // the rest of the packet under way, or of the last
  std::size_t packet_left = 0;       // of those, still to come
};

enum class Intaken : std::uint8_t {
  all,               // what there was, or bytes_left allowed: `rc` says the rest
  too_large,         // a packet claims more than packet_bytes_max; nothing of its rest was read
  unknown_property,  // nothing may be done with the client but to destroy it
};

// Does mosquitto_loop_read() with what libmosquitto 2.0.11 lacks:
//
// - It takes packets of any size, and as many in one call as a broker can send. Its read() and
//   SSL_read() lead here first, while this runs, and keep to `intake`: a packet that is too large
//   fails, and when bytes_left are used up there is nothing more to read just now.
// - It wants to log a property that it does not know, and asserts that there is somebody to log
//   it for, which there is not: so any broker could end the process with one packet. Here that
//   assertion, and no other one, leaves the library instead. What it holds of the packet is lost:
//   lost_bytes() at most.
//
// Thread: the one of `mosq`.
Intaken read_packets(::mosquitto* mosq, Intake& intake, int& rc);

// What an unknown property in a packet costs for as long as the process lives. A property of 2
// bytes or more has a node of 48, which the allocator makes 64, and one of 3 or more up to two texts
// beside it, of 32 at least: at most 32 times its size. The rest is for a message's own bookkeeping.
constexpr std::uint64_t lost_bytes(const Intake& intake) noexcept { return 32 * intake.packet_bytes + 1'024; }

}  // namespace fieldgate::mqtt
