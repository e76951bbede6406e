// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/answer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace fieldgate::webhook {
namespace {

using std::chrono::seconds;

constexpr std::size_t k_excerpt_bytes = 100;
constexpr std::int64_t k_wait_max = std::numeric_limits<std::int32_t>::max();
constexpr std::array<std::string_view, 12> k_months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string said(const Answer& answer) {
  std::string text = "the target answered " + std::to_string(answer.status);
  const std::string body = printable(answer.body, k_excerpt_bytes);
  if (!body.empty()) text += " (" + body + ")";
  return text;
}

std::string advice(const Answer& answer) {
  switch (answer.status) {
    case 401:
    case 403: return "check the credentials in headers, the client certificate and the signature's key";
    case 407: return "a proxy in between wants credentials: check url and headers";
    default: return "check url and headers";
  }
}

// The words of a date, separated by spaces, commas or dashes.
std::array<std::string_view, 6> words(std::string_view text, std::size_t& count) {
  std::array<std::string_view, 6> found{};
  count = 0;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(" ,-");
    const std::string_view word = text.substr(0, end);
    if (!word.empty()) {
      if (count == found.size()) return count = 0, found;
      found[count++] = word;
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return found;
}

std::optional<int> number(std::string_view text, std::size_t digits_min, std::size_t digits_max) {
  if (text.size() < digits_min || text.size() > digits_max) return std::nullopt;
  int value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.front() == '-') return std::nullopt;
  return value;
}

std::optional<seconds> time_of_day(std::string_view text) {
  if (text.size() != 8 || text[2] != ':' || text[5] != ':') return std::nullopt;
  const auto h = number(text.substr(0, 2), 2, 2), m = number(text.substr(3, 2), 2, 2), s = number(text.substr(6), 2, 2);
  if (!h || !m || !s || *h > 23 || *m > 59 || *s > 60) return std::nullopt;  // 60: a leap second
  return seconds(*h * 3'600 + *m * 60 + *s);
}

std::optional<std::int64_t> unix_time(std::optional<int> year, std::string_view month, std::optional<int> day,
                                      std::string_view time) {
  const auto at = std::ranges::find(k_months, month);
  const auto clock = time_of_day(time);
  if (!year || !day || !clock || at == k_months.end()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(at - k_months.begin()) + 1),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return (std::chrono::sys_days(date).time_since_epoch() + *clock) / seconds(1);
}

// RFC 9110 section 5.6.7:
//   Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
//   Sunday, 06-Nov-94 08:49:37 GMT    RFC 850
//   Sun Nov  6 08:49:37 1994          asctime
std::optional<std::int64_t> parse_http_date(std::string_view text, std::int64_t now) {
  std::size_t count = 0;
  const auto w = words(text, count);
  if (count == 5) return unix_time(number(w[4], 4, 4), w[1], number(w[2], 1, 2), w[3]);
  if (count != 6 || w[5] != "GMT") return std::nullopt;
  if (w[3].size() == 4) return unix_time(number(w[3], 4, 4), w[2], number(w[1], 2, 2), w[4]);
  const auto short_year = number(w[3], 2, 2);
  if (!short_year) return std::nullopt;
  // The century that does not put it more than 50 years ahead.
  const auto today = std::chrono::floor<std::chrono::days>(std::chrono::sys_seconds(seconds(now)));
  const int this_year = int(std::chrono::year_month_day(today).year());
  int year = this_year - this_year % 100 + *short_year;
  if (year > this_year + 50) year -= 100;
  return unix_time(year, w[2], number(w[1], 2, 2), w[4]);
}

}  // namespace

Judgement judge(const Answer& answer, const std::set<unsigned>& retry_statuses) {
  const unsigned status = answer.status;
  if (status >= 200 && status < 300) return {WebhookOutcome::accepted, {}};
  if (status >= 300 && status < 400) {
    const std::string to = printable(std::string_view(answer.location).substr(0, answer.location.find('?')), 200);
    return {WebhookOutcome::redirected, "the target redirects (" + std::to_string(status) + ") to " +
                                            (to.empty() ? "nowhere" : to) +
                                            ": redirects are not followed; put the final address in url"};
  }
  if (status >= 400 && status < 500 && !retry_statuses.contains(status)) {
    return {WebhookOutcome::refused, said(answer)};
  }
  if (status == 429 || status == 503) return {WebhookOutcome::throttled, said(answer)};
  if (status >= 400 && status < 500) {
    // Of the moment: nobody here can do anything about it.
    if (status == 408 || status == 421 || status == 425) return {WebhookOutcome::server_error, said(answer)};
    return {WebhookOutcome::denied, said(answer) + ": " + advice(answer)};
  }
  return {WebhookOutcome::server_error, said(answer)};
}

std::optional<seconds> parse_retry_after(std::string_view text, std::int64_t now_unix_seconds) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return std::nullopt;
  text = text.substr(first, text.find_last_not_of(" \t") - first + 1);
  if (text.find_first_not_of("0123456789") == std::string_view::npos) {
    std::int64_t wait = k_wait_max;  // stays if it is more than fits
    std::from_chars(text.data(), text.data() + text.size(), wait);
    return seconds(std::min(wait, k_wait_max));
  }
  const auto at = parse_http_date(text, now_unix_seconds);
  if (!at) return std::nullopt;
  return seconds(std::clamp<std::int64_t>(*at - now_unix_seconds, 0, k_wait_max));
}

std::string printable(std::string_view text, std::size_t bytes_max) {
  std::string out;
  for (const char c : text) {
    if (out.size() == bytes_max) break;
    const bool visible = c > ' ' && c < 0x7F;
    if (visible) {
      out.push_back(c);
    } else if (!out.empty() && out.back() != ' ') {
      out.push_back(' ');
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace fieldgate::webhook
