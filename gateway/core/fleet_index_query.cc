// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/fleet_index.h"

#include "gateway/core/end_reason.h"

#include <cstring>

#include <algorithm>
#include <limits>
#include <numeric>

namespace fieldgate {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return ::memmem(text.data(), text.size(), part.data(), part.size()) != nullptr;
}

}  // namespace

// The conditions of a query, made ready to be asked of one row after the other.
class FleetIndex::Matcher {
 public:
  Matcher(const FleetIndex& index, const FleetQuery& query, std::int64_t now_unix_ms)
      : index_(index), query_(query), now_unix_ms_(now_unix_ms), text_(lower_case(query.text)) {
    // Where nodes are away, the flag is not all there is to it.
    online_ = index.away_.empty() ? std::nullopt : query.online;
    if (!online_) want(query.online, k_online);
    want(query.registered, k_registered);
    if (query.enabled) {
      want(true, k_registered);
      want(query.enabled, k_enabled);
    }
    if (query.reason && index.away_.empty()) want(false, k_online);
    if (query.reason && !index.away_.empty()) {
      if (query.online.value_or(false)) never_ = true;
      online_ = false;
      lost_wanted_ = *query.reason == to_string(EndReason::node_lost);
    }
    want(query.firmware, index.firmwares_, firmware_);
    want(query.node, index.nodes_, node_);
    if (!lost_wanted_ || index.reasons_.find(*query.reason) != nullptr) want(query.reason, index.reasons_, reason_);
    if (query.last_seen_after) seen_from_ = std::max<std::int64_t>(*query.last_seen_after, 1);
    if (query.last_seen_before) {
      seen_from_ = std::max<std::int64_t>(seen_from_, 1);
      seen_before_ = *query.last_seen_before;
    }
    for (const LabelCondition& condition : query.labels) {
      const bool wanted = condition.is == LabelCondition::Is::present || condition.is == LabelCondition::Is::equal;
      labels_.push_back({label_needle(condition), wanted});
    }
  }

  bool never() const noexcept { return never_; }

  bool operator()(Row row) const {
    const Facts& facts = index_.rows_[row];
    if ((facts.flags & mask_) != want_) return false;
    if (online_ && index_.online(facts) != *online_) return false;
    if (facts.last_seen_unix_ms < seen_from_ || facts.last_seen_unix_ms >= seen_before_) return false;
    if (firmware_ && facts.firmware != *firmware_) return false;
    if (node_ && facts.node != *node_) return false;
    if (reason_ && facts.reason != *reason_ && !(lost_wanted_ && index_.adrift(facts))) return false;
    if (lost_wanted_ && !reason_ && !index_.adrift(facts)) return false;  // no other one is known for it
    if (query_.inactive && index_.inactive(facts, now_unix_ms_, index_.inactive_after_ms_) != *query_.inactive) {
      return false;
    }
    if (query_.inactive_for_ms && !index_.inactive(facts, now_unix_ms_, *query_.inactive_for_ms)) return false;
    if (!query_.id_prefix.empty() && !std::string_view(index_.names_[row].id).starts_with(query_.id_prefix)) {
      return false;
    }
    for (const LabelNeedle& label : labels_) {
      if (contains(index_.label_texts_[row], label.text) != label.wanted) return false;
    }
    return text_.empty() || contains(index_.words_[row], text_);
  }

 private:
  void want(std::optional<bool> value, std::uint8_t flag) {
    if (!value) return;
    const std::uint8_t bit = *value ? flag : 0;
    never_ = never_ || ((mask_ & flag) != 0 && (want_ & flag) != bit);
    mask_ = static_cast<std::uint8_t>(mask_ | flag);
    want_ = static_cast<std::uint8_t>((want_ & ~flag) | bit);
  }
  void want(const std::optional<std::string>& value, const Dictionary<std::string>& values,
            std::optional<std::uint32_t>& number) {
    if (!value) return;
    const std::uint32_t* known = values.find(*value);
    if (known == nullptr) {
      never_ = true;
    } else {
      number = *known;
    }
  }

