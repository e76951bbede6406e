// SPDX-License-Identifier: Apache-2.0
#include "adapters/mqtt/peer_post.h"

#include "gateway/core/ids.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace fieldgate::mqtt {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Not to be guessed: what comes with it counts as the answer.
std::string make_question() {
  std::string question(k_question_bytes, '\0');
  [[maybe_unused]] const int drawn =
      RAND_bytes(reinterpret_cast<unsigned char*>(question.data()), static_cast<int>(question.size()));
  assert(drawn == 1);
  return question;
}

}  // namespace

// Counted for as long as somebody may still answer.
struct PeerPost::Serving {
  Serving(PeerPost& of, PeerEnvelope from) : post(of), envelope(std::move(from)) {}
  ~Serving() {
    const MutexLock lock(post.mutex_);
    --post.serving_;
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  PeerPost& post;
  const PeerEnvelope envelope;
};

PeerPost::PeerPost(std::string node, std::string boot_id, const Topics& topics, const Clock& clock, PeerProbe& probe,
                   std::function<void()> wake)
    : node_(std::move(node)),
      boot_id_(std::move(boot_id)),
      topics_(topics),
      clock_(clock),
      probe_(probe),
      wake_(std::move(wake)) {}

PeerPost::~PeerPost() { stop(); }

void PeerPost::serve(std::string_view kind, Handler handler) {
  assert(kind.size() <= k_peer_kind_bytes_max);
  handlers_.insert_or_assign(std::string(kind), std::move(handler));
}

// --- out

Message PeerPost::letter(const std::string& node, const PeerEnvelope& envelope, Monotonic until) const {
  Message message;
  message.kind = MessageKind::peer;
  message.topic = topics_.inbox(node);
  message.payload = encode(envelope);
  message.until = until;
  return message;
}

bool PeerPost::push(Message message) {
  if (stopped_) return false;
  if (waiting_.size() >= k_waiting_max || waiting_bytes_ + message.payload.size() > k_waiting_bytes_max) {
    probe_.dropped[static_cast<std::size_t>(PeerDrop::full)].add();
    return false;
  }
  waiting_bytes_ += message.payload.size();
  waiting_.push_back(std::move(message));
  return true;
}

void PeerPost::drop(PeerDrop why) {
  const MutexLock lock(mutex_);
  probe_.dropped[static_cast<std::size_t>(why)].add();
}

void PeerPost::tell(const std::string& node, std::string_view kind, std::string body, seconds expiry) {
  if (node == node_ || !is_valid_name(node)) return;
  if (body.size() > k_peer_body_bytes_max) return drop(PeerDrop::too_large);
  Message message =
      letter(node, {.node = node_, .boot_id = boot_id_, .kind = std::string(kind), .body = std::move(body)},
             clock_.now() + expiry);
  {
    const MutexLock lock(mutex_);
    if (!push(std::move(message))) return;
  }
  wake_();
}

void PeerPost::ask(const std::string& node, std::string_view kind, std::string body, milliseconds patience,
                   Answer answer) {
  if (node == node_ || !is_valid_name(node)) {
    return answer(make_error(Errc::invalid_argument, "not another node's name: " + node));
  }
  if (body.size() > k_peer_body_bytes_max) return answer(make_error(Errc::too_large, "the question is too large"));
  const Error no_way = make_error(Errc::unavailable, "there is no connection to node " + node + " at present");
  if (!connected()) return answer(no_way);
  const Monotonic now = clock_.now();
  const Monotonic until = now + std::min<milliseconds>(patience, k_patience_max);
  std::string question = make_question();
  Message message = letter(
      node,
      {.node = node_, .boot_id = boot_id_, .kind = std::string(kind), .body = std::move(body), .question = question},
      until);
  std::optional<Error> refusal;
  {
    const MutexLock lock(mutex_);
    if (stopped_) {
      refusal = no_way;
    } else if (questions_.size() >= k_questions_max || !push(std::move(message))) {
      refusal = make_error(Errc::full, "too many questions to other nodes are open: ask again later");
    } else {
      probe_.questions.add();
      const auto ends = ends_.emplace(until, question);
      Question& kept = questions_[std::move(question)];
      kept = Question{node, std::string(kind), now, {}, ends};
      kept.answer.swap(answer);
    }
  }
  if (refusal) return answer(*refusal);
  wake_();
}

std::optional<Message> PeerPost::take() {
  const Monotonic now = clock_.now();
  const MutexLock lock(mutex_);
  while (!waiting_.empty()) {
    Message message = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= message.payload.size();
    if (message.until <= now) {
      probe_.dropped[static_cast<std::size_t>(PeerDrop::expired)].add();
      continue;
    }
    // The protocol knows whole seconds alone.
    message.expiry_seconds = static_cast<std::uint32_t>(std::chrono::ceil<seconds>(message.until - now).count());
    probe_.sent.add();
    return message;
  }
  return std::nullopt;
}

void PeerPost::put_back(Message message) {
  const MutexLock lock(mutex_);
  push(std::move(message));
}

// --- in

void PeerPost::received(std::string_view payload, bool retained) {
  {
    const MutexLock lock(mutex_);
    probe_.received.add();
  }
  if (retained) return drop(PeerDrop::retained);
  auto decoded = decode_peer(payload);
  if (const PeerDrop* why = std::get_if<PeerDrop>(&decoded)) return drop(*why);
  PeerEnvelope& envelope = std::get<PeerEnvelope>(decoded);
  if (envelope.node == node_) return drop(PeerDrop::own);
  envelope.answer ? answered(std::move(envelope)) : serve_one(std::move(envelope));
}

void PeerPost::serve_one(PeerEnvelope envelope) {
  const auto handler = handlers_.find(envelope.kind);
  const bool asks = !envelope.question.empty();
  if (handler == handlers_.end()) drop(PeerDrop::unknown_kind);
  if (!asks) {
    if (handler == handlers_.end()) return;
    return handler->second({std::move(envelope.node), std::move(envelope.boot_id), std::move(envelope.body)}, {});
  }
  {
    const MutexLock lock(mutex_);
    if (stopped_) return;
    if (serving_ >= k_serving_max) {
      probe_.dropped[static_cast<std::size_t>(PeerDrop::busy)].add();
      return;
    }
    ++serving_;
  }
  PeerMessage message{envelope.node, envelope.boot_id, std::move(envelope.body)};
  const auto serving = std::make_shared<Serving>(*this, std::move(envelope));
  if (handler == handlers_.end()) {
    return reply(*serving, make_error(Errc::unsupported, "node " + node_ + " does not serve this"));
  }
  handler->second(std::move(message),
                  [serving](Result<std::string> answer) { serving->post.reply(*serving, std::move(answer)); });
}

void PeerPost::reply(const Serving& to, Result<std::string> answer) {
  PeerEnvelope envelope{.node = node_, .boot_id = boot_id_, .kind = to.envelope.kind};
  envelope.question = to.envelope.question;
  envelope.answer = true;
  if (!answer) {
    envelope.error = answer.error();
  } else if (answer->size() > k_peer_body_bytes_max) {
    envelope.error = make_error(Errc::too_large, "the answer is too large for a message between nodes");
  } else {
    envelope.body = *std::move(answer);
  }
  Message message = letter(to.envelope.node, envelope, clock_.now() + k_answer_expiry);
  {
    const MutexLock lock(mutex_);
    if (!push(std::move(message))) return;
  }
  wake_();
}

PeerPost::Question PeerPost::remove(std::unordered_map<std::string, Question>::iterator at) {
  ends_.erase(at->second.ends);
  Question question = std::move(at->second);
  questions_.erase(at);
  return question;
}

void PeerPost::answered(PeerEnvelope envelope) {
  std::optional<Question> found;
  {
    const MutexLock lock(mutex_);
    const auto at = questions_.find(envelope.question);
    if (at == questions_.end() || at->second.node != envelope.node || at->second.kind != envelope.kind) {
      return probe_.dropped[static_cast<std::size_t>(PeerDrop::no_question)].add();
    }
    found = remove(at);
    probe_.answer_time.observe(
        static_cast<std::uint64_t>(duration_cast<std::chrono::microseconds>(clock_.now() - found->asked).count()));
  }
  found->answer(envelope.error ? Result<std::string>(*envelope.error) : Result<std::string>(std::move(envelope.body)));
}

// --- time

std::optional<Monotonic> PeerPost::wake_at() const {
  const MutexLock lock(mutex_);
  if (ends_.empty()) return std::nullopt;
  return ends_.begin()->first;
}

void PeerPost::expire() {
  const Monotonic now = clock_.now();
  std::vector<Question> late;
  {
    const MutexLock lock(mutex_);
    while (!ends_.empty() && ends_.begin()->first <= now)
      late.push_back(remove(questions_.find(ends_.begin()->second)));
    probe_.questions_failed.add(late.size());
  }
  for (const Question& question : late) {
    question.answer(make_error(Errc::timed_out, "node " + question.node + " did not answer in time"));
  }
}

void PeerPost::stop() {
  std::vector<Question> open;
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
    waiting_.clear();
    waiting_bytes_ = 0;
    while (!questions_.empty()) open.push_back(remove(questions_.begin()));
    probe_.questions_failed.add(open.size());
  }
  for (const Question& question : open) {
    question.answer(make_error(Errc::unavailable, "this node is stopping"));
  }
}

}  // namespace fieldgate::mqtt
