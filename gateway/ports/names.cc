// SPDX-License-Identifier: Apache-2.0
#include "gateway/ports/authenticator.h"
#include "gateway/ports/downlink.h"
#include "gateway/ports/lane.h"
#include "gateway/ports/spool.h"
#include "gateway/ports/uplink.h"
#include "gateway/ports/wire.h"

namespace fieldgate {

std::string_view to_string(LaneState state) noexcept {
  switch (state) {
    case LaneState::connecting: return "connecting";
    case LaneState::running: return "running";
    case LaneState::backing_off: return "backing_off";
    case LaneState::paused: return "paused";
    case LaneState::stopped: return "stopped";
  }
  return "unknown";
}

std::string_view to_string(UplinkLevel level) noexcept {
  switch (level) {
    case UplinkLevel::normal: return "normal";
    case UplinkLevel::reduced: return "reduced";
    case UplinkLevel::withheld: return "withheld";
  }
  return "unknown";
}

std::string_view to_string(SpoolState state) noexcept {
  switch (state) {
    case SpoolState::ok: return "ok";
    case SpoolState::full: return "full";
    case SpoolState::failed: return "failed";
  }
  return "unknown";
}

std::string_view to_string(AckStage stage) noexcept {
  switch (stage) {
    case AckStage::unspecified: return "unspecified";
    case AckStage::accepted: return "accepted";
    case AckStage::spooled: return "spooled";
    case AckStage::forwarded: return "forwarded";
  }
  return "unknown";
}

std::string_view to_string(IdentityProof proof) noexcept {
  switch (proof) {
    case IdentityProof::certificate: return "certificate";
    case IdentityProof::token: return "token";
    case IdentityProof::jwt: return "jwt";
  }
  return "unknown";
}

std::string_view to_string(Delivery delivery) noexcept {
  switch (delivery) {
    case Delivery::sent: return "sent";
    case Delivery::offline: return "offline";
    case Delivery::busy: return "busy";
    case Delivery::too_large: return "too_large";
    case Delivery::unsupported: return "unsupported";
  }
  return "unknown";
}

}  // namespace fieldgate
