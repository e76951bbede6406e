// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/ports/log.h"
#include "gateway/process/drain.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <list>
#include <string>

namespace fieldgate {

// Where a drain is asked for: the Unix socket `drain` in node.state_dir, for this user and
// root alone. Who connects has asked; it is told how far the drain has come, in lines
// `draining CONNECTIONS RECORDS`, and `drained` at the end.
// Thread: the io_context's. Never waits for who asks.
// Bounds: 8 who ask at once; more are sent away.
class DrainDoor {
 public:
  // `begin` begins the drain, if it has not begun. All outlive this.
  DrainDoor(boost::asio::io_context& io, Log& log, std::function<void()> begin,
            std::function<DrainProgress()> progress);
  // The state folder is this process's own by then. Errors: the socket cannot be made.
  Result<void> open(const std::string& state_dir);
  // Tells all who ask how far it has come, and leaves them.
  void close();

 private:
  using Local = boost::asio::local::stream_protocol;

  void wait_visitor();
  void let_in(Local::socket visitor);
  void tell_again();
  void tell();

  Log& log_;
  const std::function<void()> begin_;
  const std::function<DrainProgress()> progress_;
  Local::acceptor acceptor_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer retry_;  // accepting, after an error
  std::list<Local::socket> visitors_;
  std::string path_;
};

// The other end. Asks the gateway whose state folder that is to drain, and waits until it
// has, on the calling thread. `tell` hears how far it has come.
// Errors: Errc::not_found: no gateway runs there. Errc::unavailable: it ended before it was
// drained, or refuses. Errc::timed_out: not drained within `patience`. The details say so.
Result<void> ask_to_drain(const std::string& state_dir, std::chrono::milliseconds patience,
                          const std::function<void(const DrainProgress&)>& tell);

}  // namespace fieldgate
