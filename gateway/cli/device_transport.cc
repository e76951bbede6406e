// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/device_transport.h"

#include <curl/curl.h>

#include <optional>
#include <utility>

namespace fieldgate {
namespace {

constexpr long k_connect_ms = 10'000;
constexpr long k_answer_ms = 30'000;
constexpr long k_silence_s = 60;
constexpr long k_continue_ms = 5'000;
constexpr std::size_t k_body_bytes_max = 64UL * 1'024 * 1'024;

struct CurlDeleter {
  void operator()(CURL* curl) const noexcept { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, CurlDeleter>;

void add(Headers& headers, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(headers.get(), line.c_str())) {
    (void)headers.release();
    headers.reset(longer);
  }
}

// One request on its way: what libcurl's callbacks work on.
struct Exchange {
  CURL* curl;
  const ApiRequest& request;
  ApiAnswer answer;
  std::optional<Error> given_up;

  static std::size_t read(char* into, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    const auto got = exchange.request.read(into, size * count);
    if (got) return *got;
    exchange.given_up = got.error();
    return CURL_READFUNC_ABORT;
  }

  static std::size_t write(char* from, std::size_t size, std::size_t count, void* self) {
    return static_cast<Exchange*>(self)->take({from, size * count}) ? size * count : 0;
  }

  bool take(std::string_view piece) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (request.write && status < 300) {
      const auto taken = request.write(piece);
      if (!taken) given_up = taken.error();
      return taken.has_value();
    }
    if (answer.body.size() + piece.size() > k_body_bytes_max) {
      given_up = make_error(Errc::unavailable, "the answer is longer than 64 MiB");
      return false;
    }
    answer.body += piece;
    return true;
  }
};

std::string header_of(CURL* curl, const char* name) {
  curl_header* found = nullptr;
  return curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? found->value : "";
}

class CurlTransport final : public ApiTransport {
 public:
  explicit CurlTransport(const ApiAddress& address) : address_(address) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (ready == CURLE_OK) curl_.reset(curl_easy_init());
  }

  Result<ApiAnswer> exchange(const ApiRequest& request) override {
    if (!curl_) return make_error(Errc::unavailable, "libcurl cannot be started");
    CURL* const curl = curl_.get();
    curl_easy_reset(curl);  // keeps the connection
    Exchange exchange{curl, request, {}, {}};
    std::string complaint(CURL_ERROR_SIZE, '\0');
    const Headers headers = headers_of(request);
    set_up(request, exchange, complaint.data(), headers.get());
    const CURLcode code = curl_easy_perform(curl);
    if (exchange.given_up) return std::move(*exchange.given_up);
    if (code != CURLE_OK) {
      complaint.resize(complaint.find('\0'));
      return make_error(Errc::unavailable,
                        address_.url + ": " + (complaint.empty() ? curl_easy_strerror(code) : complaint));
    }
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    exchange.answer.status = static_cast<int>(status);
    exchange.answer.content_type = header_of(curl, "Content-Type");
    exchange.answer.retry_after = header_of(curl, "Retry-After");
    return std::move(exchange.answer);
  }

 private:
  Headers headers_of(const ApiRequest& request) const {
    Headers headers;
    add(headers, "Accept: " + request.accept);
    // What is streamed may be long, and a refusal given while it is under way is lost with the connection:
    // so it waits for 100 (Continue), RFC 9110 section 10.1.1. What is short goes at once.
    add(headers, request.read ? "Expect: 100-continue" : "Expect:");
    if (!address_.token.empty()) add(headers, "Authorization: Bearer " + address_.token);
    add(headers, request.content_type.empty() ? "Content-Type:" : "Content-Type: " + request.content_type);
    if (!request.if_match.empty()) add(headers, "If-Match: " + request.if_match);
    if (!request.if_none_match.empty()) add(headers, "If-None-Match: " + request.if_none_match);
    if (!request.idempotency_key.empty()) add(headers, "Idempotency-Key: " + request.idempotency_key);
    return headers;
  }

  void set_up(const ApiRequest& request, Exchange& exchange, char* complaint, curl_slist* headers) {
    CURL* const curl = curl_.get();
    curl_easy_setopt(curl, CURLOPT_URL, (address_.url + request.target).c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!address_.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, address_.ca_file.c_str());
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "fieldgate/" FIELDGATE_VERSION);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, complaint);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, k_connect_ms);
    if (request.read || request.write) {
      curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
      curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, k_silence_s);
    } else {
      curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, k_answer_ms + static_cast<long>(request.wait.count()));
    }
    if (request.read) {
      curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, k_continue_ms);
      curl_easy_setopt(curl, CURLOPT_READFUNCTION, &Exchange::read);
      curl_easy_setopt(curl, CURLOPT_READDATA, &exchange);
    } else if (!request.content_type.empty()) {
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Exchange::write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  }

  const ApiAddress address_;
  std::unique_ptr<CURL, CurlDeleter> curl_;
};

}  // namespace

std::unique_ptr<ApiTransport> make_curl_transport(const ApiAddress& address) {
  return std::make_unique<CurlTransport>(address);
}

}  // namespace fieldgate
