// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/request.h"

#include "adapters/webhook/signature.h"

#include <algorithm>
#include <utility>

namespace fieldgate::webhook {
namespace {

constexpr std::string_view k_token_characters =
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

void append(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool named(const std::vector<WebhookHeader>& headers, std::string_view name) {
  return std::ranges::any_of(headers, [name](const WebhookHeader& header) { return same_name(header.name, name); });
}

// RFC 9110 sections 5.1 and 5.5. The value is not named: it may be a secret.
bool sendable(const WebhookHeader& header) {
  const std::string& value = header.value.value;
  return !header.name.empty() && header.name.find_first_not_of(k_token_characters) == std::string::npos &&
         std::ranges::all_of(value, [](unsigned char c) { return c == '\t' || (c >= ' ' && c != 0x7F); });
}

}  // namespace

Result<RequestWriter> RequestWriter::make(const TargetUrl& target, WebhookPayload payload,
                                          const std::vector<WebhookHeader>& headers, std::string_view node,
                                          std::string key) {
  RequestWriter writer;
  std::string& out = writer.fixed_;
  out = "POST " + target.request + " HTTP/1.1\r\n";
  append(out, "Host", target.authority);
  append(out, "Content-Type", payload == WebhookPayload::json ? "application/json" : "application/x-protobuf");
  if (!named(headers, "User-Agent")) append(out, "User-Agent", "fieldgate/" FIELDGATE_VERSION);
  if (!named(headers, "Accept")) append(out, "Accept", "*/*");
  append(out, "Fieldgate-Node", node);
  for (const WebhookHeader& header : headers) {
    if (!sendable(header)) {
      return make_error(Errc::invalid_argument,
                        "headers: " + header.name +
                            " cannot be sent: its name must be a token, its value must not hold "
                            "control characters such as line ends");
    }
    append(out, header.name, header.value.value);
  }
  writer.own_idempotency_key_ = !named(headers, "Idempotency-Key");
  writer.key_ = std::move(key);
  return writer;
}

std::string RequestWriter::head(std::string_view batch_id, std::uint32_t attempt, std::string_view body,
                                std::int64_t unix_seconds) const {
  std::string out = fixed_;
  append(out, "Fieldgate-Batch-Id", batch_id);
  if (own_idempotency_key_) append(out, "Idempotency-Key", batch_id);
  append(out, "Fieldgate-Attempt", std::to_string(attempt));
  const std::string stamp = std::to_string(unix_seconds);
  append(out, "Fieldgate-Timestamp", stamp);
  if (!key_.empty()) append(out, "Fieldgate-Signature", "t=" + stamp + "," + signature_of(key_, unix_seconds, body));
  append(out, "Content-Length", std::to_string(body.size()));
  return out.append("\r\n");
}

}  // namespace fieldgate::webhook
