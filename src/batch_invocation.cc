// The call of a batch handler: the new messages of a batch in one span. Optimistic: they are taken
// for completed while the rest of the batch is looked at, so that a second copy of one is a
// duplicate; should one of them fail, the pass is rolled back, and with it what was built on that.
#include <cstddef>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/batch_transaction.h"
#include "src/invoke_handler.h"
#include "src/test_hooks.h"

namespace once {

Outcome WrongNumberOfOutcomes(std::size_t given, std::size_t expected) {
  return absl::InternalError(absl::StrCat("the batch handler returned ", given, " outcomes for ",
                                          expected,
                                          " messages; return one for each, or one for all"));
}

void BatchTransaction::Gather(Candidate& candidate, const IdRecord& record) {
  const int attempt = record.attempt + 1;
  gathered_.push_back({.candidate = &candidate, .attempt = attempt});
  if (!ONCE_PLANTED_BUG("copy-in-the-span")) StageCompleted(candidate, attempt);
  candidate.item->verdict = Verdict::kProcessed;
  is_changed_ = true;
}

bool BatchTransaction::InvokeTogether(StoreTransaction& transaction, PassEnd& end) {
  const BatchOutcome outcome = CallTogether(transaction);
  const absl::Status open = transaction.CheckOpen();
  if (!open.ok() && open.code() != absl::StatusCode::kFailedPrecondition) {
    end = EndWith(PassEnd::kStoreTrouble, open);
    return false;
  }
  end = JudgeTogether(outcome, open);
  if (ONCE_PLANTED_BUG("copy-in-the-span")) {
    for (const auto& [candidate, attempt] : gathered_) StageCompleted(*candidate, attempt);
  }
  return end == PassEnd::kNothing;
}

// What the handler says; of each message, or one for all.
BatchOutcome BatchTransaction::CallTogether(StoreTransaction& transaction) {
  if (context_.has_deadline) token_ = &work_.cancellation.Begin(context_.executor.Now());
  std::vector<const Message*>& messages = context_.buffers.messages;
  messages.clear();
  for (const auto& [candidate, attempt] : gathered_) {
    Message& message = candidate->item->delivery.message();
    message.SetContext({.id = candidate->identity.id,
                        .scope = candidate->partition->scope,
                        .attempt = attempt,
                        .cancellation = token_});
    messages.push_back(&message);
  }
  BatchOutcome outcome = Done();
  Outcome returned = InvokeHandler([&]() -> Outcome {
    outcome = (*context_.batch_handler)(messages, transaction);
    return Done();
  });
  ONCE_KILL_POINT("transaction.handled");
  for (const Gathered& one : gathered_) one.candidate->item->delivery.message().SetContext({});
  if (context_.has_deadline) work_.cancellation.End();
  if (!returned.is_done()) return returned;
  const auto* const each = std::get_if<std::vector<Outcome>>(&outcome);
  const bool is_whole = each == nullptr || each->size() == messages.size();
  return is_whole ? outcome : WrongNumberOfOutcomes(each->size(), messages.size());
}

// kNothing when all is done. Otherwise nothing of the pass counts: failures with a name are decided
// upon in the next one; where nobody was named the messages are tried one by one.
PassEnd BatchTransaction::JudgeTogether(const BatchOutcome& outcome, const absl::Status& open) {
  const auto* const each = std::get_if<std::vector<Outcome>>(&outcome);
  bool is_one_named = false;
  for (std::size_t i = 0; each != nullptr && i < each->size(); ++i) {
    if ((*each)[i].is_done()) continue;
    RememberFailure(*gathered_[i].candidate, (*each)[i]);
    is_one_named = true;
  }
  if (is_one_named) return PassEnd::kFailedMessages;
  // Done says OK: then what the transaction says counts.
  absl::Status why = each != nullptr ? absl::OkStatus() : std::get<Outcome>(outcome).status();
  if (why.ok()) why = open;
  if (why.ok()) return PassEnd::kNothing;
  context_.log.Log(
      {.level = LogLevel::kWarning,
       .time = now_,
       .action = "batch_handler_failed",
       .message = "a call for " + std::to_string(gathered_.size()) +
                  " messages failed and named none of them; they are tried one by one: " +
                  why.ToString()});
  return EndWith(PassEnd::kFailedHandler, why);
}

}  // namespace once
