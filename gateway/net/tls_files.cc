// SPDX-License-Identifier: Apache-2.0
#include "gateway/net/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace fieldgate::tls {
namespace {

constexpr std::size_t k_file_bytes_max = 1024 * 1024;

}  // namespace

std::string openssl_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown OpenSSL error";
}

Error file_error(Errc code, std::string_view setting, const std::string& file, const std::string& what) {
  return make_error(code, std::string(setting) + " " + file + ": " + what);
}

Result<std::string> read_file(std::string_view setting, const std::string& file, std::size_t bytes_max) {
  if (file.empty()) return make_error(Errc::invalid_argument, std::string(setting) + " is not set");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "rb"), std::fclose);
  std::string text;
  std::array<char, 65'536> piece;
  for (std::size_t got = 1; stream && got > 0 && text.size() <= bytes_max;) {
    got = std::fread(piece.data(), 1, piece.size(), stream.get());
    text.append(piece.data(), got);
  }
  if (!stream || std::ferror(stream.get()) != 0) {
    return file_error(Errc::not_found, setting, file,
                      std::string("cannot be read: ") + std::strerror(errno) + "; check the path and its permissions");
  }
  if (text.size() > bytes_max) {
    return file_error(Errc::malformed, setting, file,
                      "larger than " + std::to_string(bytes_max / 1'048'576) + " MiB: not such a PEM file");
  }
  return text;
}

Result<Certificates> read_certificates(std::string_view setting, const std::string& file) {
  const auto text = read_file(setting, file, k_file_bytes_max);
  if (!text) return text.error();
  const Owned<BIO> bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  Certificates found;
  while (Owned<X509> next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) found.push_back(std::move(next));
  const unsigned long end = ERR_peek_last_error();
  const bool clean = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  if (!clean) {
    return file_error(Errc::malformed, setting, file,
                      "certificate " + std::to_string(found.size() + 1) + " cannot be read: " + reason);
  }
  if (found.empty()) {
    return file_error(Errc::malformed, setting, file,
                      "holds no certificate; it must be PEM, with a BEGIN CERTIFICATE line");
  }
  return found;
}

namespace {

// Never asks anyone; only notes that a passphrase would be needed.
int note_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

Result<Owned<EVP_PKEY>> read_key(const std::string& file) {
  constexpr std::string_view setting = "key_file";
  auto text = read_file(setting, file, k_file_bytes_max);
  if (!text) return text.error();
  const Owned<BIO> bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  bool encrypted = false;
  Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, note_passphrase, &encrypted));
  OPENSSL_cleanse(text->data(), text->size());
  if (key) return key;
  const std::string reason = openssl_reason();
  if (encrypted) {
    return file_error(Errc::malformed, setting, file,
                      "is encrypted; decrypt it (openssl pkey -in FILE -out FILE) and protect it by file permissions");
  }
  return file_error(Errc::malformed, setting, file, "holds no PEM private key: " + reason);
}

std::int64_t unix_seconds(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return timegm(&parts);
}

std::string utc(std::int64_t unix_time) {
  const std::time_t time = unix_time;
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&time, &parts) != nullptr) std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace fieldgate::tls
