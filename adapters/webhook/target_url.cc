// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/target_url.h"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <charconv>

namespace fieldgate::webhook {
namespace {

namespace urls = boost::urls;

constexpr std::string_view k_host_characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
constexpr std::size_t k_host_bytes_max = 253;  // RFC 1035 section 2.3.4

// 0: not one that can be connected to.
std::uint16_t to_port(std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return ec == std::errc() && end == digits.data() + digits.size() ? port : std::uint16_t{0};
}

Error bad(std::string_view why) { return make_error(Errc::invalid_argument, "url " + std::string(why)); }

}  // namespace

Result<TargetUrl> TargetUrl::parse(std::string_view text) {
  const auto parsed = urls::parse_uri(text);
  if (!parsed) return bad("is not a URL: " + parsed.error().message());
  const urls::url_view& url = *parsed;
  TargetUrl target;
  if (url.scheme_id() == urls::scheme::https) {
    target.tls = true;
  } else if (url.scheme_id() != urls::scheme::http) {
    return bad("must begin with http:// or https://");
  }
  if (url.has_userinfo()) return bad("must not hold a user name: use headers for credentials");
  if (url.has_fragment()) return bad("must not hold a fragment (#)");

  const bool v6 = url.host_type() == urls::host_type::ipv6;
  if (url.host_type() == urls::host_type::ipvfuture) return bad("has an address of a kind that is unknown");
  target.host = v6 ? url.host_address() : std::string(url.encoded_host());
  if (target.host.empty() || target.host.size() > k_host_bytes_max) return bad("must have a host");
  if (!v6 && target.host.find_first_not_of(k_host_characters) != std::string::npos) {
    return bad("must have a host of letters, digits, - and . alone (write other names in their xn-- form)");
  }
  const std::uint16_t usual = target.tls ? 443 : 80;
  target.port = url.port().empty() ? usual : to_port(url.port());
  if (target.port == 0) return bad("must have a port from 1 to 65535");

  const std::string host = v6 ? "[" + target.host + "]" : target.host;
  const std::string port = ":" + std::to_string(target.port);
  const std::string path = url.encoded_path().empty() ? std::string("/") : std::string(url.encoded_path());
  target.authority = target.port == usual ? host : host + port;
  target.request = path;
  if (url.has_query()) target.request.append("?").append(std::string(url.encoded_query()));
  target.display = (target.tls ? "https://" : "http://") + host + port + path;
  return target;
}

}  // namespace fieldgate::webhook
