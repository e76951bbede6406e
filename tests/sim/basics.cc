// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/basics.h"

#include <chrono>

namespace fieldgate::sim {

Now read_clocks() noexcept {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  return {duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(),
          duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

}  // namespace fieldgate::sim
