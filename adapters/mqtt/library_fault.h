// SPDX-License-Identifier: Apache-2.0
#pragma once

struct mosquitto;

namespace fieldgate::mqtt {

// libmosquitto 2.0.11 wants to log a property that it does not know, and asserts that there is
// somebody to log it for, which there is not: so any broker could end the process with one
// packet. Here that assertion, and no other one, leaves the library instead; what it holds of
// the packet is lost (less than the packet takes), and the connection is to be given up.
//
// Does mosquitto_loop_read(); false: it came to that, and nothing may be done with `mosq` but to
// destroy it. Thread: the one of `mosq`.
bool read_packets(::mosquitto* mosq, int& rc);

}  // namespace fieldgate::mqtt
