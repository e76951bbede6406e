// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/peer_codec.h"

#include "fieldgate/v1/peer.pb.h"
#include "gateway/core/ids.h"
#include "gateway/ports/peers.h"

#include <utility>

namespace fieldgate::mqtt {
namespace {

constexpr std::uint32_t k_version = 1;

// Texts must be UTF-8 to be written (proto3); what is not is said without them.
std::string detail_of(const Error& error) {
  std::string detail = error.detail.substr(0, k_peer_detail_bytes_max);
  for (char& c : detail) {
    if (static_cast<unsigned char>(c) >= 0x80 || static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  return detail;
}

Error error_of(const v1::PeerMessage& message) {
  const bool known = message.error() <= static_cast<std::uint32_t>(Errc::internal);
  return make_error(known ? static_cast<Errc>(message.error()) : Errc::internal, message.error_detail());
}

}  // namespace

std::string encode(const PeerEnvelope& envelope) {
  v1::PeerMessage message;
  message.set_version(k_version);
  message.set_node(envelope.node);
  message.set_boot_id(envelope.boot_id);
  message.set_kind(envelope.kind);
  message.set_body(envelope.body);
  message.set_question(envelope.question);
  message.set_answer(envelope.answer);
  if (envelope.error) {
    const bool ours = envelope.error->code.category() == fieldgate_category();
    message.set_error(
        static_cast<std::uint32_t>(ours ? envelope.error->code.value() : static_cast<int>(Errc::internal)));
    message.set_error_detail(detail_of(*envelope.error));
  }
  return message.SerializeAsString();
}

std::variant<PeerEnvelope, PeerDrop> decode_peer(std::string_view bytes) {
  if (bytes.size() > k_peer_message_bytes_max) return PeerDrop::too_large;
  v1::PeerMessage message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return PeerDrop::malformed;
  if (message.version() != k_version) return message.version() == 0 ? PeerDrop::malformed : PeerDrop::version;
  if (message.body().size() > k_peer_body_bytes_max) return PeerDrop::too_large;
  const bool named = is_valid_name(message.node()) && is_valid_name(message.boot_id());
  const bool kind = !message.kind().empty() && message.kind().size() <= k_peer_kind_bytes_max;
  const bool question = message.question().empty() ? !message.answer() : message.question().size() == k_question_bytes;
  const bool error =
      message.error_detail().size() <= k_peer_detail_bytes_max && (message.error() == 0 || message.answer());
  if (!named || !kind || !question || !error) return PeerDrop::malformed;
  PeerEnvelope envelope;
  envelope.node = std::move(*message.mutable_node());
  envelope.boot_id = std::move(*message.mutable_boot_id());
  envelope.kind = std::move(*message.mutable_kind());
  envelope.body = std::move(*message.mutable_body());
  envelope.question = std::move(*message.mutable_question());
  envelope.answer = message.answer();
  if (message.error() != 0) envelope.error = error_of(message);
  return envelope;
}

}  // namespace fieldgate::mqtt
