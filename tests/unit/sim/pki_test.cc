// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/pki.h"

#include "tests/sim/tokens.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace fieldgate::sim {
namespace {

bool verifies(X509* authority, X509* leaf, int purpose) {
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, authority);
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, leaf, nullptr);
  X509_STORE_CTX_set_purpose(context, purpose);
  const bool good = X509_verify_cert(context) == 1;
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  return good;
}

std::string uri_of(X509* certificate) {
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::string uri;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
    uri.assign(data, static_cast<std::size_t>(ASN1_STRING_length(name->d.uniformResourceIdentifier)));
  }
  GENERAL_NAMES_free(names);
  return uri;
}

TEST(Pki, DeviceCertificatesNameTheDeviceAndAreForClientsOnly) {
  const Authority authority = make_authority("test CA");
  const Key key = make_key();
  for (const std::string& id : {std::string("sim-000001"), std::string(128, 'x')}) {
    const Certificate certificate = issue_device(authority, key.get(), id);
    EXPECT_EQ(uri_of(certificate.get()), "urn:fieldgate:device:" + id);
    EXPECT_TRUE(verifies(authority.certificate.get(), certificate.get(), X509_PURPOSE_SSL_CLIENT));
    EXPECT_FALSE(verifies(authority.certificate.get(), certificate.get(), X509_PURPOSE_SSL_SERVER));
    EXPECT_FALSE(verifies(make_authority("other").certificate.get(), certificate.get(), X509_PURPOSE_SSL_CLIENT));
  }
}

TEST(Pki, ServerCertificateCoversItsNamesAndAddresses) {
  const Authority authority = make_authority("test CA");
  const Key key = make_key();
  const Certificate certificate = issue_server(authority, key.get(), {"localhost", "127.0.0.1", "::1", "gw.example"});
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(certificate.get(), "::1", 0), 1);
  EXPECT_EQ(X509_check_host(certificate.get(), "gw.example", 0, 0, nullptr), 1);
  EXPECT_NE(X509_check_host(certificate.get(), "other.example", 0, 0, nullptr), 1);
  EXPECT_TRUE(verifies(authority.certificate.get(), certificate.get(), X509_PURPOSE_SSL_SERVER));
}

TEST(Pki, ADirectoryIsFilledOnceAndKeptAfterwards) {
  const PkiFiles files(testing::TempDir() + "fieldgate-pki-" + std::to_string(::getpid()));
  ASSERT_TRUE(write_pki(files, {"localhost"}, {"a"}));
  const auto before = load_authority(files.ca(), files.ca_key());
  ASSERT_TRUE(before);
  ASSERT_TRUE(write_pki(files, {"localhost"}, {"b"}));
  const auto after = load_authority(files.ca(), files.ca_key());
  ASSERT_TRUE(after);
  EXPECT_EQ(X509_cmp(before->certificate.get(), after->certificate.get()), 0);
  EXPECT_TRUE(std::filesystem::exists(files.device("a")));
  EXPECT_TRUE(std::filesystem::exists(files.device("b")));
  struct stat status {};
  ASSERT_EQ(::stat(files.ca_key().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_FALSE(load_authority(files.ca(), files.server_key()));  // not the CA's key
  std::filesystem::remove_all(files.dir);
}

TEST(Tokens, FileHoldsTheHashOfWhatADeviceWillPresent) {
  const std::string path = testing::TempDir() + "fieldgate-tokens-" + std::to_string(::getpid());
  ASSERT_TRUE(write_tokens(path, "seed", {"a", "b"}));
  std::ifstream in(path);
  std::string id;
  std::string hash;
  in >> id >> hash;
  EXPECT_EQ(id, "a");
  EXPECT_EQ(hash.size(), std::string("sha256:").size() + 64);
  EXPECT_TRUE(hash.starts_with("sha256:"));
  EXPECT_NE(hash.substr(7), device_token("seed", "a"));
  EXPECT_NE(device_token("seed", "a"), device_token("seed", "b"));
  EXPECT_NE(device_token("seed", "a"), device_token("Seed", "a"));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace fieldgate::sim
