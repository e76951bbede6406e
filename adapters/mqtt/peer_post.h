// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/mqtt/message.h"
#include "adapters/mqtt/peer_codec.h"
#include "adapters/mqtt/topics.h"
#include "gateway/core/mutex.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/peers.h"
#include "gateway/ports/probes.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace fieldgate::mqtt {

// Messages between nodes, over the inboxes at one broker: keeps what is to be sent, finds
// questions for answers, and calls who serves a kind. The lane that owns it publishes
// what take() gives, and hands in what comes.
// Thread:  Peers' members, and answers, any. The rest: the lane's.
// Borrows: topics, clock and probe, which outlive this; this outlives whoever has an
//          answer to give.
// Bounds:  k_waiting_max messages and k_waiting_bytes_max to be sent; k_questions_max
//          asked; k_serving_max being answered.
class PeerPost final : public Peers {
 public:
  static constexpr std::size_t k_waiting_max = 4'096;
  static constexpr std::size_t k_waiting_bytes_max = 8'388'608;
  static constexpr std::size_t k_questions_max = 1'024;
  static constexpr std::size_t k_serving_max = 256;
  // An answer that nobody can be waiting for any more is not sent.
  static constexpr std::chrono::seconds k_answer_expiry{10};
  static constexpr std::chrono::seconds k_patience_max{60};

  // `wake`: take() or wake_at() has news; called on any thread, under no lock.
  PeerPost(std::string node, std::string boot_id, const Topics& topics, const Clock& clock, PeerProbe& probe,
           std::function<void()> wake);
  ~PeerPost() override;
  PeerPost(const PeerPost&) = delete;
  PeerPost& operator=(const PeerPost&) = delete;

  void serve(std::string_view kind, Handler handler) override;
  void tell(const std::string& node, std::string_view kind, std::string body, std::chrono::seconds expiry) override;
  void ask(const std::string& node, std::string_view kind, std::string body, std::chrono::milliseconds patience,
           Answer answer) override;
  bool connected() const noexcept override { return connected_.load(std::memory_order_relaxed); }

  // The inbox is subscribed to, or the connection is over.
  void set_connected(bool connected) noexcept { connected_.store(connected, std::memory_order_relaxed); }
  // The next message to be published, if there is one.
  std::optional<Message> take();
  // Was published, and it is not known whether it arrived: once more, if it is still of use.
  void put_back(Message message);
  // take() gave it, and the broker does not take it.
  void refused(PeerDrop why) { drop(why); }
  // Something has come to this node's inbox.
  void received(std::string_view payload, bool retained);
  // Answers Errc::timed_out to questions whose patience has ended.
  void expire();
  std::optional<Monotonic> wake_at() const;
  // Answers Errc::unavailable to all that is asked, from now on.
  void stop();

 private:
  struct Question {
    std::string node;
    std::string kind;
    Monotonic asked;
    Answer answer;
    std::multimap<Monotonic, std::string>::iterator ends;
  };
  struct Serving;  // a question of another node that is being answered

  Message letter(const std::string& node, const PeerEnvelope& envelope, Monotonic until) const;
  bool push(Message message) REQUIRES(mutex_);
  void drop(PeerDrop why);
  void serve_one(PeerEnvelope envelope);
  void answered(PeerEnvelope envelope);
  void reply(const Serving& to, Result<std::string> answer);
  Question remove(std::unordered_map<std::string, Question>::iterator at) REQUIRES(mutex_);

  const std::string node_;
  const std::string boot_id_;
  const Topics& topics_;
  const Clock& clock_;
  PeerProbe& probe_;  // under mutex_
  const std::function<void()> wake_;
  std::map<std::string, Handler, std::less<>> handlers_;  // fixed once the lane starts
  std::atomic<bool> connected_{false};

  mutable Mutex mutex_;
  std::deque<Message> waiting_ GUARDED_BY(mutex_);
  std::size_t waiting_bytes_ GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string, Question> questions_ GUARDED_BY(mutex_);
  std::multimap<Monotonic, std::string> ends_ GUARDED_BY(mutex_);
  std::size_t serving_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;
};

}  // namespace fieldgate::mqtt
