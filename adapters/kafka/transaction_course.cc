// Beginning, sending, ending; and what to believe when an end is in doubt.
#include "adapters/kafka/transaction_course.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/read_back.h"
#include "once/abseil.h"
#include "once/send_id.h"
#include "once/transaction.h"

namespace once::kafka {
namespace {

// How many ids of failed messages an error names; failed_sends() has more.
constexpr std::size_t kNamedMax = 5;
// How long a client whose commit is visible is asked whether it is fenced.
constexpr absl::Duration kAskTime = absl::Seconds(2);

// What became of the messages of a book that has failures.
absl::Status FailureOf(const TransactionBook& book) {
  std::string ids;
  bool is_permanent = false;
  for (std::size_t i = 0; i < book.failures.size(); ++i) {
    const FailedSend& failed = book.failures[i];
    if (absl::IsInvalidArgument(failed.status)) is_permanent = true;
    if (i < kNamedMax) absl::StrAppend(&ids, i == 0 ? "" : ", ", failed.id);
  }
  if (book.failed > kNamedMax) absl::StrAppend(&ids, ", …");
  const std::string text = absl::StrCat(book.failed, " of its messages could not be stored (", ids,
                                        "); the first: ", book.failures.front().status.message());
  return is_permanent ? absl::InvalidArgumentError(text) : absl::AbortedError(text);
}

}  // namespace

absl::Duration TransactionCourse::age() const {
  // One clock may be set back, the other one stands still while the machine sleeps.
  return std::max(absl::Now() - begun_at_,
                  absl::FromChrono(std::chrono::steady_clock::now() - begun_at_steady_));
}

std::vector<FailedSend> TransactionCourse::failed_sends() const {
  return client_ == nullptr ? std::vector<FailedSend>() : client_->book().failures;
}

absl::Status TransactionCourse::Ready(absl::Time deadline) {
  if (!fenced_.ok()) return fenced_;
  if (client_ == nullptr) {
    auto client = TransactionClient::Open(options_);
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
    is_initialised_ = false;
  }
  if (is_initialised_) return absl::OkStatus();
  const std::optional<TransactionError> error = client_->Init(deadline);
  if (!error) {
    is_initialised_ = true;
    return absl::OkStatus();
  }
  // One that timed out goes on in the background, and with the next call.
  if (!IsWorthRepeating(*error)) GiveUpClient(*error);
  if (!fenced_.ok()) return fenced_;
  return InitStatus(*error);
}

absl::Status TransactionCourse::Begin() {
  if (is_open_) {
    return absl::FailedPreconditionError(
        "kafka: a transaction is open; commit it, abort it or drop it before the next one");
  }
  if (absl::Status ready = Ready(absl::Now() + options_.times.init_timeout); !ready.ok()) {
    return ready;
  }
  if (const std::optional<TransactionError> error = client_->Begin()) {
    GiveUpClient(*error);
    if (!fenced_.ok()) return fenced_;
    return absl::UnavailableError(absl::StrCat("kafka: beginning a transaction: ", error->text));
  }
  is_open_ = true;
  begun_at_ = absl::Now();
  begun_at_steady_ = std::chrono::steady_clock::now();
  doomed_ = absl::OkStatus();
  last_failed_.clear();
  return absl::OkStatus();
}

absl::Status TransactionCourse::Doom(absl::Status reason) {
  if (doomed_.ok()) doomed_ = reason;
  return reason;
}

void TransactionCourse::Look() {
  client_->Serve();
  const rd_kafka_resp_err_t fatal = client_->fatal_code();
  if (IsProducerFenced(fatal)) Fence(ToStd(client_->FatalStatus().message())).IgnoreError();
  if (!doomed_.ok()) return;
  if (client_->book().failed > 0) {
    doomed_ = FailureOf(client_->book());
  } else if (age() >= options_.times.transaction_timeout) {
    doomed_ = absl::AbortedError(
        absl::StrCat("it has been open for longer than .times.transaction_timeout, ",
                     absl::FormatDuration(options_.times.transaction_timeout)));
  } else if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
    doomed_ = absl::AbortedError(client_->FatalStatus().message());
  }
}

