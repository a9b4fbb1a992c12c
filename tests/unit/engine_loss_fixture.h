// EngineLossTest: a consumer that looks for losses among numbered messages and in a scripted side
// topic, in virtual time.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"
#include "src/loss_notes.h"
#include "src/sequence_tracker.h"
#include "src/stream_state.h"
#include "src/stream_table.h"
#include "tests/unit/engine_fixture.h"

namespace once {

inline const TopicPartition kOrders = {"orders", 0};
inline const ProducerEpoch kShop = {.producer = "shop-1", .epoch = 7};

// A side topic of `orders`.
class ScriptedMarks : public MarkSource {
 public:
  void Add(MarkRecord record) { records_.push_back(std::move(record)); }
  void KeepBehind() { is_behind_ = true; }
  void CatchUp() { is_behind_ = false; }

  absl::Status Follow(std::span<const std::string>) override {
    next_ = 0;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<ReceivedMark>> Poll(std::size_t) override {
    std::vector<ReceivedMark> received;
    for (; !is_behind_ && next_ < records_.size(); ++next_) {
      received.push_back(
          {.topic = "orders", .key = records_[next_].key, .value = records_[next_].value});
    }
    return received;
  }
  bool has_caught_up() const override { return !is_behind_ && next_ == records_.size(); }

 private:
  std::vector<MarkRecord> records_;
  std::size_t next_ = 0;
  bool is_behind_ = false;
};

class EngineLossTest : public EngineTest {
 protected:
  EngineLossTest() {
    options_.loss = {
        .mode = LossMode::kReport,
        .gap_grace = absl::Minutes(5),
        .on_loss = [this](const LossEvent& event) {
          told_.push_back(absl::StrCat(std::string(ToString(event.kind)), " ", event.first, "-",
                                       event.last, " of ", event.producer));
        }};
  }

  void SendNumber(std::uint64_t number, const ProducerEpoch& by = kShop) {
    SendDated(number, clock_->Now(), by);
  }
  void SendDated(std::uint64_t number, absl::Time date, const ProducerEpoch& by = kShop) {
    const std::string stamp =
        EncodeStamp(StreamName(kOrders.topic, kOrders.partition, by), number, false);
    const std::string id = absl::StrCat(std::string(by.producer), "/", by.epoch, "/", number);
    log_->Append(kOrders, {.value = "v",
                           .headers = {{"id", id}, {std::string(kSequenceHeader), stamp}},
                           .timestamp_ms = absl::ToUnixMillis(date)});
  }

  // So long that what is missing is no longer only late.
  void LetTheGraceEnd() {
    Advance(absl::Minutes(6));
    Settle();
  }

  // What the store says is missing of the stream, and known to be.
  std::vector<std::string> Reported(const ProducerEpoch& by = kShop) {
    std::vector<std::string> ranges;
    const auto notes = store_->operations()->ListNotes(
        {.prefix = LossNoteKey(LossNoteKind::kLosses, KeyOf(kOrders)) + PackStream(by)});
    if (!notes.ok()) return {notes.status().ToString()};
    for (const StoredNote& note : *notes) {
      const std::optional<StreamLosses> losses = DecodeLosses(note.value);
      if (!losses) return {"damaged"};
      for (const MissingRange& range : losses->missing) {
        if (range.kind == MissingKind::kReported) {
          ranges.push_back(absl::StrCat(range.first, "-", range.last));
        }
      }
    }
    return ranges;
  }

  // What producers write beside the messages.
  void SendMark(const StreamMark& mark, const ProducerEpoch& by = kShop) {
    marks_->Add(EncodeMark(StreamName(kOrders.topic, kOrders.partition, by), mark));
  }
  void SendVoid(const StreamVoid& gone, const ProducerEpoch& by = kShop) {
    marks_->Add(EncodeVoid(StreamName(kOrders.topic, kOrders.partition, by), gone));
  }
  void ReadMarks() { options_.loss.marks = marks_; }

  std::shared_ptr<ScriptedMarks> marks_ = std::make_shared<ScriptedMarks>();
  std::vector<std::string> told_;
};

}  // namespace once
