// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/gzip.h"

#include <zlib.h>

#include <array>
#include <utility>

namespace fieldgate::http {
namespace {

constexpr int k_level = 5;
constexpr int k_gzip_window = 15 + 16;
constexpr int k_memory = 8;

Bytef* bytes_of(std::string_view text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // zlib does not write to it
}

class Deflater {
 public:
  Deflater()
      : usable_(deflateInit2(&stream_, k_level, Z_DEFLATED, k_gzip_window, k_memory, Z_DEFAULT_STRATEGY) == Z_OK) {}
  ~Deflater() {
    if (usable_) deflateEnd(&stream_);
  }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Errors: false, for want of memory.
  bool pack(std::string_view text, bool last, std::string& out) {
    if (!usable_) return false;
    stream_.next_in = bytes_of(text);
    stream_.avail_in = static_cast<uInt>(text.size());
    std::array<char, 16'384> some;
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(some.data());
      stream_.avail_out = static_cast<uInt>(some.size());
      if (deflate(&stream_, last ? Z_FINISH : Z_SYNC_FLUSH) == Z_STREAM_ERROR) return false;
      out.append(some.data(), some.size() - stream_.avail_out);
    } while (stream_.avail_out == 0);
    return true;
  }

 private:
  z_stream stream_{};
  const bool usable_;
};

class GzipSource final : public BodySource, public std::enable_shared_from_this<GzipSource> {
 public:
  explicit GzipSource(std::shared_ptr<BodySource> source) : source_(std::move(source)) {}

  void next(Give give) override {
    source_->next([weak = weak_from_this(), give = std::move(give)](BodyPiece piece) {
      const auto self = weak.lock();
      if (self == nullptr) return;
      std::string packed;
      const bool last = piece.then == BodyPiece::Then::end;
      // An empty piece would come out as an empty block, again and again.
      if ((last || !piece.bytes.empty()) && !self->deflater_.pack(piece.bytes, last, packed)) {
        piece.then = BodyPiece::Then::broken;
      }
      piece.bytes = std::move(packed);
      give(std::move(piece));
    });
  }

 private:
  const std::shared_ptr<BodySource> source_;
  Deflater deflater_;
};

}  // namespace

std::string gzip(std::string_view text) {
  std::string out;
  Deflater deflater;
  return deflater.pack(text, true, out) ? out : std::string();
}

std::shared_ptr<BodySource> gzip(std::shared_ptr<BodySource> source) {
  return std::make_shared<GzipSource>(std::move(source));
}

}  // namespace fieldgate::http
