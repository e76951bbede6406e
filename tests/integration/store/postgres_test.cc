// SPDX-License-Identifier: Apache-2.0
#include "adapters/postgres/postgres_store.h"
#include "tests/integration/store/store_fixture.h"
#include "tests/integration/store/transaction.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>

namespace fieldgate::store {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::string_view k_secret = PostgresServer::k_password;

class Postgres : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    server_ = shared_server(why);
    if (server_ == nullptr) GTEST_SKIP() << why;
    engine_ = std::make_unique<PostgresEngine>(*server_);
    settings_ = engine_->settings();
  }
  Result<std::unique_ptr<DeviceStore>> open() {
    auto store = postgres::make_postgres_store(settings_);
    if (!store) return store;
    if (auto opened = (*store)->open(); !opened) return opened.error();
    return store;
  }
  std::string ask(const std::string& sql) { return server_->ask(engine_->database(), sql); }

  PostgresServer* server_ = nullptr;
  std::unique_ptr<PostgresEngine> engine_;
  StoreSettings settings_;
};

TEST_F(Postgres, IsNamedWithoutItsSecrets) {
  const auto store = open();
  ASSERT_TRUE(ok(store));
  EXPECT_EQ((*store)->description(), "postgres 127.0.0.1/" + engine_->database());
  EXPECT_EQ(ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fieldgate' AND datname = '" +
                engine_->database() + "'"),
            "1");
}

TEST_F(Postgres, TakesThePasswordFromAFileAsItIsThen) {
  test::TempDir dir;
  settings_.password = {};
  settings_.password_file = dir.write("password", "wrong\n");
  const auto refused = open();
  ASSERT_TRUE(failed_with(refused, Errc::unavailable));
  EXPECT_NE(refused.error().detail.find("password authentication failed"), std::string::npos);
  dir.write("password", std::string(k_secret) + "\n");
  EXPECT_TRUE(ok(open()));
  settings_.password_file = dir.file("none");
  const auto missing = open();
  ASSERT_TRUE(failed_with(missing, Errc::unavailable));
  EXPECT_NE(missing.error().detail.find("store.password_file"), std::string::npos);
}

TEST_F(Postgres, NeverSaysAPassword) {
  settings_.password = {"hunter2hunter2"};
  const auto refused = open();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().detail.find("hunter2"), std::string::npos) << refused.error().detail;
  for (const char* connection : {"host=db password=hunter2hunter2", "postgresql://me:hunter2hunter2@db/x",
                                 "host=db hunter2hunter2", "hunter2"}) {
    settings_.connection = connection;
    const auto store = open();
    ASSERT_TRUE(failed_with(store, Errc::invalid_argument)) << connection;
    EXPECT_NE(store.error().detail.find("store.connection"), std::string::npos);
    EXPECT_EQ(store.error().detail.find("hunter2"), std::string::npos) << store.error().detail;
  }
}

