// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/peers.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fieldgate::test {

// Messages between nodes in one process, which arrive when the test says so: in order, or
// not, or twice, or never. One thread.
class FakePeerNet {
 public:
  struct Letter {
    std::string from;
    std::string to;
    std::string kind;
    std::string body;
    std::string boot_id = "boot";
    Peers::Answer answer{};  // set: it is a question
  };

  class Node final : public Peers {
   public:
    Node(FakePeerNet& net, std::string name) : net_(net), name_(std::move(name)) {}
    void serve(std::string_view kind, Handler handler) override {
      handlers_.insert_or_assign(std::string(kind), std::move(handler));
    }
    void tell(const std::string& node, std::string_view kind, std::string body, std::chrono::seconds) override {
      if (node != name_) net_.letters.push_back({name_, node, std::string(kind), std::move(body), boot_id});
    }
    void ask(const std::string& node, std::string_view kind, std::string body, std::chrono::milliseconds,
             Answer answer) override {
      net_.letters.push_back({name_, node, std::string(kind), std::move(body), boot_id, std::move(answer)});
    }
    bool connected() const noexcept override { return true; }
    void take(const Letter& letter) {
      const auto handler = handlers_.find(letter.kind);
      if (handler != handlers_.end()) {
        handler->second({letter.from, letter.boot_id, letter.body}, letter.answer);
      } else if (letter.answer) {
        letter.answer(make_error(Errc::timed_out, "nobody is there"));
      }
    }
    // Its process has ended.
    void forget() { handlers_.clear(); }

    std::string boot_id = "boot";

   private:
    FakePeerNet& net_;
    const std::string name_;
    std::map<std::string, Handler, std::less<>> handlers_;
  };

  Node& node(const std::string& name) {
    auto& node = nodes_[name];
    if (node == nullptr) node = std::make_unique<Node>(*this, name);
    return *node;
  }
  // Takes the letter out, and hands it over.
  void deliver(std::size_t at) {
    const Letter letter = std::move(letters.at(at));
    letters.erase(letters.begin() + static_cast<std::ptrdiff_t>(at));
    hand(letter);
  }
  void hand(const Letter& letter) {
    if (const auto to = nodes_.find(letter.to); to != nodes_.end()) to->second->take(letter);
  }
  // All that is on its way never arrives; questions are answered by time.
  void lose() {
    for (const Letter& letter : std::exchange(letters, {})) {
      if (letter.answer) letter.answer(make_error(Errc::timed_out, "no answer came"));
    }
  }
  std::size_t count(std::string_view kind) const {
    return static_cast<std::size_t>(std::ranges::count(letters, kind, &Letter::kind));
  }

  std::deque<Letter> letters;  // on their way

 private:
  std::map<std::string, std::unique_ptr<Node>> nodes_;
};

}  // namespace fieldgate::test
