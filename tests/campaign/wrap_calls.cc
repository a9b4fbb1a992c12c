// The list is a workload of one partition: its messages are the calls.
#include "tests/campaign/wrap_calls.h"

#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <shared_mutex>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/sqlite/store.h"
#include "once/wrap.h"
#include "tests/campaign/effects_book.h"
#include "tests/campaign/history.h"
#include "tests/campaign/workload.h"
#include "tests/integration/child.h"
#include "tests/integration/consumer_group.h"

namespace once::campaign {
namespace {

using testing::Must;

constexpr std::int64_t kCalls = 60;
constexpr const char* kScope = "calls";
constexpr int kTriesMax = 100;

std::vector<Delivery> ListCalls() {
  std::vector<Delivery> calls;
  const Workload workload{.messages = kCalls, .odd_one_in = 10};
  for (const OutgoingMessage& message : MessagesOf(workload, "calls", 0, kCalls)) {
    const auto offset = static_cast<std::int64_t>(calls.size());
    if (message.headers.empty()) continue;  // a call has an id
    calls.push_back({.offset = offset,
                     .id = *message.headers.front().value,
                     .value = FingerprintOf(*message.value),
                     .kind = *KindOf(*message.value)});
  }
  // No conflicts: the caller would be told, and there is no dead letter to find it by.
  std::erase_if(calls, [&](const Delivery& call) {
    return std::any_of(calls.begin(), calls.end(), [&](const Delivery& other) {
      return other.id == call.id && other.value != call.value && other.offset < call.offset;
    });
  });
  for (std::size_t i = 0; i < calls.size(); ++i) calls[i].offset = static_cast<std::int64_t>(i);
  return calls;
}

class Caller {
 public:
  explicit Caller(const Json& task) : history_(task.at("history").get<std::string>()) {
    store_ = Must(sqlite::OpenStore(
        {.path = task.at("store"), .serve_operators = false, .setup = [this](sqlite3* connection) {
           return table_.Create(connection);
         }}));
    const WrapOptions<Delivery> options{
        .store = store_,
        .scope = kScope,
        .id = [](const Delivery& call) { return call.id; },
        .retry = {.max_attempts = kAttemptsMax, .backoff = {.initial = absl::ZeroDuration()}},
        .log = JsonLog(LogLevel::kError)};
    if (task.at("is_plain")) {
      file_ = std::make_unique<EffectsFile>(task.at("effects"));
      wrapped_ = std::make_unique<Wrapped<Delivery>>(Must(Wrap<Delivery>(
          options, [this](const Delivery& call, const Invocation& invocation) -> Outcome {
            return Apply(call, invocation, /*is_transactional=*/false);
          })));
    } else {
      wrapped_ = std::make_unique<Wrapped<Delivery>>(Must(Wrap<Delivery>(
          options,
          [this](const Delivery& call, Transaction&, const Invocation& invocation) -> Outcome {
            return Apply(call, invocation, /*is_transactional=*/true);
          })));
    }
  }

  // All calls, each until it is settled.
  void Run() {
    for (const Delivery& call : ListCalls()) {
      bool is_settled = false;
      for (int tries = 0; !is_settled && tries < kTriesMax; ++tries) {
        const absl::StatusOr<CallAnswer> answer = (*wrapped_)(call);
        is_settled = answer.ok() && answer->is_settled();
      }
      if (!is_settled) throw std::runtime_error(call.id + " does not settle");
    }
  }

 private:
  Outcome Apply(const Delivery& call, const Invocation& invocation, bool is_transactional) {
    const std::int64_t line = history_.Invoke(
        0, "handle",
        absl::StrCat("{\"at\":[[0,", call.offset, "]],\"ids\":[\"", call.id,
                     "\"],\"attempt\":", invocation.attempt,
                     ",\"repeated\":", invocation.maybe_repeated ? "true" : "false", "}"));
    const Effect effect{.id = call.id,
                        .offset = call.offset,
                        .value = call.value,
                        .is_announced = invocation.maybe_repeated};
    const bool is_last = call.kind == 'p' || (call.kind == 'f' && invocation.attempt > 1);
    absl::Status booked;
    if (is_transactional) {
      booked = table_.Book(effect);
    } else if (is_last) {
      booked = file_->Book(effect);
    }
    Outcome outcome = !booked.ok()       ? Outcome(booked)
                      : call.kind == 's' ? Skip("to be skipped")
                      : call.kind == 'r' ? Reject("to be rejected")
                      : is_last          ? Done()
                                         : Retry("to be tried again");
    history_.End(0, "handle", line, EndOf(outcome.status()));
    return outcome;
  }

  History history_;
  std::shared_ptr<DedupStore> store_;
  EffectsTable table_;  // its statements go before the store
  std::unique_ptr<EffectsFile> file_;
  std::unique_ptr<Wrapped<Delivery>> wrapped_;
};

}  // namespace

int CallWrapped(const Json& task) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    Caller(task).Run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "calling: " << error.what() << "\n";
    return 1;
  }
}

Truth ReadWrapTruth(const std::string& store, const std::string& effects, bool is_plain) {
  Truth truth;
  truth.handler = is_plain ? HandlerKind::kPlain : HandlerKind::kTransactional;
  truth.has_letters = false;
  truth.deliveries = ListCalls();
  truth.effects = is_plain ? ReadEffectsFile(effects) : ReadEffectsTable(store);
  if (!is_plain) truth.totals = ReadEffectTotals(store);
  const std::shared_lock no_fork(testing::ForkMutex());
  const auto opened = Must(sqlite::OpenStore({.path = store, .serve_operators = false}));
  truth.ids = ReadIds(*opened, NamedScope(kScope), truth.deliveries);
  return truth;
}

}  // namespace once::campaign
