// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>

namespace fieldgate::http {

// One thread that things can be handed to.
class Loop {
 public:
  virtual ~Loop() = default;
  // Runs `fn` on the loop's thread, later. Any thread.
  virtual void post(std::function<void()> fn) = 0;
  // Runs `fn` on the loop's thread after `delay`, unless the loop ends first.
  // The loop's thread only.
  virtual void after(std::chrono::milliseconds delay, std::function<void()> fn) = 0;
};

}  // namespace fieldgate::http