  const FleetIndex& index_;
  const FleetQuery& query_;
  const std::int64_t now_unix_ms_;
  const std::string text_;
  bool never_ = false;
  std::optional<bool> online_;  // to be asked of each, beside the flags
  bool lost_wanted_ = false;    // whoever is adrift meets the condition of `reason`
  std::uint8_t mask_ = 0;
  std::uint8_t want_ = 0;
  std::int64_t seen_from_ = std::numeric_limits<std::int64_t>::min();
  std::int64_t seen_before_ = std::numeric_limits<std::int64_t>::max();
  std::optional<std::uint32_t> firmware_;
  std::optional<std::uint32_t> node_;
  std::optional<std::uint32_t> reason_;
  struct LabelNeedle {
    std::string text;
    bool wanted;
  };
  std::vector<LabelNeedle> labels_;
};

// The first so many of the rows offered, in the order of a query and behind its cursor.
class FleetIndex::Selection {
 public:
  Selection(const FleetIndex& index, const FleetQuery& query) : index_(index), query_(query), room_(query.limit + 1) {
    heap_.reserve(room_);
    if (query.after) after_key_ = query.after->key;
    if (query.sort == FleetSort::firmware) rank_firmwares();
  }

  void offer(Row row) {
    const Ranked one{key(row), row};
    if (query_.after && !beyond(one)) return;
    const auto before = [this](const Ranked& a, const Ranked& b) { return this->before(a, b); };
    if (heap_.size() == room_) {
      if (!before(one, heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), before);
      heap_.pop_back();
    }
    heap_.push_back(one);
    std::push_heap(heap_.begin(), heap_.end(), before);
  }

  std::vector<Row> take() {
    std::sort_heap(heap_.begin(), heap_.end(), [this](const Ranked& a, const Ranked& b) { return before(a, b); });
    std::vector<Row> out;
    out.reserve(heap_.size());
    for (const Ranked& one : heap_) out.push_back(one.row);
    return out;
  }

 private:
  struct Ranked {
    std::int64_t key;
    Row row;
  };

  std::int64_t key(Row row) const {
    const Facts& facts = index_.rows_[row];
    switch (query_.sort) {
      case FleetSort::id: return 0;
      case FleetSort::last_seen: return facts.last_seen_unix_ms;
      case FleetSort::last_data: return facts.last_data_unix_ms;
      case FleetSort::since: return facts.since_unix_ms;
      case FleetSort::firmware: return firmware_ranks_[facts.firmware];
    }
    return 0;
  }
  std::string_view id(Row row) const { return index_.names_[row].id; }

  bool before(const Ranked& a, const Ranked& b) const {
    if (a.key != b.key) return (a.key < b.key) != query_.descending;
    return query_.descending ? id(b.row) < id(a.row) : id(a.row) < id(b.row);
  }
  bool beyond(const Ranked& one) const {
    if (one.key != after_key_) return (one.key > after_key_) != query_.descending;
    return query_.descending ? id(one.row) < query_.after->id : id(one.row) > query_.after->id;
  }

  // Odd numbers for those there are, so that the cursor's may lie between two.
  void rank_firmwares() {
    firmware_ranks_.resize(index_.firmwares_.numbers_end());
    std::vector<std::pair<std::string_view, std::uint32_t>> sorted;
    index_.firmwares_.for_each(
        [&](std::uint32_t number, const std::string& firmware) { sorted.emplace_back(firmware, number); });
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      firmware_ranks_[sorted[i].second] = 2 * static_cast<std::int64_t>(i) + 1;
    }
    if (!query_.after) return;
    const auto at = std::lower_bound(sorted.begin(), sorted.end(), std::pair(std::string_view(query_.after->text), 0U));
    after_key_ = 2 * (at - sorted.begin()) + (at != sorted.end() && at->first == query_.after->text ? 1 : 0);
  }

  const FleetIndex& index_;
  const FleetQuery& query_;
  const std::size_t room_;
  std::int64_t after_key_ = 0;
  std::vector<std::int64_t> firmware_ranks_;
  std::vector<Ranked> heap_;  // the last of them on top
};

