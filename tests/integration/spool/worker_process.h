// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fieldgate::spool {

// What the worker says of its spool.
struct WorkerUsage {
  std::string state;
  std::uint64_t records = 0;
  std::uint64_t first = 0;
  std::uint64_t next = 0;
  std::uint64_t durable = 0;
  std::uint64_t checkpoint = 0;
  std::uint64_t bytes = 0;
  std::string error;
};

// A process of its own with a spool (spool_worker.cc). It ends with this.
class WorkerProcess {
 public:
  // `prefix` comes before the program: a shell that mounts something, say.
  // `environment`: NAME=VALUE, beside what this process has.
  WorkerProcess(const std::string& dir, std::uint64_t bytes_max, std::uint64_t memory_bytes_max,
                const std::vector<std::string>& prefix = {}, const std::vector<std::string>& environment = {});
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  // The next line; empty: it has ended.
  std::string read_line();
  void send(const std::string& command);
  std::string ask(const std::string& command);
  WorkerUsage usage();
  // Asks for usage() until `met`. False: not within a time that no machine needs.
  bool wait_for(const std::function<bool(const WorkerUsage&)>& met);
  // At once. Idempotent.
  void kill();
  // Closes its standard input and waits: it closes its spool.
  void finish();

 private:
  void reap();

  pid_t pid_ = -1;
  std::FILE* in_ = nullptr;   // to the process
  std::FILE* out_ = nullptr;  // from it
};

// Whether this process may make a mount namespace and mount a tmpfs there.
bool can_mount();

// Words to put before a program so that `dir` is a tmpfs of `mebibytes` for it alone;
// `then`: what else a shell is to do first.
std::vector<std::string> on_small_disk(const std::string& dir, int mebibytes, const std::string& then = "true");

}  // namespace fieldgate::spool
