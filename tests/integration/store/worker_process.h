// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

namespace fieldgate::store {

// store_worker.cc in a process of its own, which ends with this.
class WorkerProcess {
 public:
  // `prefix` comes before the program: a shell that mounts something, say.
  explicit WorkerProcess(const std::string& file, const std::vector<std::string>& prefix = {});
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  std::string read_line();  // empty: it has ended
  void send(const std::string& command);
  std::string ask(const std::string& command);
  void kill();  // SIGKILL, and waits

 private:
  pid_t pid_ = -1;
  std::FILE* in_ = nullptr;   // to the process
  std::FILE* out_ = nullptr;  // from it
};

// Words to put before a program so that `dir` is a file system of its own (for it alone):
// mount's options, then what else a shell is to do first.
std::vector<std::string> with_mount(const std::string& dir, const std::string& options, const std::string& then);
// Whether this process may do that.
bool can_mount();

}  // namespace fieldgate::store
