// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace fieldgate::http {

// A piece of a body that comes bit by bit.
struct BodyPiece {
  enum class Then : std::uint8_t {
    more,    // ask for the next
    end,     // this was the last; `bytes` may be empty
    broken,  // the rest will not come
  };
  std::string bytes;
  Then then = Then::more;
};

// A body that is made, or arrives, as fast as it is taken: what asks for the next piece
// is what holds the other side back.
// Thread: the server's loop, the destructor too.
// Bounds: one piece at a time. A request's pieces are at most k_body_piece_bytes; an
//         answer's should be no more than a few times that.
class BodySource {
 public:
  using Give = std::function<void(BodyPiece)>;

  // Nobody wants the rest: the answer is over, or its reader has gone. `give` may be
  // dropped without being called.
  virtual ~BodySource() = default;
  // Calls `give` once, at once or later. Not to be called again before it was, nor
  // after a piece that was not followed by more.
  virtual void next(Give give) = 0;
  // An answer without an end of its own: over as soon as the client ends its side.
  virtual bool endless() const noexcept { return false; }
};

inline constexpr std::size_t k_body_piece_bytes = 65'536;

// How a request's body is taken.
enum class BodyMode : std::uint8_t {
  // Not at all: the request is answered at once, and the connection ends with that.
  none,
  // Read before the request is handled; it is in Request::body.
  whole,
  // As Request::stream, while it is handled. An answer may begin before the body has
  // ended; whoever writes a whole body before reading needs an answer that waits.
  streamed,
};

struct BodyPlan {
  BodyMode mode = BodyMode::whole;
  std::uint64_t bytes_max = 0;  // beyond it: 413; 0: ServerSettings::body_bytes_max
};

}  // namespace fieldgate::http
