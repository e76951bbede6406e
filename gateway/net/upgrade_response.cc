// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/upgrade.h"

#include <openssl/evp.h>
#include <array>
#include <cassert>

namespace fieldgate {
namespace {

struct Refusal {
  std::string_view title;   // the status line's, and the problem's
  std::string_view detail;  // for whoever wrote the device
  std::string_view headers;
};

Refusal describe(EndReason reason) {
  switch (reason) {
    case EndReason::upgrade_timeout: return {"Request Timeout", "The upgrade request took too long to arrive.", ""};
    case EndReason::upgrade_too_large: {
      return {"Request Header Fields Too Large", "The request header or the bearer token is too large.", ""};
    }
    case EndReason::upgrade_path: return {"Not Found", "Devices connect at /v1/connect.", ""};
    case EndReason::upgrade_method: return {"Method Not Allowed", "Devices connect with GET.", "Allow: GET\r\n"};
    case EndReason::upgrade_version: {
      return {"Upgrade Required", "Devices connect by an upgrade to WebSocket version 13.",
              "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"};
    }
    case EndReason::upgrade_subprotocol: {
      return {"Bad Request", "Offer the subprotocol fieldgate.v1 in Sec-WebSocket-Protocol.", ""};
    }
    case EndReason::upgrade_origin: {
      return {"Forbidden", "Requests with an Origin header are refused: browsers are not devices.", ""};
    }
    case EndReason::unauthenticated: {
      return {"Unauthorized", "A valid client certificate or bearer token is required.",
              "WWW-Authenticate: Bearer realm=\"fieldgate\"\r\n"};
    }
    default: return {"Bad Request", "The request is not a well-formed WebSocket upgrade request.", ""};
  }
}

}  // namespace

void append_upgrade_accepted(std::string& out, std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int digest_bytes = 0;
  [[maybe_unused]] const int ok =
      EVP_Digest(text.data(), text.size(), digest.data(), &digest_bytes, EVP_sha1(), nullptr);
  assert(ok == 1);
  std::array<unsigned char, 64> accept{};
  const int accept_bytes = EVP_EncodeBlock(accept.data(), digest.data(), static_cast<int>(digest_bytes));

  out += "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
  out.append(reinterpret_cast<const char*>(accept.data()), static_cast<std::size_t>(accept_bytes));
  out += "\r\nSec-WebSocket-Protocol: ";
  out += k_subprotocol;
  out += "\r\n\r\n";
}

void append_upgrade_refused(std::string& out, EndReason reason) {
  const EndReasonInfo& about = info(reason);
  assert(about.http_status != 0);
  const Refusal refusal = describe(reason);
  const std::string status = std::to_string(about.http_status);

  std::string body = R"({"type":"about:blank","title":")";
  body += refusal.title;
  body += R"(","status":)";
  body += status;
  body += R"(,"detail":")";
  body += refusal.detail;
  body += R"(","reason":")";
  body += about.name;
  body += "\"}\n";

  out += "HTTP/1.1 ";
  out += status;
  out += ' ';
  out += refusal.title;
  out += "\r\nConnection: close\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n";
  out += refusal.headers;
  out += "Content-Length: ";
  out += std::to_string(body.size());
  out += "\r\n\r\n";
  out += body;
}

}  // namespace fieldgate
