// The benchmark's topic: created, filled with the workload, deleted.
#pragma once

#include <cstdint>
#include <string>

namespace once::benchmark {

// All of them throw std::runtime_error when the brokers refuse or do not answer.
void CreateTopic(const std::string& brokers, const std::string& topic);
// Sends the first `messages` messages of the workload, with the stamps of an outbox or without;
// returns when all are acknowledged.
void FillTopic(const std::string& brokers, const std::string& topic, std::int64_t messages,
               bool is_stamped);
void DeleteTopic(const std::string& brokers, const std::string& topic);

}  // namespace once::benchmark
