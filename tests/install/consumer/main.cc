// A program outside of once's tree that links the engine and every adapter it is told of, and uses
// each a little: what is missing from an installation shows when this is compiled, linked or run.
#include <once/consumer.h>
#include <once/memory/store.h>
#ifdef ONCE_HAS_SQLITE
#include <once/sqlite/store.h>
#endif
#ifdef ONCE_HAS_ROCKSDB
#include <once/rocksdb/store.h>
#endif
#ifdef ONCE_HAS_REDIS
#include <once/redis/store.h>
#endif
#ifdef ONCE_HAS_KAFKA
#include <once/kafka/source.h>
#endif

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace {

absl::Status Book(const once::Message& /*message*/, once::Transaction& /*transaction*/) {
  return absl::OkStatus();
}

// Makes a consumer that could run.
absl::Status CreateConsumer(std::shared_ptr<once::DedupStore> store) {
#ifdef ONCE_HAS_KAFKA
  auto source = once::kafka::Subscribe(
      {.brokers = "127.0.0.1:1", .group = "billing", .topics = {"payments"}, .log = once::NoLog()});
  if (!source.ok()) return source.status();
  const auto consumer = once::Consumer::Create({.source = *std::move(source),
                                                .store = std::move(store),
                                                .id = once::HeaderId("payment-id"),
                                                .log = once::NoLog()},
                                               Book);
  if (!consumer.ok()) return consumer.status();
  std::printf("%s\n", once::Describe((*consumer)->guarantee()).c_str());
  return absl::OkStatus();
#else
  // Without a source there can be no consumer, and the engine must say so.
  const auto consumer = once::Consumer::Create({.store = std::move(store)}, Book);
  return consumer.ok() ? absl::InternalError("a consumer without a source") : absl::OkStatus();
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  absl::Status status = CreateConsumer(once::memory::OpenStore());
#ifdef ONCE_HAS_SQLITE
  const auto store = once::sqlite::OpenStore({.path = folder + "/consumer.db"});
  status.Update(store.status());
  if (store.ok()) status.Update(CreateConsumer(*store));
#endif
#ifdef ONCE_HAS_ROCKSDB
  const auto rocks = once::rocksdb::OpenStore({.path = folder + "/consumer.rocksdb"});
  status.Update(rocks.status());
  if (rocks.ok()) status.Update(CreateConsumer(*rocks));
#endif
#ifdef ONCE_HAS_REDIS
  // There is no server here; whoever says so is linked.
  const auto nobody = once::redis::OpenStore(
      {.url = "unix:" + folder + "/none", .call_timeout = absl::Milliseconds(10)});
  if (!absl::IsUnavailable(nobody.status())) status.Update(absl::InternalError("redis"));
#endif
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