absl::Status TransactionCourse::CheckMessage(OutgoingMessage& message, std::size_t& id_header) {
  absl::Status status = IdentifyOutgoing(message, options_.ids, *options_.random, id_header);
  if (status.ok()) status = ValidateOutgoing(message);
  if (!status.ok()) return status;
  const TransactionBook& book = client_->book();
  if (book.sent < options_.limits.messages_max &&
      SizeBytes(message) <= options_.limits.bytes_max - book.bytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "kafka: the transaction has ", book.sent, " messages of ", book.bytes,
      " bytes, and another one is beyond .limits; use more transactions, or raise them"));
}

absl::StatusOr<std::string> TransactionCourse::Send(OutgoingMessage message) {
  Look();
  if (!fenced_.ok()) return fenced_;
  if (!doomed_.ok()) return AbortedBecause(doomed_);
  std::size_t id_header = 0;
  if (absl::Status valid = CheckMessage(message, id_header); !valid.ok()) return Doom(valid);
  std::string id = *message.headers[id_header].value;
  const absl::Status sent = client_->Send(message, id, absl::Now() + options_.times.send_timeout);
  if (sent.ok()) return id;
  // The client refuses everything once the transaction has failed, whatever this message is.
  Look();
  if (!fenced_.ok()) return fenced_;
  if (!doomed_.ok()) return AbortedBecause(doomed_);
  if (absl::IsUnavailable(sent)) return Doom(absl::AbortedError(sent.message()));
  return Doom(sent);
}

absl::Status TransactionCourse::Commit(absl::Time deadline) {
  Look();
  if (!doomed_.ok()) return EndAborted(doomed_);
  // Beyond its age the brokers would end it themselves, and fence us.
  const absl::Duration left = options_.times.transaction_timeout - age();
  const std::optional<TransactionError> error =
      client_->Commit(std::min(deadline, absl::Now() + left));
  if (!error) {
    const bool is_smooth = client_->has_committed_smoothly();
    Close();
    // A copy of the request that is late would end the next transaction: a new client has a new
    // epoch, and the brokers refuse the copy.
    if (!is_smooth) {
      client_->Log(LogLevel::kInfo, "producer_replaced", "its commit met errors on its way");
      DropClient();
      ReadyAnew(absl::Now() + options_.times.abort_timeout);
    }
    return absl::OkStatus();
  }
  const TransactionBook& book = client_->book();
  // A client whose commit may be repeated takes nothing but that repetition.
  const bool can_abort = !IsWorthRepeating(*error);
  if (book.failed > 0) return EndAborted(FailureOf(book), can_abort);
  if (!book.is_delivered()) return EndAborted(absl::AbortedError(error->text), can_abort);
  // From here on a commit may have been asked for. That the client can abort now proves nothing: it
  // may do so by a new epoch, which the brokers give also after they have committed.
  return Resolve(*error);
}

absl::Status TransactionCourse::Abort() { return EndAborted(absl::OkStatus()); }

absl::Status TransactionCourse::EndAborted(const absl::Status& reason, bool can_abort) {
  const absl::Time deadline = absl::Now() + options_.times.abort_timeout;
  std::optional<TransactionError> error;
  if (can_abort) error = client_->Abort(deadline);
  // A commit may fail before the report is there of the message that was its reason; an abort takes
  // all reports.
  const bool has_failures = client_->book().failed > 0;
  const bool is_named = reason.ok() || absl::IsInvalidArgument(reason);
  const absl::Status why = has_failures && !is_named ? FailureOf(client_->book()) : reason;
  // Records may wait for a while for their end; that it is an abort is sure, since nobody has asked
  // for a commit.
  if (error) GiveUpClient(*error);
  Close();
  // librdkafka 2.0.2 goes on counting behind a batch that the broker has refused, which then
  // refuses the next transaction too.
  if (has_failures || !can_abort) DropClient();
  if (client_ == nullptr) ReadyAnew(deadline);
  if (!fenced_.ok()) return fenced_;
  if (!why.ok()) return AbortedBecause(why);
  // A new client has been let in once the brokers have aborted it.
  if (!error || is_initialised_) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("kafka: aborting a transaction: ", error->text));
}

