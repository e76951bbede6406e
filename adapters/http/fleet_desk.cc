// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/fleet_desk.h"

#include "adapters/http/peer_detail.h"
#include "adapters/http/store_reply.h"
#include "adapters/http/views.h"

#include <algorithm>
#include <stdexcept>

namespace fieldgate::http {
namespace {

Response json_answer(std::string body, bool tagged = false) {
  Response response;
  response.body = std::move(body);
  response.tagged = tagged;
  return response;
}

// Gives at most `room` of `from`, behind the `done` first ones, to `use`.
template <class T, class Use>
void take(std::vector<T>& from, std::size_t& done, std::size_t& room, Use use) {
  for (; room > 0 && done < from.size(); ++done, --room) use(from[done]);
}

}  // namespace

// Every device that meets the conditions, page by page: between two of them the loop
// does other things, and the index may change.
class FleetDesk::Export final : public BodySource {
 public:
  Export(const FleetDesk& desk, ListRequest request) : desk_(desk), request_(std::move(request)) {}

  void next(Give give) override {
    const FleetPage page = desk_.index_.query(request_.query, desk_.ports_.clock.unix_ms());
    BodyPiece piece;
    for (const FleetDevice& device : page.devices) piece.bytes += device_line(device, request_.fields);
    request_.query.after = page.next;
    if (!page.next) piece.then = BodyPiece::Then::end;
    give(std::move(piece));
  }

