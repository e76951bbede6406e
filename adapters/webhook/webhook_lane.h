// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/settings.h"
#include "gateway/ports/clock.h"
#include "gateway/ports/dead_letters.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/log.h"
#include "gateway/ports/probes.h"

#include <memory>
#include <string>

namespace fieldgate::webhook {

class NameSource;

// This process, as the target of the requests knows it.
struct NodeIdentity {
  std::string node;     // a valid name
  std::string boot_id;  // new at every process start; a valid name
};

// POSTs the log's records in batches to one HTTP(S)/1.1 URL. docs/webhook.md says
// what arrives there and what each answer causes.
// Thread: the members of Lane as said there; all else happens on a thread of its
// own, which start() starts and stop() ends. A name look-up has a helper thread.
// Bounds: one request at a time on each of `connections` connections, with a body
// of batch_bytes_max (or of one record that is larger); 16 MiB of blocks read
// ahead from the log; 16 KiB of an answer's head and 64 KiB of its body.
// The destructor stops with no patience, if stop() was not called.
//
// `clock`, `log`, `probe` and `dead_letters` must outlive the lane. The key of the
// signature is read here; CA, certificate and key also whenever they have changed.
// Errors: Errc::invalid_argument for a name, URL, network, header or status that
// cannot be used; Errc::not_found for a file that cannot be read. The detail names
// the setting or the file.
Result<std::unique_ptr<Lane>> make_webhook_lane(WebhookLaneSettings settings, NodeIdentity node, const Clock& clock,
                                                Log& log, WebhookLaneProbe& probe, DeadLetterStore& dead_letters);

// The same with names looked up in `names`.
Result<std::unique_ptr<Lane>> make_webhook_lane(WebhookLaneSettings settings, NodeIdentity node, const Clock& clock,
                                                Log& log, WebhookLaneProbe& probe, DeadLetterStore& dead_letters,
                                                std::shared_ptr<NameSource> names);

}  // namespace fieldgate::webhook