absl::Status TransactionCourse::Resolve(const TransactionError& error) {
  const std::optional<Witness> witness = client_->book().witness;
  client_->Log(LogLevel::kWarning, "commit_in_doubt", error.text);
  const absl::Time begun = absl::Now();
  const absl::Duration all = options_.times.resolve_timeout;
  // Readers are asked first: a new client takes the id from whoever has it by now, and is told of
  // nobody.
  const Visibility before = LookFor(witness, /*awaits_end=*/false, begun + all / 2);
  const bool is_ours = before == Visibility::kVisible && AskWhetherFenced(error, begun + all);
  // Nobody here has asked for an abort.
  if (before == Visibility::kInvisible) Fence(error.text).IgnoreError();
  if (client_ != nullptr) GiveUpClient(error);
  Close();
  if (before == Visibility::kVisible) {
    if (is_ours) ReadyAnew(begun + all);
    return absl::OkStatus();
  }
  if (before == Visibility::kInvisible) return fenced_;
  // Now the brokers end it; where that fails, they may have done so already.
  ReadyAnew(begun + all * 3 / 4);
  const Visibility after = LookFor(witness, /*awaits_end=*/true, begun + all);
  if (after == Visibility::kVisible) return absl::OkStatus();
  if (after == Visibility::kInvisible) {
    return fenced_.ok() ? AbortedBecause(absl::AbortedError(error.text)) : fenced_;
  }
  const std::string which = witness
                                ? absl::StrCat(", and its message ", witness->id, " in ",
                                               witness->topic, " could not be read back: ")
                                : ", and none of its messages was acknowledged with its offset: ";
  return absl::UnknownError(
      absl::StrCat("kafka: the transaction may be committed or not", which, error.text));
}

Visibility TransactionCourse::LookFor(const std::optional<Witness>& witness, bool awaits_end,
                                      absl::Time deadline) const {
  if (!witness || absl::Now() >= deadline) return Visibility::kNotKnown;
  return ReadBack({.brokers = options_.brokers,
                   .properties = options_.properties,
                   .log = options_.log,
                   .witness = *witness,
                   .id_header = options_.ids.header,
                   .awaits_end = awaits_end},
                  deadline);
}

bool TransactionCourse::AskWhetherFenced(const TransactionError& error, absl::Time deadline) {
  if (!IsWorthRepeating(error)) return false;
  const std::optional<TransactionError> again =
      client_->Commit(std::min(deadline, absl::Now() + kAskTime));
  if (!again) return true;
  GiveUpClient(*again);
  return false;
}

void TransactionCourse::ReadyAnew(absl::Time deadline) {
  if (!fenced_.ok()) return;
  if (absl::Status ready = Ready(deadline); !ready.ok() && client_ != nullptr) {
    client_->Log(LogLevel::kWarning, "producer_not_replaced", ToStd(ready.message()));
  }
}

absl::Status TransactionCourse::Fence(std::string_view text) {
  if (!fenced_.ok()) return fenced_;
  fenced_ = absl::FailedPreconditionError(absl::StrCat(
      "kafka: this producer is fenced: another instance uses its transactional id \"",
      options_.transactional_id,
      "\", or its transaction was open for so long that the brokers ended it. Give every running "
      "instance an id of its own, and begin again with a new producer (",
      ToAbsl(text), ")"));
  if (client_ != nullptr) {
    client_->Log(LogLevel::kError, "producer_fenced", ToStd(fenced_.message()));
  }
  return fenced_;
}

void TransactionCourse::GiveUpClient(const TransactionError& error) {
  if (is_open_) last_failed_ = client_->book().failures;
  if (IsProducerFenced(error.code) || IsProducerFenced(client_->fatal_code())) {
    Fence(error.text).IgnoreError();
  } else if (fenced_.ok()) {
    client_->Log(LogLevel::kWarning, "producer_replaced",
                 absl::StrCat("a new producer takes over: ", error.text));
  }
  DropClient();
}

void TransactionCourse::DropClient() {
  client_.reset();
  is_initialised_ = false;
}

void TransactionCourse::Close() {
  if (client_ != nullptr) last_failed_ = client_->book().failures;
  is_open_ = false;
}

}  // namespace once::kafka
