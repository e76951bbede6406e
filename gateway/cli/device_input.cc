// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli/device_input.h"

#include "adapters/jwt/base64url.h"
#include "gateway/cli/command_line.h"
#include "gateway/config/problem.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace fieldgate {
namespace {

namespace json = boost::json;

constexpr std::size_t k_file_bytes_max = 1'048'576;  // of what goes into one request

}  // namespace

ApiResult<std::string> read_whole_file(const std::string& file) {
  std::string text(k_file_bytes_max + 1, '\0');
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad() || (in.gcount() == 0 && errno != 0)) {
    return ApiFailure{k_exit_no_input, file + ": cannot be read: " + std::strerror(errno != 0 ? errno : EIO)};
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > k_file_bytes_max) return ApiFailure{k_exit_no_input, file + ": is longer than 1 MiB"};
  return text;
}

std::string to_base64(const std::string& bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const auto* from = reinterpret_cast<const unsigned char*>(bytes.data());
  out.resize(static_cast<std::size_t>(
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), from, static_cast<int>(bytes.size()))));
  return out;
}

ApiResult<json::object> read_labels(const std::vector<std::string>& given, bool may_remove) {
  json::object labels;
  for (const std::string& one : given) {
    const std::size_t equals = one.find('=');
    if (equals != std::string::npos && equals > 0) {
      labels[one.substr(0, equals)] = one.substr(equals + 1);
    } else if (may_remove && equals == std::string::npos && one.size() > 1 && one.ends_with('-')) {
      labels[one.substr(0, one.size() - 1)] = nullptr;
    } else {
      return ApiFailure{k_exit_usage, "--label must be KEY=VALUE" +
                                          std::string(may_remove ? ", or KEY- to remove it" : "") + ", and not " +
                                          config::quoted(one)};
    }
  }
  return labels;
}

std::string new_idempotency_key() {
  std::string raw(18, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(raw.size())) != 1) return {};
  return jwt::to_base64url(raw);
}

}  // namespace fieldgate
