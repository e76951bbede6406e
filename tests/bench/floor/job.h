// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/wire/protobuf_wire.h"
#include "gateway/core/last_values.h"
#include "gateway/net/tls_context.h"

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

// What the servers that the gateway is held against have in common: the same TLS
// context, and the same work on a device's messages, by the same reader.
namespace fieldgate::bench {

// How far a message goes. Each includes those before it, so that two runs can be
// subtracted.
enum class Level : std::uint8_t {
  tls,     // decrypted, and no more
  frame,   // taken out of its WebSocket frame
  decode,  // read, with every check of the gateway's
  values,  // its metrics kept as the device's last values
  ack,     // acknowledged: every k_ack_every_frames, or once in a while
};

struct ServerOptions {
  std::uint16_t port = 0;
  std::string pki;  // directory of `fieldgate-sim pki`
  Level level = Level::ack;
  std::uint32_t ack_every_ms = 50;
  bool read_ahead = false;  // the floor's: a record in one read of OpenSSL's, for a buffer of its own
};
// Exits if they make no sense.
ServerOptions read_options(int argc, char** argv, const char* what);

// As the gateway's device listener makes it: suites, tickets, client certificates.
// Exits where it cannot be made.
std::shared_ptr<const TlsContext> load_tls(const std::string& pki);
// A non-blocking listening socket on 127.0.0.0/8. Exits where there can be none.
int listen_on(std::uint16_t port);

// A connected device, as far as its messages are concerned.
struct Device {
  bool welcomed = false;
  bool ack_listed = false;  // one is due; whoever sends it says that it no longer is
  std::uint16_t since_ack = 0;
  Seq received;
  std::unique_ptr<LastValues> last_values;  // from Level::values on
};

// What is done with messages. Thread: one.
class Job {
 public:
  enum class Outcome : std::uint8_t {
    done,    // nothing to say
    answer,  // answer() is to be sent
    wait,    // as done; and an Ack is due once ack_every_ms have passed: acknowledge()
    fault,   // the connection is to be ended
  };

  explicit Job(const ServerOptions& options);

  // `answer()` holds until the next call.
  Outcome take(Device& device, std::span<const std::byte> message);
  // nullptr: there is nothing new to acknowledge.
  const std::string* acknowledge(Device& device);
  const std::string& answer() const noexcept { return answer_; }

 private:
  Outcome welcome(Device& device, const UpFrame& frame);

  const Level level_;
  wire::ProtobufWire wire_;
  std::unique_ptr<WireDecoder> decoder_;
  std::string answer_;
};

}  // namespace fieldgate::bench