FleetPage FleetIndex::query(const FleetQuery& query, std::int64_t now_unix_ms) const {
  FleetPage page;
  const Matcher matches(*this, query, now_unix_ms);
  if (query.count) page.count = 0;
  if (matches.never() || rows_.empty()) return page;

  std::vector<Row> found = select(query, matches, page);
  const bool more = found.size() > query.limit;
  if (more) found.pop_back();
  page.devices.reserve(found.size());
  for (const Row row : found) page.devices.push_back(device(row, now_unix_ms));
  if (!more) return page;

  const FleetDevice& last = page.devices.back();
  page.next = CursorPosition{0, last.id.str(), {}};
  switch (query.sort) {
    case FleetSort::id: break;
    case FleetSort::last_seen: page.next->key = last.last_seen_unix_ms; break;
    case FleetSort::last_data: page.next->key = last.last_data_unix_ms; break;
    case FleetSort::since: page.next->key = last.since_unix_ms; break;
    case FleetSort::firmware: page.next->text = last.firmware; break;
  }
  return page;
}

std::vector<FleetIndex::Row> FleetIndex::select(const FleetQuery& query, const Matcher& matches,
                                                FleetPage& page) const {
  FleetPlan& plan = page.plan;
  if (query.sort == FleetSort::id) {
    std::vector<Row> found;
    const Walk walked = walk(query, matches, found, plan);
    plan.path = "id";
    if (walked != Walk::given_up) {
      if (query.count && walked == Walk::all_seen && !query.after) {
        page.count = found.size();
      } else if (query.count) {
        plan.path = "id, then scan";
        page.count = count(matches, plan);
      }
      return found;
    }
  }
  plan.path = query.sort == FleetSort::id ? "id, then scan" : "scan";
  plan.matched = 0;
  plan.scanned = rows_.size();
  Selection selection(*this, query);
  for (Row row = 0; row < rows_.size(); ++row) {
    if (!matches(row)) continue;
    ++plan.matched;
    selection.offer(row);
  }
  if (query.count) page.count = plan.matched;
  return selection.take();
}

FleetIndex::Walk FleetIndex::walk(const FleetQuery& query, const Matcher& matches, std::vector<Row>& found,
                                  FleetPlan& plan) const {
  auto first = order_.lower_bound(std::string_view(query.id_prefix));
  auto last = order_.end();
  if (!query.id_prefix.empty() && static_cast<unsigned char>(query.id_prefix.back()) < 0xff) {
    std::string beyond = query.id_prefix;
    ++beyond.back();
    last = order_.lower_bound(std::string_view(beyond));
  }
  if (query.after) {
    const std::string_view id = query.after->id;
    if (!id.starts_with(query.id_prefix)) return Walk::all_seen;
    (query.descending ? last : first) = query.descending ? order_.lower_bound(id) : order_.upper_bound(id);
  }
  const auto go = [&](auto from, auto to) {
    for (; from != to; ++from) {
      if (plan.walked == k_walk_max) return Walk::given_up;
      ++plan.walked;
      if (!matches(*from)) continue;
      ++plan.matched;
      found.push_back(*from);
      if (found.size() > query.limit) return Walk::page_full;
    }
    return Walk::all_seen;
  };
  return query.descending ? go(std::reverse_iterator(last), std::reverse_iterator(first)) : go(first, last);
}

std::size_t FleetIndex::count(const Matcher& matches, FleetPlan& plan) const {
  plan.scanned = rows_.size();
  plan.matched = 0;
  for (Row row = 0; row < rows_.size(); ++row) plan.matched += matches(row) ? 1 : 0;
  return plan.matched;
}

}  // namespace fieldgate
