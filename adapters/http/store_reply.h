// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/http/loop.h"
#include "adapters/http/message.h"
#include "adapters/http/problem.h"
#include "gateway/ports/control.h"
#include "gateway/ports/log.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

// How answers of the store come back to the requests that wait for them.
namespace fieldgate::http {

// After this a request is answered without the store. Less than the server's own
// patience with an answer, k_store_patience included.
inline constexpr std::chrono::milliseconds k_store_deadline{5'000};
inline constexpr std::chrono::milliseconds k_store_patience{5'000};

// A reply that runs `then` on the loop, once: with what comes or, after `deadline`, with
// Errc::timed_out. What comes later, or after the loop's end, is dropped.
// Thread: the loop's; the reply itself may be called on any.
template <class T>
Reply<T> on_loop(const std::weak_ptr<Loop>& loop, std::chrono::milliseconds deadline,
                 std::function<void(Result<T>)> then) {
  // Looked into on the loop alone; what is left for the store's thread to destroy is empty.
  auto kept = std::make_shared<std::function<void(Result<T>)>>(std::move(then));
  const auto give = [](const auto& function, Result<T> result) {
    if (const auto waiting = std::exchange(*function, nullptr)) waiting(std::move(result));
  };
  if (const std::shared_ptr<Loop> here = loop.lock()) {
    here->after(deadline, [kept, give] { give(kept, make_error(Errc::timed_out, "no answer in time")); });
  }
  return [loop, kept = std::move(kept), give](Result<T> result) {
    const std::shared_ptr<Loop> here = loop.lock();
    if (here == nullptr) return;
    here->post([kept, give, result = std::move(result)]() mutable { give(kept, std::move(result)); });
  };
}

// What an error of the store means that says nothing of the thing asked for; nullopt:
// it does say something, or has to be given a meaning by who asked. What nobody should
// ever see is in `log`, too.
std::optional<Response> store_problem(const Error& error, std::string_view request_id, Log& log);

Response no_store(std::string_view request_id);

}  // namespace fieldgate::http
