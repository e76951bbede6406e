// SPDX-License-Identifier: Apache-2.0
//
// Stores as earlier versions of the schema made them (the SQL is in schema/, and is never
// changed), and what becomes of them.
#include "adapters/sqlite/sqlite_store.h"
#include "adapters/store/schema.h"
#include "tests/integration/store/store_fixture.h"
#include "tests/integration/store/worker_process.h"

#include <libpq-fe.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <thread>
#include <tuple>

namespace fieldgate::store {
namespace {

constexpr std::string_view k_folder = "tests/integration/store/schema/";

std::string text_of(const std::string& name) {
  std::ifstream file(std::string(k_folder) + name);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.view().empty()) << name;
  return std::move(text).str();
}

std::string engine_name(EngineKind kind) { return kind == EngineKind::sqlite ? "sqlite" : "postgres"; }

// With blobs in the engine's words.
std::string data_of(EngineKind kind, const std::string& name) {
  std::string sql = text_of(name);
  constexpr std::string_view k_open = "{bytes:";
  for (std::size_t at = 0; (at = sql.find(k_open, at)) != std::string::npos;) {
    const std::size_t end = sql.find('}', at);
    const std::string hex = sql.substr(at + k_open.size(), end - at - k_open.size());
    sql.replace(at, end + 1 - at, kind == EngineKind::sqlite ? "X'" + hex + "'" : "'\\x" + hex + "'::bytea");
  }
  return sql;
}

// A store as the gateway of that version left it, data and all.
std::string old_store(EngineKind kind, std::uint32_t version) {
  std::string sql;
  if (kind == EngineKind::postgres) {
    sql =
        "CREATE SCHEMA fieldgate; SET search_path = fieldgate; CREATE TABLE store_version (version BIGINT NOT NULL);"
        "INSERT INTO store_version VALUES (" +
        std::to_string(version) +
        ");"
        "CREATE FUNCTION store_unix_ms() RETURNS BIGINT LANGUAGE sql VOLATILE AS "
        "'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint';";
  }
  for (std::uint32_t step = 1; step <= version; ++step) {
    sql += text_of(engine_name(kind) + "_" + std::to_string(step) + ".sql");
  }
  sql += data_of(kind, "data_1.sql");
  if (version >= 2) sql += data_of(kind, "data_2.sql");
  if (kind == EngineKind::sqlite) {
    sql += "PRAGMA application_id = " + std::to_string(sqlite::k_application_id) +
           "; PRAGMA user_version = " + std::to_string(version) + "; PRAGMA journal_mode = WAL;";
  }
  return sql;
}

// What the engine has of the schema, in one text.
std::string shape_of(EngineKind kind, Engine& engine) {
  if (kind == EngineKind::sqlite) {
    return engine.ask(
        "SELECT group_concat(name || ': ' || sql, char(10)) FROM (SELECT name, sql FROM sqlite_master "
        "WHERE sql IS NOT NULL ORDER BY name)");
  }
  return engine.ask(
      "SELECT string_agg(line, chr(10) ORDER BY line) FROM ("
      "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(collation_name, '') || ' ' || "
      "is_nullable || ' ' || coalesce(column_default, '') AS line FROM information_schema.columns "
      "WHERE table_schema = 'fieldgate' UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'fieldgate') "
      "all_");
}

std::string version_of(EngineKind kind, Engine& engine) {
  return engine.ask(kind == EngineKind::sqlite ? "PRAGMA user_version" : "SELECT version FROM fieldgate.store_version");
}

void expect_registry(DeviceStore& store, std::uint32_t version) {
  const DeviceId pump = DeviceId::parse("pump").value();
  const auto entry = store.device(pump).value();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->labels, (Labels{{"site", "graz"}}));
  EXPECT_EQ(entry->note, "by the river");
  EXPECT_EQ(entry->revision, 3u);
  EXPECT_EQ(entry->updated_unix_ms, 2'000);
  ASSERT_EQ(entry->credentials.size(), 2u);
  EXPECT_EQ(entry->credentials[0].sha256, std::string(64, 'a'));
  EXPECT_EQ(entry->credentials[0].expires_unix_ms, 9'000);
  EXPECT_EQ(entry->credentials[1].kind, CredentialKind::certificate);
  const auto changes = store.registry_changes(0, 10).value();
  ASSERT_EQ(changes.size(), 2u) << "from the beginning, what there is";
  EXPECT_EQ(changes[0].id.str(), "valve");
  EXPECT_FALSE(changes[0].entry->enabled);
  EXPECT_TRUE(changes[0].entry->automatic);
  const auto marks = store.registry_marks().value();
  EXPECT_EQ(marks.newest, 3u);
  EXPECT_EQ(marks.trimmed, version >= 2 ? 1u : 0u);
}

void expect_presence(DeviceStore& store) {
  const DeviceId pump = DeviceId::parse("pump").value();
  const auto rows = store.presence_rows("", 10).value();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].epoch.value, 7u);
  EXPECT_TRUE(rows[0].online);
  EXPECT_EQ(rows[0].node, "node-1");
  EXPECT_EQ(rows[0].last_data_unix_ms, 1'550);
  EXPECT_EQ(rows[0].firmware, "2.1");
  EXPECT_EQ(rows[0].labels, (Labels{{"hw", "b"}}));
  EXPECT_EQ(rows[1].reason, "bye");
  EXPECT_EQ(store.presence_number().value(), 2u);
  const auto events = store.presence_log(&pump, 0, 10).value();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].number, 2u);
  const auto nodes = store.nodes().value();
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].boot_id, "boot-1");
  EXPECT_EQ(nodes[0].version, "0.0.1");
  EXPECT_FALSE(nodes[0].live);
}