TEST_F(Postgres, LeavesASchemaAloneThatIsNotOurs) {
  ask("CREATE SCHEMA fieldgate; CREATE TABLE fieldgate.wheat (tonnes int)");
  const auto refused = open();
  ASSERT_TRUE(failed_with(refused, Errc::malformed));
  EXPECT_EQ(ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'fieldgate'"), "1");
}

TEST_F(Postgres, LeavesANewerVersionAlone) {
  { ASSERT_TRUE(ok(open())); }
  ask("UPDATE fieldgate.store_version SET version = 4711");
  const auto refused = open();
  ASSERT_TRUE(failed_with(refused, Errc::unsupported));
  EXPECT_NE(refused.error().detail.find("4711"), std::string::npos);
}

TEST_F(Postgres, TakesASchemaThatAnAdministratorHasMade) {
  ask("CREATE SCHEMA fieldgate");
  const auto store = open();
  ASSERT_TRUE(ok(store));
  EXPECT_TRUE(ok(write_all(**store, 1)));
}

TEST_F(Postgres, IsUnavailableToWhomItGivesNoRight) {
  ask("CREATE ROLE guest LOGIN PASSWORD 'guest'");
  settings_.connection += " user=guest";
  settings_.password = {"guest"};
  const auto refused = open();
  ask("DROP ROLE guest");
  ASSERT_TRUE(failed_with(refused, Errc::unavailable));
  EXPECT_NE(refused.error().detail.find("permission denied"), std::string::npos) << refused.error().detail;
}

TEST_F(Postgres, ConnectsAgainWhereItsConnectionWasCutInIdleness) {
  const auto store = open();
  ASSERT_TRUE(ok(store));
  ask("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'fieldgate' AND datname "
      "= '" +
      engine_->database() + "'");
  EXPECT_TRUE(ok(write_all(**store, 1)));  // nobody notices
}

TEST_F(Postgres, LosesATransactionWholeWhenItsConnectionIsCut) {
  const auto store = open();
  ASSERT_TRUE(ok(store));
  ASSERT_TRUE(ok((*store)->begin()));
  ASSERT_TRUE(ok(write_inside(**store, 1)));
  ask("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'fieldgate' AND datname "
      "= '" +
      engine_->database() + "'");
  EXPECT_TRUE(failed_with((*store)->commit(), Errc::unavailable));
  (*store)->rollback();
  ASSERT_TRUE(ok(write_all(**store, 1)));
  EXPECT_EQ(things_of(**store, 1), 6);
}

TEST_F(Postgres, WaitsForAnothersLockNoLongerThanAStatementMay) {
  settings_.statement_timeout = seconds(1);
  const auto store = open();
  ASSERT_TRUE(ok(store));
  settings_.statement_timeout = seconds(60);
  const auto other = open();
  ASSERT_TRUE(ok(other));
  ASSERT_TRUE(ok((*other)->begin()));
  ASSERT_TRUE(ok(write_inside(**other, 1)));
  const auto begin = steady_clock::now();
  EXPECT_TRUE(failed_with(write_all(**store, 2), Errc::unavailable));
  EXPECT_LT(steady_clock::now() - begin, seconds(20));
  (*other)->rollback();
  EXPECT_TRUE(ok(write_all(**store, 2)));
}

TEST_F(Postgres, EndsATransactionThatStandsStill) {
  settings_.statement_timeout = seconds(6);
  const auto stuck = open();
  const auto store = open();
  ASSERT_TRUE(ok(stuck));
  ASSERT_TRUE(ok(store));
  ASSERT_TRUE(ok((*stuck)->begin()));
  ASSERT_TRUE(ok(write_inside(**stuck, 1)));
  // Its lock is given back to us before our own patience ends.
  EXPECT_TRUE(ok(write_all(**store, 1)));
  EXPECT_TRUE(failed_with((*stuck)->commit(), Errc::unavailable));
}

TEST_F(Postgres, IsUnavailableWhileItsServerIsStopped) {
  PostgresServer server;
  PostgresEngine engine(server);
  const auto store = engine.connect();
  ASSERT_TRUE(ok(store->open()));
  ASSERT_TRUE(ok(write_all(*store, 1)));
  server.stop();
  EXPECT_TRUE(failed_with(write_all(*store, 2), Errc::unavailable));
  EXPECT_TRUE(failed_with(store->begin(), Errc::unavailable));
  EXPECT_TRUE(failed_with(store->device(device_of(1)), Errc::unavailable));
  EXPECT_TRUE(failed_with(engine.connect()->open(), Errc::unavailable));
  server.start();
  ASSERT_TRUE(ok(write_all(*store, 2)));
  EXPECT_EQ(things_of(*store, 1), 6);
  EXPECT_EQ(things_of(*store, 2), 6);
}

TEST_F(Postgres, IsUnavailableInTimeWhileItsServerStandsStill) {
  PostgresServer server;
  PostgresEngine engine(server);
  StoreSettings settings = engine.settings();
  settings.statement_timeout = seconds(1);
  settings.connection += " connect_timeout=2";
  const auto store = postgres::make_postgres_store(settings).value();
  ASSERT_TRUE(ok(store->open()));
  ASSERT_TRUE(ok(write_all(*store, 1)));
  ASSERT_TRUE(ok(store->begin()));
  server.freeze();
  const auto begin = steady_clock::now();
  EXPECT_TRUE(failed_with(write_inside(*store, 2), Errc::unavailable));  // in the middle of a transaction
  store->rollback();
  EXPECT_TRUE(failed_with(store->begin(), Errc::unavailable));  // a new connection gets no word
  EXPECT_LT(steady_clock::now() - begin, seconds(30));
  server.thaw();
  ASSERT_TRUE(ok(write_all(*store, 2)));
  EXPECT_EQ(things_of(*store, 2), 6);
}

TEST_F(Postgres, EndsItsWaitWhenItIsInterrupted) {
  PostgresServer server;
  PostgresEngine engine(server);
  StoreSettings settings = engine.settings();
  settings.statement_timeout = seconds(600);
  const auto store = postgres::make_postgres_store(settings).value();
  ASSERT_TRUE(ok(store->open()));
  ASSERT_TRUE(ok(store->begin()));
  server.freeze();
  std::thread waits([&] { EXPECT_TRUE(failed_with(write_inside(*store, 1), Errc::unavailable)); });
  store->interrupt();
  waits.join();  // ten minutes else
  store->rollback();
  EXPECT_TRUE(failed_with(store->begin(), Errc::unavailable));
  server.thaw();
}

// A host that takes connections and never says a word.
class SilentHost {
 public:
  SilentHost() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_, any, size), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    EXPECT_EQ(::getsockname(listener_, any, &size), 0);
    port_ = ::ntohs(address.sin_port);
  }
  ~SilentHost() { hang_up(); }
  SilentHost(const SilentHost&) = delete;
  SilentHost& operator=(const SilentHost&) = delete;

  int port() const { return port_; }
  void wait_for_a_caller() { caller_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC); }
  void hang_up() {
    for (int* const fd : {&caller_, &listener_}) {
      if (*fd >= 0) ::close(std::exchange(*fd, -1));
    }
  }

 private:
  int listener_;
  int caller_ = -1;
  int port_ = 0;
};

TEST(PostgresConnecting, IsNotWaitedForOnceItIsInterrupted) {
  SilentHost host;
  StoreSettings settings;
  settings.connection = "host=127.0.0.1 port=" + std::to_string(host.port()) +
                        " dbname=fieldgate user=fieldgate sslmode=disable gssencmode=disable connect_timeout=600";
  auto store = postgres::make_postgres_store(settings).value();
  std::thread waits([&] { EXPECT_TRUE(failed_with(store->open(), Errc::unavailable)); });
  host.wait_for_a_caller();
  store->interrupt();
  waits.join();  // ten minutes else
  EXPECT_TRUE(failed_with(store->open(), Errc::unavailable)) << "none is made any more";
  host.hang_up();  // for what is left behind
  store.reset();
}

}  // namespace
}  // namespace fieldgate::store