 private:
  const FleetDesk& desk_;
  ListRequest request_;
};

void FleetDesk::answer(Route route, const Request& request, Handler::Respond respond) {
  if (route == Route::devices) return respond(list_devices(request));
  if (const auto unknown = refuse_unknown(request.target, {})) return respond(make_problem(*unknown, request.id));
  switch (route) {
    case Route::device: return ask_live(request, false, std::move(respond));
    case Route::latest: return ask_live(request, true, std::move(respond));
    case Route::nodes: return list_nodes(std::move(respond));
    default: throw std::logic_error("a route of another part");
  }
}

Response FleetDesk::list_devices(const Request& request) const {
  auto read = read_list_query(request, seal_);
  if (const auto* wrong = std::get_if<ParameterFault>(&read)) return make_problem(*wrong, request.id);
  auto& wanted = std::get<ListRequest>(read);
  if (wanted.ndjson) {
    Response response;
    response.content_type = k_ndjson_type;
    response.source = std::make_shared<Export>(*this, std::move(wanted));
    return response;
  }
  const FleetPage page = index_.query(wanted.query, ports_.clock.unix_ms());
  std::optional<std::string> next;
  if (page.next) next = seal_.seal(*page.next, wanted.query.fingerprint());
  std::optional<std::int64_t> as_of;
  if (view_) as_of = view_->as_of_unix_ms;
  return json_answer(devices_json(page, wanted.fields, next, wanted.explain, as_of));
}

void FleetDesk::ask_live(const Request& request, bool latest, Handler::Respond respond) {
  const std::string& id = request.target.segments[3];
  const auto known = index_.find(id, ports_.clock.unix_ms());
  if (!known) {
    return respond(
        make_problem(Problem::device_not_found, request.id,
                     is_valid_name(id) ? "no device '" + id + "' is known to this node" : "that is not a device id"));
  }
  const std::uint64_t number = next_question_++;
  const DeviceId device = known->id;
  const std::string owner = known->node;
  const bool away = shared() && !known->node.empty() && known->node != here().name;
  questions_.emplace(number, Question{std::move(respond), device, request.id, latest, !away});
  if (const std::shared_ptr<Loop> loop = loop_.lock()) {
    loop->after(k_live_deadline, [this, number] { conclude(number, false, std::nullopt); });
  }
  if (away) return ask_peer(number, device, owner);
  ports_.live.detail(device, [this, weak = loop_, number](std::optional<DeviceDetail> detail) {
    const std::shared_ptr<Loop> loop = weak.lock();
    if (loop == nullptr) return;
    loop->post([this, number, detail = std::move(detail)] { conclude(number, true, detail); });
  });
}

// The one that has the device, or had it last: it alone keeps what is not in the store.
void FleetDesk::ask_peer(std::uint64_t number, const DeviceId& device, const std::string& node) {
  if (ports_.peers == nullptr) return conclude(number, false, std::nullopt);
  ports_.peers->ask(node, k_peer_device_live, device.str(), k_live_deadline,
                    [this, weak = loop_, number, device, node](const Result<std::string>& answer) {
                      const std::shared_ptr<Loop> loop = weak.lock();
                      if (loop == nullptr) return;
                      std::optional<DeviceDetail> detail;
                      if (answer) {
                        if (auto read = decode_detail(device, *answer)) detail = *std::move(read);
                      }
                      loop->post([this, number, detail = std::move(detail)]() mutable {
                        take_peers_word(detail);
                        conclude(number, detail.has_value(), detail);
                      });
                    });
}

// It adds to what the store says of the same connection, and changes nothing of that.
void FleetDesk::take_peers_word(std::optional<DeviceDetail>& detail) {
  if (!detail) return;
  const DeviceSummary& said = detail->summary;
  const std::int64_t now = ports_.clock.unix_ms();
  const auto known = index_.find(said.id.str(), now);
  if (!known || known->epoch != said.epoch || known->online != said.online) return detail.reset();
  index_.apply(
      SeenUpdate{said.id, said.epoch, std::min(said.last_seen_unix_ms, now), std::min(said.last_data_unix_ms, now)});
}

void FleetDesk::conclude(std::uint64_t number, bool answered, std::optional<DeviceDetail> detail) {
  const auto at = questions_.find(number);
  if (at == questions_.end()) return;  // the other of answer and deadline was first
  const Question question = std::move(at->second);
  questions_.erase(at);
  // The shard's own word is fresher than the index, unless the device has left since:
  // the index sees to that.
  if (detail && question.here) index_.apply(placed(detail->summary));
  question.respond(device_answer(question, answered, detail ? &*detail : nullptr));
}

Response FleetDesk::device_answer(const Question& question, bool answered, const DeviceDetail* detail) const {
  const auto device = index_.find(question.device.str(), ports_.clock.unix_ms());
  if (!device) return make_problem(Problem::device_not_found, question.request_id, "it has just been forgotten");
  if (!question.latest) return json_answer(device_json(*device, detail), true);
  if (!answered) {
    return make_problem(Problem::live_data_unavailable, question.request_id,
                        "the last values are kept by the node that the device was connected to last, which does not "
                        "answer in time; try again");
  }
  return json_answer(latest_json(*device, detail), true);
}

void FleetDesk::list_nodes(Handler::Respond respond) const {
  const NodeStatus& status = ports_.status;
  if (ports_.control.timelines == nullptr) {
    return respond(json_answer(nodes_json(status.node(), status.readiness(), nullptr, {})));
  }
  // What this node is doing is told even where the store has no answer.
  ports_.control.timelines->nodes(on_loop<std::vector<NodeRow>>(
      loop_, k_live_deadline, [this, &status, respond = std::move(respond)](const Result<std::vector<NodeRow>>& rows) {
        respond(json_answer(
            nodes_json(status.node(), status.readiness(), rows ? &*rows : nullptr, index_.online_by_node())));
      }));
}

void FleetDesk::apply(FleetInbox::Content news) {
  const bool idle = news_.empty();
  news_.push_back({std::move(news)});
  if (idle) apply_some();
}

// What is left waits until the loop has done what else there is to do.
void FleetDesk::apply_some() {
  std::size_t room = k_apply_max;
  while (room > 0 && !news_.empty()) {
    News& news = news_.front();
    FleetInbox::Content& all = news.all;
    // In this order: what a shard says is newer than what the store remembers.
    take(all.known, news.known, room, [this](const PresenceRow& row) { apply_one(row); });
    take(all.registry, news.registry, room, [this](const RegistryChange& change) { apply_one(change); });
    take(all.changed, news.changed, room, [this](DeviceSummary& device) { apply_one(placed(std::move(device))); });
    take(all.seen, news.seen, room, [this](const SeenUpdate& update) { index_.apply(update); });
    if (room == 0) break;
    if (all.fleet) look_at(*std::move(all.fleet));
    news_.pop_front();
  }
  if (news_.empty()) return;
  if (const std::shared_ptr<Loop> loop = loop_.lock()) {
    loop->post([this] { apply_some(); });
  }
}

// Who comes and goes at other nodes is news too, once it is known who was there before.
void FleetDesk::apply_one(const PresenceRow& row) {
  const DeviceSummary device = remembered(row);
  if (index_.apply(device) && listener_ != nullptr && shared()) listener_->moved(device);
}

void FleetDesk::look_at(FleetView view) {
  std::vector<std::string> away;
  for (const NodeRow& node : view.nodes) {
    if (!node.live && node.name != here().name) away.push_back(node.name);
  }
  index_.set_nodes_away(std::move(away));
  view_ = std::move(view);
}

void FleetDesk::apply_one(const DeviceSummary& change) {
  if (index_.apply(change) && listener_ != nullptr) listener_->moved(change);
}

void FleetDesk::apply_one(const RegistryChange& change) {
  index_.apply(change);
  if (listener_ != nullptr) listener_->registered(change);
}

const NodeInfo& FleetDesk::here() {
  if (!here_) here_ = ports_.status.node();
  return *here_;
}

DeviceSummary FleetDesk::placed(DeviceSummary device) {
  if (device.node.empty()) device.node = here().name;
  return device;
}

DeviceSummary FleetDesk::remembered(const PresenceRow& row) {
  DeviceSummary out{row.device};
  // Of this node, a shard alone can say that a device is online; what the store still
  // has so is of a process that is no more.
  const bool ended = row.online && row.node == here().name && row.boot_id != here().boot_id;
  out.online = row.online && !ended;
  out.epoch = row.epoch;
  out.since_unix_ms = row.since_unix_ms;
  out.last_seen_unix_ms = row.last_seen_unix_ms;
  out.last_data_unix_ms = row.last_data_unix_ms;
  out.firmware = row.firmware;
  out.labels = row.labels;
  out.reason = ended ? std::string(to_string(EndReason::node_lost)) : row.reason;
  out.node = row.node;
  return out;
}

}  // namespace fieldgate::http