void expect_commands(DeviceStore& store) {
  const DeviceId pump = DeviceId::parse("pump").value();
  const auto c1 = store.command("c1").value();
  ASSERT_TRUE(c1);
  EXPECT_EQ(c1->payload, (std::vector{std::byte{0}, std::byte{0xFF}, std::byte{0x10}}));
  EXPECT_TRUE(c1->at_most_once);
  EXPECT_EQ(c1->expires_unix_ms, 5'000);
  EXPECT_EQ(c1->timeout_ms, 3'000u);
  EXPECT_EQ(c1->source, "api:ann");
  ASSERT_EQ(c1->steps.size(), 1u);
  const auto c2 = store.command("c2").value();
  ASSERT_TRUE(c2);
  EXPECT_EQ(c2->state, CommandState::succeeded);
  EXPECT_EQ(c2->idempotency_key, "key");
  EXPECT_EQ(c2->response_topic, "app/replies");
  EXPECT_EQ(c2->correlation_data, "\x07");
  EXPECT_EQ(c2->result_text, "done");
  EXPECT_EQ(c2->result_payload, (std::vector{std::byte{0xBE}, std::byte{0xEF}}));
  ASSERT_EQ(c2->steps.size(), 3u);
  EXPECT_EQ(c2->steps[1].epoch.value, 7u);
  const auto c3 = store.command("c3").value();
  ASSERT_TRUE(c3);
  EXPECT_TRUE(c3->cancel_wanted);
  EXPECT_EQ(c3->sends, 1u);
  // By the indexes that came later.
  const auto open = store.open_commands(pump, "", 10).value();
  ASSERT_EQ(open.size(), 1u);
  EXPECT_EQ(open[0].id, "c1");
  const auto refs = store.open_command_refs("", 10).value();
  ASSERT_EQ(refs.size(), 2u);
  EXPECT_EQ(refs[1].device.str(), "valve");
  const auto overdue = store.overdue_commands(4'500, {}, 10).value();
  ASSERT_EQ(overdue.size(), 1u);
  EXPECT_EQ(overdue[0].id, "c3") << "1200 + 3000";
  EXPECT_EQ(store.open_command_count().value(), 2u);
  EXPECT_EQ(store.commands(pump, "", 10).value().size(), 2u);
}

void expect_device_things(DeviceStore& store, std::uint32_t version) {
  const DeviceId pump = DeviceId::parse("pump").value();
  const auto twin = store.twin(pump).value();
  ASSERT_TRUE(twin);
  EXPECT_EQ(twin->reported_json, R"({"rpm":900})");
  EXPECT_EQ(twin->reported_version, 4u);
  EXPECT_EQ(twin->reported_stream.value, static_cast<std::uint64_t>(-2));
  EXPECT_EQ(twin->reported_seq.value, 17u);
  EXPECT_EQ(twin->reported_epoch.value, version >= 2 ? 7u : 0u);
  EXPECT_EQ(twin->desired_json, R"({"rpm":1000})");
  EXPECT_EQ(twin->desired_version, 3u);
  EXPECT_EQ(twin->acknowledged_version, 2u);
  EXPECT_EQ(twin->acknowledged_error, "too fast");
  const auto timeline = store.timeline(pump, 0, 10).value();
  ASSERT_EQ(timeline.size(), 2u);
  EXPECT_EQ(timeline[0].kind, TimelineKind::command);
  EXPECT_EQ(timeline[1].fields, (TimelineFields{{"address", "192.0.2.1:5000"}}));
}

void expect_all(DeviceStore& store, std::uint32_t version) {
  expect_registry(store, version);
  expect_presence(store);
  expect_commands(store);
  expect_device_things(store, version);
}

// Numbers and rules hold from there on.
void expect_to_go_on(DeviceStore& store) {
  const DeviceId pump = DeviceId::parse("pump").value();
  const ClaimRequest claim{.device = pump, .at_least = {}, .unix_ms = 3'000};
  const auto granted = store.claim({&claim, 1});
  ASSERT_TRUE(ok(granted));
  EXPECT_EQ(std::get<ClaimGrant>(granted->front()).epoch.value, 8u);
  const auto put = store.put_device({.id = DeviceId::parse("new").value(), .labels = {}, .note = {}}, 0);
  ASSERT_TRUE(ok(put));
  EXPECT_EQ(put->revision, 4u);
  const PresenceEvent event{
      .device = pump, .epoch = {8}, .online = true, .node = "node-1", .boot_id = "boot-2", .unix_ms = 3'000};
  EXPECT_EQ(store.add_presence({&event, 1}).value(), 1u);
  EXPECT_EQ(store.presence_number().value(), 3u);
  CommandEntry again{.id = "c9", .device = pump, .name = "ping"};
  again.idempotency_key = "key";
  const auto inserted = store.insert_command(again);
  ASSERT_TRUE(ok(inserted));
  EXPECT_FALSE(inserted->fresh);
  EXPECT_EQ(inserted->command.id, "c2");
  const auto advanced = store.advance_command({.id = "c1", .step = {CommandState::expired, 6'000, {}, {}}});
  ASSERT_TRUE(ok(advanced));
  EXPECT_TRUE(advanced->has_value());
  EXPECT_EQ(store.open_command_count().value(), 1u);
}

class OldStore : public testing::TestWithParam<std::tuple<EngineKind, std::uint32_t>> {
 protected:
  void SetUp() override {
    std::string why;
    engine_ = make_engine(kind(), clock_, why);
    if (engine_ == nullptr) GTEST_SKIP() << why;
    engine_->ask(old_store(kind(), version()));
  }
  static EngineKind kind() { return std::get<0>(GetParam()); }
  static std::uint32_t version() { return std::get<1>(GetParam()); }

  test::FakeClock clock_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(OldStore, IsBroughtUpToDateWithEverythingInIt) {
  {
    const auto store = engine_->connect();
    ASSERT_TRUE(ok(store->open()));
    expect_all(*store, version());
    expect_to_go_on(*store);
  }
  EXPECT_EQ(version_of(kind(), *engine_), std::to_string(schema_version()));
  std::string why;
  const auto fresh = make_engine(kind(), clock_, why);
  ASSERT_TRUE(ok(fresh->connect()->open()));
  EXPECT_EQ(shape_of(kind(), *engine_), shape_of(kind(), *fresh)) << "as a new one";
  const auto again = engine_->connect();
  EXPECT_TRUE(ok(again->open()));
}

// Somebody's database has what the file says: such a step can never be another one.
TEST_P(OldStore, WasMadeByTheStepsThatTheGatewayStillHas) {
  constexpr Dialect k_sqlite{.integer = "INTEGER",
                             .text = "TEXT",
                             .blob = "BLOB",
                             .serial = "INTEGER PRIMARY KEY AUTOINCREMENT",
                             .rows = " STRICT",
                             .keyed = " STRICT, WITHOUT ROWID",
                             .busy = " STRICT, WITHOUT ROWID"};
  constexpr Dialect k_postgres{.integer = "BIGINT",
                               .text = "TEXT COLLATE \"C\"",
                               .blob = "BYTEA",
                               .serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                               .rows = "",
                               .keyed = "",
                               .busy = " WITH (fillfactor = 80)"};
  ASSERT_LE(version(), migrations().size());
  const std::string file = engine_name(kind()) + "_" + std::to_string(version()) + ".sql";
  const std::string now = rendered(migrations()[version() - 1], kind() == EngineKind::sqlite ? k_sqlite : k_postgres);
  EXPECT_EQ(now, "\n" + text_of(file)) << file;
}

TEST_P(OldStore, OfANewerVersionIsLeftAloneAndSaysWhichAreKnown) {
  const std::string newer = std::to_string(schema_version() + 1);
  engine_->ask(kind() == EngineKind::sqlite ? "PRAGMA user_version = " + newer
                                            : "UPDATE fieldgate.store_version SET version = " + newer);
  const std::string before = shape_of(kind(), *engine_);
  const auto store = engine_->connect();
  const auto refused = store->open();
  ASSERT_TRUE(failed_with(refused, Errc::unsupported));
  for (const std::string& word : {newer, std::to_string(schema_version()), std::string("newer gateway")}) {
    EXPECT_NE(refused.error().detail.find(word), std::string::npos) << refused.error().detail;
  }
  EXPECT_EQ(shape_of(kind(), *engine_), before);
  EXPECT_EQ(version_of(kind(), *engine_), newer);
}

std::string name_of(const testing::TestParamInfo<OldStore::ParamType>& info) {
  return engine_name(std::get<0>(info.param)) + "_" + std::to_string(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Store, OldStore,
                         testing::Combine(testing::Values(EngineKind::sqlite, EngineKind::postgres),
                                          testing::Range(1U, schema_version() + 1)),
                         name_of);

// Killed at whichever moment of it: the file is an old store or a new one, never a mixture.
TEST(SqliteUpgrade, CanBeKilledAtAnyMomentAndGoesOnLater) {
  test::FakeClock clock;
  std::mt19937 random(11);
  SqliteEngine base(clock);
  // Enough for the steps to take a while.
  base.ask(old_store(EngineKind::sqlite, 1) +
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
           "INSERT INTO commands (id, device_id, name, payload, created_unix_ms, expires_unix_ms, timeout_ms, "
           "at_most_once, idempotency_key, source, response_topic, correlation_data, state, steps, sends, "
           "first_sent_unix_ms, cancel_wanted, result_text, result_payload, ended_unix_ms) "
           "SELECT 'm' || i, 'many', 'x', X'', 1, 900000, 1, 0, X'', '', '', X'', 'queued', '[]', 0, 0, 0, '', X'', 0 "
           "FROM n;");
  int left_old = 0;
  for (int kills = 0; kills < 12; ++kills) {
    SqliteEngine copy(clock);
    const std::string& path = copy.path();
    std::filesystem::copy_file(base.path(), path);
    {
      WorkerProcess worker(path);
      std::error_code ec;
      // Once it has begun to write.
      while (std::filesystem::file_size(path + "-wal", ec) == 0 || ec) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
      worker.kill();
    }
    left_old += version_of(EngineKind::sqlite, copy) == "1" ? 1 : 0;
    const auto store = sqlite::make_sqlite_store(path, clock);
    ASSERT_TRUE(ok(store->open()));
    expect_registry(*store, 1);
    expect_presence(*store);
    expect_device_things(*store, 1);
    EXPECT_EQ(store->open_command_count().value(), 20'002u);
    EXPECT_EQ(store->open_command_refs("", 30'000).value().size(), 20'002u) << "the later index has all of them";
  }
  std::cout << left_old << " of 12 were left as they had been\n";
}

// The server throws its migration out when it is half done.
TEST(PostgresUpgrade, IsUndoneWhenItsConnectionIsCutAndGoesOnLater) {
  std::string why;
  PostgresServer* const server = shared_server(why);
  if (server == nullptr) GTEST_SKIP() << why;
  PostgresEngine engine(*server);
  engine.ask(old_store(EngineKind::postgres, 1));
  // The second half of step 2 waits for this.
  const std::string where = server->connection(engine.database());
  const char* const keywords[] = {"dbname", "password", nullptr};
  const char* const values[] = {where.c_str(), PostgresServer::k_password, nullptr};
  const std::unique_ptr<PGconn, void (*)(PGconn*)> other(::PQconnectdbParams(keywords, values, 1), ::PQfinish);
  ::PQclear(::PQexec(other.get(), "BEGIN; LOCK TABLE fieldgate.twins IN ACCESS SHARE MODE"));

  const auto store = engine.connect();
  Result<void> opened;
  std::thread opener([&] { opened = store->open(); });
  const std::string waiting = "FROM pg_stat_activity WHERE application_name = 'fieldgate' AND datname = '" +
                              engine.database() + "' AND wait_event_type = 'Lock'";
  while (engine.ask("SELECT count(*) " + waiting) != "1") std::this_thread::sleep_for(std::chrono::milliseconds(5));
  engine.ask("SELECT pg_terminate_backend(pid) " + waiting);
  opener.join();
  EXPECT_TRUE(failed_with(opened, Errc::unavailable));
  EXPECT_EQ(version_of(EngineKind::postgres, engine), "1");
  EXPECT_EQ(engine.ask("SELECT count(*) FROM information_schema.columns WHERE table_schema = 'fieldgate' AND "
                       "column_name = 'registry_trimmed'"),
            "0")
      << "the first half is undone";
  ::PQclear(::PQexec(other.get(), "ROLLBACK"));
  ASSERT_TRUE(ok(store->open()));
  expect_all(*store, 1);
  expect_to_go_on(*store);
}

}  // namespace
}  // namespace fieldgate::store
