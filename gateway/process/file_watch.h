// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/ports/log.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace fieldgate {

// Says when a file of a set has changed, however that was done: written in place,
// replaced by rename, or a symbolic link on the way to it exchanged, as Kubernetes does
// with the `..data` of mounted Secrets and ConfigMaps.
// The kernel tells of changes in the folders (inotify(7)); what counts is whether the
// files are others than before. It says so once nothing has happened for `quiet`, at the
// latest after ten times that; and every `look_every` it looks by itself, for file systems
// that tell nothing.
// Thread: the io_context's. Looks at files: stat and readlink alone.
// Bounds: none of its own; the caller's set.
class FileWatch {
 public:
  struct Pace {
    std::chrono::milliseconds quiet{300};
    std::chrono::milliseconds look_every{30'000};
  };

  // `changed` may call watch(). Works without inotify, if the kernel gives none: a log line says so.
  FileWatch(boost::asio::io_context& io, Log& log, Pace pace, std::function<void()> changed);

  // From now on these. Of one that was not among them before, as it is now is no change.
  void watch(const std::vector<std::string>& files);
  // As they all are now is no change.
  void seen();
  void stop();

 private:
  void add_folders();
  void wait_event();
  void drain_events();
  void look_later();
  void look();
  void arm_look();

  Log& log_;
  const Pace pace_;
  const std::function<void()> changed_;
  boost::asio::posix::stream_descriptor events_;
  boost::asio::steady_timer quiet_;
  boost::asio::steady_timer look_;
  std::map<std::string, std::string> files_;  // with what tells one state of them from another
  std::vector<int> watches_;
  std::chrono::steady_clock::time_point first_event_{};
  bool waiting_ = false;  // for quiet
};

// The folders in which `file`, or a link on the way to it, has its name. For tests.
std::vector<std::string> folders_on_the_way(const std::string& file);

}  // namespace fieldgate
