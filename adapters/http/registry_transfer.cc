// SPDX-License-Identifier: Apache-2.0
#include "adapters/http/registry_transfer.h"

#include "adapters/http/control_views.h"
#include "adapters/http/json_writer.h"
#include "adapters/http/problem.h"
#include "adapters/http/registry_body.h"
#include "adapters/http/store_reply.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace fieldgate::http {
namespace {

constexpr std::chrono::milliseconds k_batch_deadline{30'000};

class Import final : public BodySource, public std::enable_shared_from_this<Import> {
 public:
  Import(std::shared_ptr<BodySource> lines, ImportContext context)
      : lines_(std::move(lines)), context_(std::move(context)) {}

  // What was taken is written down even if nobody waits for the answer any more.
  ~Import() override {
    if (!concluded_) log("the client has gone");
  }

  void next(Give give) override {
    give_ = std::move(give);
    go_on();
  }

 private:
  struct Line {
    std::uint64_t number = 0;
    std::string id{};
    std::string fault{};  // empty: it is in the batch
  };

  // Either gives something, or waits for what it asks for.
  void go_on() {
    while (batch_.size() < k_import_batch && take_line()) {
    }
    if (batch_.size() >= k_import_batch || (ended_ && !batch_.empty())) return hand_over();
    if (ended_) return conclude({}, {});
    lines_->next([weak = weak_from_this()](BodyPiece piece) {
      if (const auto self = weak.lock()) self->arrived(std::move(piece));
    });
  }

  void arrived(BodyPiece piece) {
    text_.erase(0, std::exchange(used_, 0));
    text_ += piece.bytes;
    if (piece.then == BodyPiece::Then::broken) {
      ended_ = true;
      broken_ = true;
      text_.erase(text_.rfind('\n') + 1);  // what was begun is not whole
    }
    if (piece.then == BodyPiece::Then::end) ended_ = true;
    go_on();
  }

  // The next line that has arrived, into the batch; false: there is none.
  bool take_line() {
    const std::size_t end = text_.find('\n', used_);
    const bool whole = end != std::string::npos;
    if (!whole && !ended_) return skip_if_too_long();
    if (!whole && used_ == text_.size()) return false;
    const std::string_view line = std::string_view(text_).substr(used_, whole ? end - used_ : std::string::npos);
    const bool too_long = std::exchange(skipping_, false) || line.size() > k_import_line_bytes_max;
    ++count_;
    if (too_long) {
      batch_.push_back({count_, {}, "longer than " + std::to_string(k_import_line_bytes_max) + " bytes"});
    } else if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      read_line(line);
    }
    used_ = whole ? end + 1 : text_.size();
    return true;
  }

  // A line without an end in sight is not kept.
  bool skip_if_too_long() {
    if (text_.size() - used_ > k_import_line_bytes_max) {
      used_ = text_.size();
      skipping_ = true;
    }
    return false;
  }

  void read_line(std::string_view line) {
    BodyFaults faults;
    ImportLine read;
    if (const Result<boost::json::object> object = parse_sent_object(line)) {
      read = read_import_line(*object, faults);
    } else {
      faults.push_back({"", object.error().detail});
    }
    Line out{count_, read.id, {}};
    for (const BodyFault& fault : faults) {
      if (!out.fault.empty()) out.fault += "; ";
      out.fault += fault.pointer.empty() ? fault.detail : fault.pointer + ": " + fault.detail;
    }
    if (faults.empty()) {
      items_.push_back(
          {*DeviceId::parse(read.id), std::move(read.patch), PutMode::replace, std::move(read.credentials)});
    }
    batch_.push_back(std::move(out));
  }

  void hand_over() {
    if (items_.empty()) return report({});
    // Lines must not be judged by what the same batch makes of the device.
    for (const Registry::Item& item : items_) before_.push_back(revision_of(item.id));
    context_.registry.put_all(
        std::exchange(items_, {}), context_.by,
        on_loop<std::vector<Result<DeviceEntry>>>(
            context_.loop, k_batch_deadline, [weak = weak_from_this()](Result<std::vector<Result<DeviceEntry>>> done) {
              const auto self = weak.lock();
              if (self == nullptr) return;  // the client has gone
              if (!done)
                return self->conclude(problems()[static_cast<std::size_t>(Problem::store_unavailable)].type,
                                      done.error().detail);
              self->report(std::move(*done));
            }));
  }

  // nullopt: it is not in the registry.
  std::optional<std::uint64_t> revision_of(const DeviceId& id) const {
    const auto device = context_.index.find(id.str(), context_.clock.unix_ms());
    if (!device || device->registry == nullptr) return std::nullopt;
    return device->registry->revision;
  }

  void report(std::vector<Result<DeviceEntry>> done) {
    BodyPiece piece;
    std::size_t at = 0;
    for (const Line& line : std::exchange(batch_, {})) {
      if (!line.fault.empty()) {
        ++errors_;
        piece.bytes += outcome(line, "error", line.fault);
        continue;
      }
      const std::size_t i = at++;
      if (i >= done.size() || !done[i]) {
        ++errors_;
        piece.bytes += outcome(line, "error", i < done.size() ? done[i].error().detail : "the store did not say");
        continue;
      }
      const DeviceEntry& entry = *done[i];
      const std::optional<std::uint64_t> before = std::max(before_[i], revision_of(entry.id));
      context_.index.apply(RegistryChange{entry.id, entry.revision, entry});
      const bool created = !before_[i] && entry.created_unix_ms == entry.updated_unix_ms && fresh(entry.id, done, i);
      const bool unchanged = !created && before == entry.revision && before_[i] == before;
      ++(created ? created_ : unchanged ? unchanged_ : updated_);
      if (!context_.errors_only) {
        piece.bytes += outcome(line, created ? "created" : unchanged ? "unchanged" : "updated", {});
      }
    }
    before_.clear();
    if (piece.bytes.empty()) return go_on();
    give(std::move(piece));
  }

  // Whether no earlier line of the batch was about the same device.
  static bool fresh(const DeviceId& id, const std::vector<Result<DeviceEntry>>& done, std::size_t i) {
    return std::none_of(done.begin(), done.begin() + static_cast<std::ptrdiff_t>(i),
                        [&id](const auto& entry) { return entry && entry->id == id; });
  }

  static std::string outcome(const Line& line, std::string_view outcome, std::string_view fault) {
    JsonWriter json;
    json.begin_object().field("line", line.number).key("id");
    line.id.empty() ? json.null() : json.value(line.id);
    json.field("outcome", outcome);
    if (!fault.empty()) json.field("error", fault);
    json.end_object();
    return std::move(json).take() + '\n';
  }

  // `stopped`: the type of the problem that ended it early; empty: none did.
  void conclude(std::string_view stopped, std::string_view detail) {
    if (broken_ && stopped.empty()) {
      stopped = problems()[static_cast<std::size_t>(Problem::malformed_request)].type;
      detail = "the body was cut off; a line that was begun was not taken";
    }
    JsonWriter json;
    json.begin_object()
        .field("done", stopped.empty())
        .field("lines", count_)
        .field("created", created_)
        .field("updated", updated_)
        .field("unchanged", unchanged_)
        .field("errors", errors_);
    if (!stopped.empty()) json.field("stopped", stopped).field("detail", detail);
    json.end_object();
    concluded_ = true;
    log(stopped);
    give({std::move(json).take() + '\n', BodyPiece::Then::end});
  }

  // `lines` is those that have arrived, which may be more than the store has told the outcome of.
  void log(std::string_view stopped) const {
    context_.log.info("api_import", {{"by", context_.by},
                                     {"id", context_.request_id},
                                     {"lines", count_},
                                     {"created", created_},
                                     {"updated", updated_},
                                     {"errors", errors_},
                                     {"stopped", stopped}});
  }

  void give(BodyPiece piece) {
    if (const Give give = std::exchange(give_, nullptr)) give(std::move(piece));
  }

  const std::shared_ptr<BodySource> lines_;
  const ImportContext context_;
  Give give_;
  std::string text_;      // what has arrived
  std::size_t used_ = 0;  // of it
  bool ended_ = false;
  bool broken_ = false;
  bool concluded_ = false;
  bool skipping_ = false;  // the line that text_ begins with was too long
  std::vector<Line> batch_;
  std::vector<Registry::Item> items_;                 // of those lines of the batch that are good
  std::vector<std::optional<std::uint64_t>> before_;  // their revisions
  std::uint64_t count_ = 0;
  std::uint64_t created_ = 0;
  std::uint64_t updated_ = 0;
  std::uint64_t unchanged_ = 0;
  std::uint64_t errors_ = 0;
};

class ExportAll final : public BodySource, public std::enable_shared_from_this<ExportAll> {
 public:
  ExportAll(std::weak_ptr<Loop> loop, Registry& registry) : loop_(std::move(loop)), registry_(registry) {}

  void next(Give give) override {
    registry_.list(after_, k_export_entries,
                   on_loop<std::vector<DeviceEntry>>(
                       loop_, k_store_deadline,
                       [weak = weak_from_this(), give = std::move(give)](const Result<std::vector<DeviceEntry>>& page) {
                         if (const auto self = weak.lock()) give(self->piece(page));
                       }));
  }

 private:
  BodyPiece piece(const Result<std::vector<DeviceEntry>>& page) {
    if (!page) return {{}, BodyPiece::Then::broken};
    if (page->empty()) return {{}, BodyPiece::Then::end};
    BodyPiece out;
    for (const DeviceEntry& entry : *page) out.bytes += entry_line(entry);
    after_ = page->back().id.str();
    return out;
  }

  const std::weak_ptr<Loop> loop_;
  Registry& registry_;
  std::string after_;
};

}  // namespace

std::shared_ptr<BodySource> make_import(std::shared_ptr<BodySource> lines, ImportContext context) {
  return std::make_shared<Import>(std::move(lines), std::move(context));
}

std::shared_ptr<BodySource> make_export(std::weak_ptr<Loop> loop, Registry& registry) {
  return std::make_shared<ExportAll>(std::move(loop), registry);
}

}  // namespace fieldgate::http
