// SPDX-License-Identifier: Apache-2.0
#include "adapters/webhook/tls_client.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace fieldgate::webhook {
namespace {

using Context = boost::asio::ssl::context;

Error unusable(const char* setting, const std::string& file, const std::string& why) {
  return make_error(Errc::malformed, std::string(setting) + " " + file + " cannot be used: " + why);
}

Result<void> readable(const char* setting, const std::string& file) {
  if (file.empty() || ::access(file.c_str(), R_OK) == 0) return {};
  return make_error(Errc::not_found, std::string(setting) + " " + file + " cannot be read");
}

Result<std::shared_ptr<Context>> make_context(const TlsClient::Files& files) {
  for (const auto& [setting, file] :
       {std::pair("ca_file", &files.ca), std::pair("certificate_file", &files.certificate),
        std::pair("key_file", &files.key)}) {
    if (const auto result = readable(setting, *file); !result) return result.error();
  }
  if (files.certificate.empty() != files.key.empty()) {
    return make_error(Errc::malformed, "certificate_file and key_file go together: set both or none");
  }
  auto context = std::make_shared<Context>(Context::tls_client);
  error_code ec;
  context->set_options(Context::no_tlsv1 | Context::no_tlsv1_1 | Context::no_compression, ec);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION);
  context->set_verify_mode(Context::verify_peer, ec);
  if (files.ca.empty()) {
    context->set_default_verify_paths(ec);
    if (ec) return make_error(Errc::malformed, "the system's certificate authorities cannot be used: " + ec.message());
  } else {
    context->load_verify_file(files.ca, ec);
    if (ec) return unusable("ca_file", files.ca, ec.message());
  }
  if (files.certificate.empty()) return context;
  context->use_certificate_chain_file(files.certificate, ec);
  if (ec) return unusable("certificate_file", files.certificate, ec.message());
  // Never ask for a passphrase at the terminal.
  context->set_password_callback([](std::size_t, Context::password_purpose) { return std::string(); }, ec);
  context->use_private_key_file(files.key, Context::pem, ec);
  if (ec) return unusable("key_file", files.key, ec.message());
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return unusable("key_file", files.key, "it does not belong to " + files.certificate);
  }
  return context;
}

}  // namespace

Result<void> TlsClient::load() {
  // Looked at first: what changes meanwhile is seen next time.
  const Stamp now = stamp();
  auto context = make_context(files_);
  if (!context) return context.error();
  stamp_ = now;
  context_ = *std::move(context);
  return {};
}

std::shared_ptr<Context> TlsClient::context() {
  const Stamp now = stamp();
  if (now != stamp_) {
    if (const auto loaded = load(); !loaded) {
      stamp_ = now;  // said once
      log_.error("webhook_tls_files_unusable",
                 {{"lane", lane_}, {"error", loaded.error().detail}, {"effect", "what was read before stays in use"}});
    }
  }
  return context_;
}

TlsClient::Stamp TlsClient::stamp() const {
  Stamp stamp{};
  std::size_t at = 0;
  for (const std::string* file : {&files_.ca, &files_.certificate, &files_.key}) {
    struct stat status {};
    if (!file->empty() && ::stat(file->c_str(), &status) == 0) {
      stamp[at] = static_cast<std::int64_t>(status.st_dev);
      stamp[at + 1] = static_cast<std::int64_t>(status.st_ino);
      stamp[at + 2] = static_cast<std::int64_t>(status.st_size);
      stamp[at + 3] = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
    }
    at += 4;
  }
  return stamp;
}

}  // namespace fieldgate::webhook
