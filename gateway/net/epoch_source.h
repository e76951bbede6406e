// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gateway/core/error.h"
#include "gateway/core/ids.h"
#include "gateway/ports/admission.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace fieldgate::net {

// Epochs that rise over every restart, without a store: lets every device in.
//
// An epoch is generation x 2^20 + counter. The generation is the larger of the
// stored one plus one and the wall clock's seconds, so neither a lost file nor a
// clock set back makes an epoch repeat, unless both happen at once. The file is
// written ahead: it holds the end of a stretch of k_stretch generations, so that
// nothing is written while the process runs.
// Thread: make() before the shards start; the rest from any.
class EpochSource final : public Admission {
 public:
  static constexpr std::uint64_t k_counter = std::uint64_t{1} << 20;
  static constexpr std::uint64_t k_stretch = 4'096;

  // Reads and rewrites `state_dir`/generation (fsynced, by rename) and locks
  // `state_dir` for this process until destruction.
  // Errors: the directory cannot be made, locked (another gateway uses it) or
  // written; the file is not ours: it is left untouched.
  static Result<std::unique_ptr<EpochSource>> make(const std::string& state_dir, std::int64_t unix_seconds);
  ~EpochSource() override;
  EpochSource(const EpochSource&) = delete;
  EpochSource& operator=(const EpochSource&) = delete;

  // nullopt once the stretch is used up (four thousand million connections).
  std::optional<Epoch> next() noexcept;
  // The first epoch of this process: above all that earlier ones gave out by next().
  Epoch floor() const noexcept { return first_; }

  // Answers at once, with next().
  void admit(const DeviceId& id, const DeviceProfile& profile, Answer answer) override;
  void renew(const DeviceId& id, Epoch, Answer answer) override { admit(id, {}, std::move(answer)); }

 private:
  EpochSource(std::uint64_t first, std::uint64_t end, int lock_fd) noexcept
      : first_{first}, next_(first), end_(end), lock_fd_(lock_fd) {}

  const Epoch first_;
  std::atomic<std::uint64_t> next_;
  std::uint64_t end_;
  int lock_fd_;
};

}  // namespace fieldgate::net
