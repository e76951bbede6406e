// SPDX-License-Identifier: Apache-2.0
//
// The part of LaneImpl that takes commands from the broker and tells their fate, and
// carries what nodes say to each other.
#include "adapters/mqtt/lane_impl.h"
#include "adapters/mqtt/reasons.h"

#include <boost/asio/post.hpp>

namespace fieldgate::mqtt {
namespace {

// Requests handed over and not yet answered by the ledger. Beyond it a requester is
// told to come again.
constexpr std::size_t k_asked_max = 1'000;
constexpr std::uint32_t k_own_word_seconds = 60;

}  // namespace

void LaneImpl::command_received(const Incoming& message) {
  auto read = gate_->read(message);
  if (!read) return;
  if (auto* refused = std::get_if<RequestRefused>(&*read)) return refuse(std::move(*refused), message.topic);
  auto& request = std::get<CommandRequest>(*read);
  if (asked_ >= k_asked_max) {
    const Error busy = make_error(Errc::unavailable, "too many requests wait for the ledger: repeat this one later");
    return refuse(gate_->refused(request, busy), message.topic);
  }
  ++asked_;
  auto asked = std::make_shared<CommandRequest>(request);
  asked->payload.clear();  // the ledger's now
  commands_->submit(std::move(request), [this, asked, topic = message.topic](Result<Commands::Accepted> answer) {
    boost::asio::post(io_, [this, asked, topic, answer = std::move(answer)] {
      --asked_;
      if (!answer) {
        refuse(gate_->refused(*asked, answer.error()), topic);
      } else {
        probe_.commands.add();
        if (!answer->command.response_topic.empty()) reply(gate_->reply(answer->command));
      }
      pump();
    });
  });
}

void LaneImpl::refuse(RequestRefused refused, const std::string& topic) {
  probe_.commands_refused.add();
  log_.warn("mqtt_command_refused", {{"lane", settings_.name},
                                     {"topic", std::string_view(topic)},
                                     {"code", std::string_view(refused.code)},
                                     {"detail", std::string_view(refused.detail)},
                                     {"told", refused.reply.has_value()}});
  if (refused.reply) reply(std::move(*refused.reply));
}

void LaneImpl::reply(Message message) {
  const std::size_t dropped = replies_.push(std::move(message));
  if (dropped == 0) return;
  probe_.replies_dropped.add(dropped);
  log_.warn("mqtt_replies_dropped", {{"lane", settings_.name}, {"count", dropped}});
}

// Steps in between are the ledger's own business: a requester hears that its command
// is in the ledger, and what became of it.
void LaneImpl::command_changed(const std::shared_ptr<const CommandEntry>& command) {
  if (!gate_ || command->response_topic.empty() || !is_final(command->state)) return;
  if (command->source != "mqtt:" + settings_.name) return;
  boost::asio::post(io_, [this, command] {
    reply(gate_->reply(*command));
    pump();
  });
}

void LaneImpl::reply_acknowledged(std::uint8_t reason, const Message& message) {
  if (reason < 0x80) return;
  probe_.refusals[reason].add();
  log_.error(
      "mqtt_reply_refused",
      {{"lane", settings_.name}, {"topic", std::string_view(message.topic)}, {"error", describe_refusal(reason)}});
}

// --- other nodes

void LaneImpl::inbox_subscribed(std::uint8_t reason) {
  if (reason >= 0x80) return subscription_refused(reason, topics_.inbox(node_.node), k_unreachable);
  peers_->set_connected(true);
  echoes_.subscribed(EchoWatch::From::inbox);
  send_to_own_inbox();
}

// Empty, and so for nobody: to see whether anything comes from there.
void LaneImpl::send_to_own_inbox() {
  Message message;
  message.kind = MessageKind::peer;
  message.format = PayloadFormat::protobuf;
  message.topic = topics_.inbox(node_.node);
  message.expiry_seconds = k_own_word_seconds;
  send(std::move(message));
}

void LaneImpl::peer_refused(std::uint8_t reason, const std::string& topic) {
  probe_.refusals[reason].add();
  peers_->refused(PeerDrop::refused);
  log_.error("mqtt_peer_message_refused",
             {{"lane", settings_.name},
              {"topic", std::string_view(topic)},
              {"error", describe_refusal(reason)},
              {"effect", "that node finds out by itself, later; what only it knows is not to be had here"}});
}

// Also while there is no connection: who asked is to be answered.
void LaneImpl::peers_later() {
  if (!peers_) return;
  const auto at = peers_->wake_at();
  if (!at || (peer_armed_ && *peer_armed_ <= *at)) return;
  peer_armed_ = at;
  peer_timer_.expires_at(*at);
  peer_timer_.async_wait([this](error_code error) {
    if (error) return;  // armed anew, or stopping
    peer_armed_.reset();
    peers_->expire();
    peers_later();
  });
}

}  // namespace fieldgate::mqtt
