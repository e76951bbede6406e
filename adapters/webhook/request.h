// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/webhook/target_url.h"
#include "gateway/core/error.h"
#include "gateway/core/settings.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace fieldgate::webhook {

// The heads of a lane's requests; docs/webhook.md says what each header is for.
// Thread: any; immutable.
class RequestWriter {
 public:
  // `key`: of the signature; empty: requests are not signed.
  // Errors: Errc::invalid_argument for a header that cannot be sent.
  static Result<RequestWriter> make(const TargetUrl& target, WebhookPayload payload,
                                    const std::vector<WebhookHeader>& headers, std::string_view node, std::string key);

  // Request line and headers of the `attempt`-th time (from 1) that `body` is sent.
  std::string head(std::string_view batch_id, std::uint32_t attempt, std::string_view body,
                   std::int64_t unix_seconds) const;

 private:
  std::string fixed_;  // what is the same in all
  std::string key_;
  bool own_idempotency_key_ = true;  // no header of the configuration says otherwise
};

}  // namespace fieldgate::webhook
