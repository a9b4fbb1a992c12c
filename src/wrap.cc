// Wrap without its templates: checks the options, identifies a call, and hands it to the form that
// its function asks for.
#include "once/wrap.h"

#include <memory>
#include <string>
#include <utility>

#include "once/abseil.h"
#include "src/guarded_call.h"
#include "src/invoke_handler.h"

namespace once {
namespace {

absl::Status Bad(std::string_view field, std::string_view rule) {
  return absl::InvalidArgumentError("WrapOptions::" + std::string(field) + ": " +
                                    std::string(rule));
}

absl::Status ValidateStore(const GuardedCallsOptions& options) {
  DedupStore& store = *options.store;
  const std::string name = "store " + store.traits().name;
  if (options.functions.transactional && store.transactions() == nullptr) {
    return absl::FailedPreconditionError(
        name +
        " has no transactions, and a function that takes a Transaction& needs them; use a "
        "transactional store such as sqlite, or drop the parameter");
  }
  if (options.functions.plain && store.claims() == nullptr) {
    return absl::FailedPreconditionError(
        name +
        " has no claims, and a function without a Transaction& needs them; let it take a "
        "Transaction& and write through it, or use a store with claims");
  }
  return absl::OkStatus();
}

absl::Status Validate(const GuardedCallsOptions& options) {
  const CallFunctions& functions = options.functions;
  if (options.store == nullptr) return Bad("store", "is null; open one, e.g. sqlite::OpenStore");
  if (options.scope.empty()) {
    return Bad("scope", "is empty; name it after what the function does, e.g. \"charges\"");
  }
  if (!functions.id) return Bad("id", "is empty; return the stable id of a call");
  if (options.log == nullptr) return Bad("log", "is null; use NoLog() to log nothing");
  if (options.executor == nullptr) return Bad("executor", "is null; use SystemExecutor()");
  if (options.random == nullptr) return Bad("random", "is null; use SystemRandom()");
  if (options.on_lost == LostClaim::kReconcile && !functions.reconcile) {
    return Bad("reconcile", "is empty, and LostClaim::kReconcile asks it");
  }
  absl::Status status = Annotate(ValidateRetryPolicy(options.retry), "WrapOptions");
  status.Update(Annotate(ValidateLease(options.lease), "WrapOptions::lease"));
  status.Update(ValidateStore(options));
  return status;
}

}  // namespace

class GuardedCalls {
 public:
  explicit GuardedCalls(GuardedCallsOptions options)
      : options_(std::move(options)), scope_(NamedScope(options_.scope)) {
    if (!options_.functions.plain) return;
    keeper_ = std::make_unique<LeaseKeeper>(LeaseKeeperOptions{.store = *options_.store->claims(),
                                                               .executor = *options_.executor,
                                                               .log = *options_.log,
                                                               .lease = options_.lease});
    keeper_->Start();
  }

  absl::StatusOr<CallAnswer> Call(const void* arg);
  Guarantee guarantee() const;
  void LogStart() const;

 private:
  const GuardedCallsOptions options_;
  const std::string scope_;
  std::unique_ptr<LeaseKeeper> keeper_;  // null: transactions
};

absl::StatusOr<CallAnswer> GuardedCalls::Call(const void* arg) {
  const CallFunctions& functions = options_.functions;
  std::string id;
  IdentifiedCall call{.arg = arg};
  absl::Status identified = CatchExceptions("WrapOptions::id", [&] { id = functions.id(arg); });
  identified.Update(Annotate(ValidateMessageId(id), "WrapOptions::id"));
  if (identified.ok() && functions.fingerprint) {
    identified = CatchExceptions("WrapOptions::fingerprint",
                                 [&] { call.fingerprint = functions.fingerprint(arg); });
  }
  if (!identified.ok()) return absl::InvalidArgumentError(identified.message());
  call.id = id;
  const CallContext context{.functions = functions,
                            .retry = options_.retry,
                            .log = *options_.log,
                            .executor = *options_.executor,
                            .random = *options_.random,
                            .scope = scope_};
  if (keeper_ == nullptr) return CallInTransaction(context, *options_.store->transactions(), call);
  return CallUnderClaim(context,
                        {.store = *options_.store->claims(),
                         .keeper = *keeper_,
                         .lease = options_.lease,
                         .on_lost = options_.on_lost},
                        call);
}

Guarantee GuardedCalls::guarantee() const {
  const StoreTraits store = options_.store->traits();
  const bool is_plain = keeper_ != nullptr;
  Guarantee guarantee{.level = is_plain ? GuaranteeLevel::kDeduplicated
                                        : GuaranteeLevel::kEffectivelyOnce};
  guarantee.reasons.emplace_back(
      is_plain ? "the effect lies outside the store; a claim guards the id, and a crash between "
                 "effect and completion leaves it open whether it happened"
               : "effect and id commit in one transaction");
  if (is_plain && options_.on_lost != LostClaim::kRerun) {
    guarantee.reasons.emplace_back(
        "on_lost: what may have happened is not run again, but asked about or left to an operator");
  }
  if (store.durability != Durability::kMachine) {
    guarantee.reasons.push_back("store " + store.name + ": forgets what it has acknowledged (" +
                                store.weakness + "), and calls cannot be read again");
    guarantee.level = GuaranteeLevel::kAtLeastOnce;
  }
  if (!options_.functions.fingerprint) {
    guarantee.reasons.emplace_back(
        "no fingerprint function: two different calls under one id are taken for one, unnoticed");
  }
  guarantee.assumptions = {
      "C1: callers put the same id on every repetition of a call, and different ones on others",
      "C7: the store never loses a commit that it has acknowledged",
      "callers repeat a call until its answer is settled",
      "the function reports every failure: one that is swallowed has settled the call",
  };
  if (!is_plain) {
    guarantee.assumptions.emplace_back("C6: the function has no effect outside its transaction");
  }
  return guarantee;
}

void GuardedCalls::LogStart() const {
  if (LogLevel::kInfo < options_.log->level()) return;
  options_.log->Log({.level = LogLevel::kInfo,
                     .time = options_.executor->Now(),
                     .action = "wrapped",
                     .message = Describe(guarantee()),
                     .fields = {{"once.scope", scope_}}});
}

absl::StatusOr<std::shared_ptr<GuardedCalls>> OpenGuardedCalls(GuardedCallsOptions options) {
  if (absl::Status status = Validate(options); !status.ok()) return status;
  auto calls = std::make_shared<GuardedCalls>(std::move(options));
  calls->LogStart();
  return calls;
}

absl::StatusOr<CallAnswer> CallOnce(GuardedCalls& calls, const void* arg) {
  return calls.Call(arg);
}

Guarantee GuaranteeOf(const GuardedCalls& calls) { return calls.guarantee(); }

std::string_view ToString(CallVerdict verdict) {
  switch (verdict) {
    case CallVerdict::kDone:
      return "done";
    case CallVerdict::kDuplicate:
      return "duplicate";
    case CallVerdict::kDiscarded:
      return "discarded";
    case CallVerdict::kDead:
      return "dead";
    case CallVerdict::kUncertain:
      return "uncertain";
    case CallVerdict::kConflict:
      return "conflict";
    case CallVerdict::kFailed:
      return "failed";
    case CallVerdict::kNotYet:
      return "not yet";
    case CallVerdict::kInProgress:
      return "in progress";
  }
  return "unknown";
}

}  // namespace once
