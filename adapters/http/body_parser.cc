// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/body_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/optional.hpp>

namespace fieldgate::http {
namespace {

namespace beast_http = boost::beast::http;

// Gathers what is not taken away; reserves nothing on the word of a Content-Length.
struct PieceBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool request, class Fields>
    reader(beast_http::header<request, Fields>&, value_type& out) : out_(out) {}
    void init(const boost::optional<std::uint64_t>&, error_code& ec) { ec = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, error_code& ec) {
      ec = {};
      std::size_t n = 0;
      for (const boost::asio::const_buffer part : boost::beast::buffers_range_ref(buffers)) {
        out_.append(static_cast<const char*>(part.data()), part.size());
        n += part.size();
      }
      return n;
    }
    void finish(error_code& ec) { ec = {}; }

   private:
    value_type& out_;
  };
};

}  // namespace

struct BodyParser::Impl {
  beast_http::request_parser<PieceBody> parser;
};

BodyParser::BodyParser(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BodyParser::BodyParser(BodyParser&&) noexcept = default;
BodyParser& BodyParser::operator=(BodyParser&&) noexcept = default;
BodyParser::~BodyParser() = default;

Result<BodyParser> BodyParser::begin(std::string_view head, std::uint64_t bytes_max) {
  auto impl = std::make_unique<Impl>();
  impl->parser.header_limit(static_cast<std::uint32_t>(head.size()) + 1);
  impl->parser.body_limit(bytes_max);
  error_code ec;
  impl->parser.put(boost::asio::buffer(head.data(), head.size()), ec);
  if (ec == beast_http::error::body_limit) return make_error(Errc::too_large, ec.message());
  if (ec) return make_error(Errc::malformed, ec.message());
  impl->parser.eager(true);
  return BodyParser(std::move(impl));
}

Result<std::size_t> BodyParser::take(std::string_view bytes, std::string& out) {
  error_code ec;
  const std::size_t used = impl_->parser.put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
  if (ec == beast_http::error::body_limit) return make_error(Errc::too_large, ec.message());
  if (ec && ec != beast_http::error::need_more) return make_error(Errc::malformed, ec.message());
  std::string& body = impl_->parser.get().body();
  out.append(body);
  body.clear();
  return used;
}

bool BodyParser::done() const { return impl_->parser.is_done(); }

}  // namespace fieldgate::http
