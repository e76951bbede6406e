// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adapters/webhook/address_policy.h"
#include "gateway/core/error.h"
#include "gateway/ports/log.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace fieldgate::webhook {

using Addresses = std::vector<boost::asio::ip::address>;

// Where a name's addresses come from.
class NameSource {
 public:
  virtual ~NameSource() = default;
  // Waits for as long as it takes. A thread of its own; one call at a time.
  // Errors: Errc::unavailable, saying why.
  virtual Result<Addresses> look_up(const std::string& host) = 0;
};

// What the machine itself uses (getaddrinfo).
std::shared_ptr<NameSource> system_names();

// The addresses that one target may be reached at. Each connection asks anew, and
// connects to exactly what it is given: there is no look-up between check and use.
// A look-up that fails or hangs gives the addresses that were good last.
// Thread: the lane's; a look-up has a helper thread, at most one.
class Directory {
 public:
  struct Parts {
    boost::asio::io_context& io;
    std::shared_ptr<NameSource> names;
    AddressPolicy policy;
    Log& log;
    std::string lane;  // name, for the log
    std::string host;
    std::uint16_t port = 0;
    std::chrono::milliseconds patience{2'500};  // with a look-up
  };
  // Only addresses that the policy lets pass, at least one.
  // Errors: Errc::forbidden: none passes, naming one and why; Errc::unavailable:
  // the name cannot be resolved, and never could.
  using Found = std::function<void(Result<std::vector<boost::asio::ip::tcp::endpoint>>)>;

  explicit Directory(Parts parts);
  // Gives up a look-up that is under way: nobody is answered any more.
  ~Directory();

  // Answers from the loop, never from within. Whoever asks while a look-up is under
  // way shares its answer.
  void find(Found found);

 private:
  struct Attempt;
  void start();
  void finished(const std::shared_ptr<Attempt>& attempt, Result<Addresses> addresses);
  void conclude(const Result<Addresses>& addresses);
  Result<std::vector<boost::asio::ip::tcp::endpoint>> check(const Addresses& addresses) const;
  void abandon();

  Parts parts_;
  boost::asio::steady_timer timer_;
  std::vector<Found> waiting_;
  std::shared_ptr<Attempt> attempt_;
  std::thread helper_;
  Addresses last_good_;
  bool failing_ = false;  // the last look-up did: logged once
};

}  // namespace fieldgate::webhook
