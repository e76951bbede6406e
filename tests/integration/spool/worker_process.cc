// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/spool/worker_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace fieldgate::spool {
namespace {

std::string worker_path() {
  const char* bin = std::getenv("FIELDGATE_BIN");
  if (bin != nullptr) return std::string(bin) + "/fieldgate_spool_worker";
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "fieldgate_spool_worker";
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  return ends;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

WorkerProcess::WorkerProcess(const std::string& dir, std::uint64_t bytes_max, std::uint64_t memory_bytes_max,
                             const std::vector<std::string>& prefix, const std::vector<std::string>& environment) {
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words = prefix;
  for (const std::string& word : {worker_path(), dir, std::to_string(bytes_max), std::to_string(memory_bytes_max)}) {
    words.push_back(word);
  }
  std::vector<std::string> variables = environment;
  for (char** at = environ; *at != nullptr; ++at) variables.emplace_back(*at);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  const auto to = make_pipe();
  const auto from = make_pipe();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    ::execvpe(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  in_ = ::fdopen(to[1], "w");
  out_ = ::fdopen(from[0], "r");
}

WorkerProcess::~WorkerProcess() {
  kill();
  std::fclose(out_);
}

std::string WorkerProcess::read_line() {
  char* line = nullptr;
  std::size_t capacity = 0;
  const ssize_t length = ::getline(&line, &capacity, out_);
  std::string text(line, length > 0 ? static_cast<std::size_t>(length) - 1 : 0);
  std::free(line);
  return text;
}

void WorkerProcess::send(const std::string& command) {
  std::fprintf(in_, "%s\n", command.c_str());
  std::fflush(in_);
}

std::string WorkerProcess::ask(const std::string& command) {
  send(command);
  return read_line();
}

WorkerUsage WorkerProcess::usage() {
  std::istringstream words(ask("usage"));
  WorkerUsage usage;
  std::string head;
  words >> head >> usage.state >> usage.records >> usage.first >> usage.next >> usage.durable >> usage.checkpoint >>
      usage.bytes;
  if (head != "usage") throw std::runtime_error("the worker has ended");
  std::getline(words >> std::ws, usage.error);
  return usage;
}

bool WorkerProcess::wait_for(const std::function<bool(const WorkerUsage&)>& met) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!met(usage())) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

void WorkerProcess::kill() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  reap();
}

void WorkerProcess::finish() {
  if (in_ != nullptr) std::fclose(std::exchange(in_, nullptr));
  reap();
}

void WorkerProcess::reap() {
  if (in_ != nullptr) std::fclose(std::exchange(in_, nullptr));
  if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

bool can_mount() {
  return std::system("unshare -m sh -c 'mount -t tmpfs -o size=1m tmpfs /mnt' >/dev/null 2>&1") == 0;  // NOLINT
}

std::vector<std::string> on_small_disk(const std::string& dir, int mebibytes, const std::string& then) {
  const std::string script =
      "mount -t tmpfs -o size=" + std::to_string(mebibytes) + "m tmpfs '" + dir + "' && " + then + " && exec \"$@\"";
  return {"unshare", "-m", "sh", "-c", script, "sh"};
}

}  // namespace fieldgate::spool
