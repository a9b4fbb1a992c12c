// Figures, and what they must be.
#include "tests/campaign/outbox_verdict.h"

#include <fstream>
#include <unordered_map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sequence.h"
#include "tests/campaign/outbox_book.h"
#include "tests/campaign/sent_topic.h"

namespace once::campaign {

void AddFigure(CampaignReport& report, std::string_view figure, std::int64_t number) {
  const std::string name(figure);
  report.extras[name] = report.extras.value(name, std::int64_t{0}) + number;
}

void JudgeOutbox(const OutboxTask& task, kafka::testing::TestBroker& broker,
                 const std::string& label, CampaignReport& report) {
  SentTruth truth{
      .topic = task.topic, .copies = ReadCopies(broker, task.topic), .is_complete = true};
  std::unordered_map<std::string, std::int64_t> numbers;
  for (const SentMessage& row : OutboxBookOf(task.book).Read(task.store)) {
    truth.fates.emplace(row.name, Fate::kStored);
    numbers.emplace(row.name, row.number);
  }
  // Whoever publishes may not know yet which one it will be.
  for (StoredCopy& copy : truth.copies) {
    if (const auto known = numbers.find(copy.message.name); known != numbers.end()) {
      copy.message.number = known->second;
    }
  }
  std::int64_t undone = 0;
  std::ifstream lines(task.answered);
  for (std::string name; std::getline(lines, name);) {
    if (!truth.fates.contains(name) && ++undone <= 3) {
      report.violations.push_back(absl::StrCat(label, ": ", name, " was committed and is gone"));
    }
  }
  const SentJudgement judgement = JudgeSent(truth);
  AddSent(judgement, label, report);
  AddFigure(report, "rows", static_cast<std::int64_t>(truth.fates.size()));
  AddFigure(report, "missing", judgement.missing);
  AddFigure(report, "published_without_commit", judgement.surplus);
  AddFigure(report, "order_inversions", judgement.order_inversions);
  AddFigure(report, "undone", undone);
  AddFigure(report, "repeats", judgement.repeats);
  AddFigure(report, "unlike_ids", judgement.unlike_ids);
  AddFigure(report, "renumbered", judgement.renumbered);
  AddFigure(report, "numbers_reused", judgement.numbers_reused);
  AddFigure(report, "numbers_missing", judgement.numbers_missing);
}

void JudgePlaces(const OutboxPlaces& places, std::int64_t kills, const std::string& label,
                 CampaignReport& report) {
  if (kills >= kKillsForEveryPlace) {
    for (const std::string& point : places.FindUnreached()) {
      report.violations.push_back(absl::StrCat(label, ": no life ended at ", point));
    }
  }
  for (const auto& [point, count] : places.deaths()) {
    Json& counts = report.extras["kill_points"];
    counts[point] = (counts.contains(point) ? counts[point].get<std::int64_t>() : 0) + count;
  }
}

void DeleteTopics(kafka::testing::TestBroker& broker, const std::string& topic) {
  try {
    broker.DeleteTopic(topic);
    if (broker.PartitionCount(MarksTopic(topic)) > 0) broker.DeleteTopic(MarksTopic(topic));
  } catch (const std::exception& error) {
    Say(absl::StrCat("a topic stays: ", error.what()));
  }
}

}  // namespace once::campaign
